// SPDX-License-Identifier: MIT

//go:build linux && amd64

package performer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Orders that are no system calls.
const (
	opFill = 0x10000
	opCopy = 0x10001
)

// ErrBusy says that an order has not been performed in the time given: the call
// blocks, or the task is dead.
var ErrBusy = errors.New("not performed yet")

// Task is a thread of a performed process that waits for orders. Its methods are
// for one goroutine at a time.
type Task struct {
	area *Area
	slot int
	// PID is the thread's number as the kernel knows it.
	PID int
}

// Start runs the program: a process with one task, which has no memory but the
// stub and the area, and the standard descriptors. It is a child of this program.
func (a *Area) Start() (*Task, error) {
	t, err := a.newTask()
	if err != nil {
		return nil, err
	}
	a.execveSlot(t.slot)
	c := exec.Command(a.program)
	c.Stderr = os.Stderr
	c.ExtraFiles = make([]*os.File, areaFD-2)
	for i := range c.ExtraFiles {
		c.ExtraFiles[i] = nil
	}
	c.ExtraFiles[areaFD-3] = a.file
	if err := c.Start(); err != nil {
		a.used[t.slot] = false
		return nil, fmt.Errorf("starting %s: %w", a.program, err)
	}
	t.PID = c.Process.Pid
	if _, err := t.Wait(10 * time.Second); err != nil {
		return nil, fmt.Errorf("%s does not take orders: %w", a.program, err)
	}
	return t, t.settle()
}

func (a *Area) newTask() (*Task, error) {
	slot := a.take()
	if slot < 0 {
		return nil, fmt.Errorf("more than %d tasks", MaxTasks)
	}
	return &Task{area: a, slot: slot}, nil
}

// Forget gives the slot of a dead task to others.
func (t *Task) Forget() { t.area.used[t.slot] = false }

// settle unmaps what execve left in the way, and makes faults come back as EFAULT.
func (t *Task) settle() error {
	const space = 0x7ffffffff000
	steps := [][]uint64{
		{unix.SYS_MUNMAP, 0x10000, base - 0x10000},
		{unix.SYS_MUNMAP, areaAddr + areaSize, space - areaAddr - areaSize},
	}
	for _, sig := range []uint64{uint64(unix.SIGSEGV), uint64(unix.SIGBUS)} {
		steps = append(steps, []uint64{unix.SYS_RT_SIGACTION, sig, t.BufAddr(), 0, 8})
	}
	// struct sigaction: handler, flags, restorer, mask
	const onStack, noDefer, restorer = 0x08000000, 0x40000000, 0x04000000
	b := t.Buf()
	binary.LittleEndian.PutUint64(b[0:], faultAddr)
	binary.LittleEndian.PutUint64(b[8:], onStack|noDefer|restorer)
	binary.LittleEndian.PutUint64(b[16:], faultAddr)
	binary.LittleEndian.PutUint64(b[24:], 0)
	for _, s := range steps {
		if _, err := t.Call(s[0], s[1:]...); err != nil {
			return fmt.Errorf("preparing a process: call %d: %w", s[0], err)
		}
	}
	return t.ownStack()
}

// ownStack gives a task its stack for signals.
func (t *Task) ownStack() error {
	b := t.Buf()
	binary.LittleEndian.PutUint64(b[0:], slotAddr(t.slot)+stackOffset)
	binary.LittleEndian.PutUint64(b[8:], 0)
	binary.LittleEndian.PutUint64(b[16:], stackSize)
	if _, err := t.Call(unix.SYS_SIGALTSTACK, t.BufAddr(), 0); err != nil {
		return fmt.Errorf("preparing a task: sigaltstack: %w", err)
	}
	return nil
}

// Buf is the buffer of the task, BufSize bytes, for what calls point to.
func (t *Task) Buf() []byte {
	at := t.slot*slotSize + bufOffset
	return t.area.mem[at : at+BufSize]
}

// BufAddr is where the buffer is for the task itself.
func (t *Task) BufAddr() uint64 { return slotAddr(t.slot) + bufOffset }

