// SPDX-License-Identifier: MIT

//go:build linux && amd64

package performer

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The control area: slots of slotSize bytes. The first is no task's; its first
// word is the address of the slot that a program goes on with after execve.
const (
	areaAddr = base + 0x100000
	areaSize = 0x1000000
	slotSize = 0x20000
	numSlots = areaSize / slotSize
	// Within a slot: the orders, a stack for signals, a buffer.
	stackOffset = 0x1000
	stackSize   = 0xf000
	bufOffset   = 0x10000
	// BufSize is how large the buffer of a task is, in bytes.
	BufSize = slotSize - bufOffset
	// areaFD is the descriptor of the area in every performed process.
	areaFD = 900
)

// MaxTasks is how many tasks there can be at a time.
const MaxTasks = numSlots - 1

// order is the head of a slot, shared with stub_amd64.s.
type order struct {
	state  uint32 // 1: an order waits; the task sleeps on it
	_      uint32
	op     uint64
	args   [6]uint64
	result uint64
	done   uint32 // 1: the order has been performed; the giver sleeps on it
	_      uint32
	child  uint64 // address of the slot that a clone's child goes on with
}

// Area is the memory that this program and all performed processes share.
type Area struct {
	mem     []byte
	file    *os.File
	program string
	used    [numSlots]bool
}

// New makes an area without tasks. program is where Program was written to.
func New(program string) (*Area, error) {
	fd, err := unix.MemfdCreate("performer", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	a := &Area{file: os.NewFile(uintptr(fd), "performer"), program: program}
	if err := unix.Ftruncate(fd, areaSize); err != nil {
		return nil, fmt.Errorf("ftruncate: %w", err)
	}
	a.mem, err = unix.Mmap(fd, 0, areaSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap of the area: %w", err)
	}
	a.used[0] = true
	return a, nil
}

// Close unmaps the area. Its tasks must be gone.
func (a *Area) Close() error {
	if err := unix.Munmap(a.mem); err != nil {
		return err
	}
	return a.file.Close()
}

// slotAddr returns the address of a slot in a performed process.
func slotAddr(i int) uint64 { return areaAddr + uint64(i)*slotSize }

func (a *Area) order(i int) *order { return (*order)(unsafe.Pointer(&a.mem[i*slotSize])) }

// take returns a free slot, -1 if there is none.
func (a *Area) take() int {
	for i, used := range a.used {
		if !used {
			a.used[i] = true
			*a.order(i) = order{}
			return i
		}
	}
	return -1
}

// execveSlot says which slot goes on after execve.
func (a *Area) execveSlot(i int) { *(*uint64)(unsafe.Pointer(&a.mem[0])) = slotAddr(i) }

// give posts an order.
func (o *order) give() {
	atomic.StoreUint32(&o.done, 0)
	atomic.StoreUint32(&o.state, 1)
	syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&o.state)), 1, 1, 0, 0, 0) // FUTEX_WAKE
}

// await waits until an order has been performed, at most d. It says whether it was.
func (o *order) await(d time.Duration) bool {
	if atomic.LoadUint32(&o.done) != 0 {
		return true
	}
	end := time.Now().Add(d)
	for atomic.LoadUint32(&o.done) == 0 {
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		ts := unix.NsecToTimespec(int64(left))
		syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&o.done)), 0, 0, uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
	return true
}