// patience is how long a call that is not known to block may take.
const patience = 20 * time.Second

// Call performs a system call. The error is a syscall.Errno, or ErrBusy.
func (t *Task) Call(nr uint64, args ...uint64) (uint64, error) {
	t.Begin(nr, args...)
	return t.Wait(patience)
}

// Begin lets the task begin a system call; Wait says how it ended.
func (t *Task) Begin(nr uint64, args ...uint64) { t.begin(0, nr, args...) }

func (t *Task) begin(child uint64, op uint64, args ...uint64) {
	o := t.area.order(t.slot)
	o.op, o.child, o.args = op, child, [6]uint64{}
	copy(o.args[:], args)
	o.give()
}

// Wait waits for the end of what was begun, at most d.
func (t *Task) Wait(d time.Duration) (uint64, error) {
	o := t.area.order(t.slot)
	if !o.await(d) {
		return 0, ErrBusy
	}
	r := o.result
	runtime.KeepAlive(t)
	if r > ^uint64(4095) {
		return 0, syscall.Errno(-r)
	}
	return r, nil
}

// Clone makes a task with the clone flags given, exit signal included. blocks says
// that the caller goes on only when the child lets it (CLONE_VFORK): then Wait
// tells when.
func (t *Task) Clone(flags uint64, blocks bool) (*Task, error) {
	c, err := t.area.newTask()
	if err != nil {
		return nil, err
	}
	t.begin(slotAddr(c.slot), unix.SYS_CLONE, flags, 0, 0, 0, 0)
	if !blocks {
		if _, err := t.Wait(patience); err != nil {
			c.Forget()
			return nil, err
		}
	}
	if _, err := c.Wait(patience); err != nil {
		return nil, fmt.Errorf("a new task does not take orders: %w", err)
	}
	pid, err := c.Call(unix.SYS_GETTID)
	if err != nil {
		return nil, err
	}
	c.PID = int(pid)
	return c, c.ownStack()
}

// Execve replaces the process by a new one of the same program.
func (t *Task) Execve() error {
	b := t.Buf()
	n := copy(b[64:], t.area.program)
	b[64+n] = 0
	binary.LittleEndian.PutUint64(b[0:], t.BufAddr()+64)
	binary.LittleEndian.PutUint64(b[8:], 0)
	t.area.execveSlot(t.slot)
	if _, err := t.Call(unix.SYS_EXECVE, t.BufAddr()+64, t.BufAddr(), t.BufAddr()+8); err != nil {
		return err
	}
	return t.settle()
}

// Fill writes [addr,addr+n) bytes of memory.
//
// Errors: EFAULT where a program would get SIGSEGV or SIGBUS; what lies before is
// written then.
func (t *Task) Fill(addr, n uint64, b byte) error {
	t.begin(0, opFill, addr, n, 0x0101010101010101*uint64(b))
	_, err := t.Wait(patience)
	return err
}

// Load reads [addr,addr+n) bytes of memory and hands it to see, piece by piece.
//
// Errors: as Fill.
func (t *Task) Load(addr, n uint64, see func([]byte)) error {
	for n > 0 {
		k := min(n, BufSize)
		t.begin(0, opCopy, t.BufAddr(), addr, k)
		if _, err := t.Wait(patience); err != nil {
			return err
		}
		see(t.Buf()[:k])
		addr, n = addr+k, n-k
	}
	return nil
}

// AwaitClear waits until the kernel has cleared the word at an offset of the
// buffer: set_tid_address makes it do that when a thread has left its memory.
func (t *Task) AwaitClear(offset int) error {
	word := (*uint32)(unsafe.Pointer(&t.Buf()[offset]))
	end := time.Now().Add(patience)
	for atomic.LoadUint32(word) != 0 {
		if time.Now().After(end) {
			return ErrBusy
		}
		ts := unix.NsecToTimespec(int64(time.Second))
		syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0, uintptr(atomic.LoadUint32(word)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
	return nil
}
