// SPDX-License-Identifier: MIT

//go:build linux && amd64

package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kfdsim/kfdsim/traces"
)

var (
	// errBlocked says that the call has begun and blocks.
	errBlocked = errors.New("blocked")
	// errNothing says that a line is none that is performed or compared.
	errNothing = errors.New("nothing to compare")
)

const patience = 20 * time.Second

// sysNumbers are the calls that are made as they stand.
var sysNumbers = map[traces.Call]uint64{
	traces.CallMunmap: unix.SYS_MUNMAP, traces.CallMprotect: unix.SYS_MPROTECT, traces.CallMadvise: unix.SYS_MADVISE,
	traces.CallMunlock: unix.SYS_MUNLOCK, traces.CallMlockall: unix.SYS_MLOCKALL, traces.CallMunlockall: unix.SYS_MUNLOCKALL,
	traces.CallMsync: unix.SYS_MSYNC, traces.CallFtruncate: unix.SYS_FTRUNCATE, traces.CallFallocate: unix.SYS_FALLOCATE,
	traces.CallClose: unix.SYS_CLOSE, traces.CallMlock: unix.SYS_MLOCK2,
}

// call performs an op and returns its result as text.
func (r *run) call(th *thread, i int32, op *traces.Op) (string, error) {
	if nr, ok := sysNumbers[op.Call]; ok {
		_, err := th.task.Call(nr, op.A[:]...)
		return "0", err
	}
	switch op.Call {
	case traces.CallMmap, traces.CallMremap, traces.CallBrk:
		val, err := r.place(th, op)
		return fmt.Sprintf("%#x", val), err
	case traces.CallCPUWrite:
		r.ambient(th, op)
		return "0", th.task.Fill(op.A[0], op.A[1], byte(op.A[2]))
	case traces.CallCPURead:
		r.ambient(th, op)
		var seen []traces.ByteRun
		err := th.task.Load(op.A[0], op.A[1], func(b []byte) { seen = traces.AppendBytes(seen, b) })
		return traces.BytesText(seen), err
	case traces.CallClone:
		return "0", r.clone(th, op)
	case traces.CallExecve:
		return "0", r.execve(th)
	case traces.CallExit, traces.CallExited, traces.CallKilled:
		return "?", r.exit(th)
	case traces.CallExitGroup:
		return "?", r.exitGroup(th)
	case traces.CallWait4:
		return "0", r.wait4(th, i, op)
	case traces.CallKill:
		return "0", r.kill(op)
	case traces.CallSleep, traces.CallBarrier:
		return "0", nil // lines act in recorded order anyway
	case traces.CallIoctl, traces.CallGPURead, traces.CallGPUWrite, traces.CallGPUWait:
		return r.deviceCall(th, op)
	}
	return r.otherCall(th, op)
}

// ambient makes memory that a recorded success needs and that no line of the trace
// ever maps or unmaps, as the model does.
func (r *run) ambient(th *thread, op *traces.Op) {
	if op.Result.Kind != traces.ResultOK && op.Result.Kind != traces.ResultBytes || op.A[1] == 0 {
		return
	}
	lo, hi := op.A[0]&^(page-1), (op.A[0]+op.A[1]+page-1)&^(page-1)
	for i := range r.tr.Ops {
		switch o := &r.tr.Ops[i]; o.Call {
		case traces.CallMmap, traces.CallMunmap, traces.CallMremap, traces.CallBrk:
			at := o.A[0]
			if o.Result.Kind == traces.ResultOK && o.Call == traces.CallMmap {
				at = o.Result.Val
			}
			if o.Call == traces.CallBrk || at < hi && lo < at+o.A[1] || o.Call == traces.CallMremap && o.A[4] < hi && lo < o.A[4]+o.A[2] {
				return
			}
		}
	}
	th.task.Call(unix.SYS_MMAP, lo, hi-lo, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0)
}

// place maps memory where the record says.
func (r *run) place(th *thread, op *traces.Op) (uint64, error) {
	a := op.A
	recorded := op.Result.Kind == traces.ResultOK
	switch op.Call {
	case traces.CallMmap:
		if a[3]&unix.MAP_ANONYMOUS == 0 && op.X != nil && op.X.Path != "" && !isMemfd(op.X.Path) {
			return 0, r.cannot(op, "files are not performed")
		}
		if recorded && a[3]&unix.MAP_FIXED == 0 {
			a[0], a[3] = op.Result.Val, a[3]&^unix.MAP_FIXED_NOREPLACE|unix.MAP_FIXED
		}
		return th.task.Call(unix.SYS_MMAP, a[:]...)
	case traces.CallMremap:
		if recorded && op.Result.Val != a[0] && a[3]&unix.MREMAP_FIXED == 0 {
			a[3], a[4] = a[3]|unix.MREMAP_FIXED|unix.MREMAP_MAYMOVE, op.Result.Val
		}
		return th.task.Call(unix.SYS_MREMAP, a[:]...)
	}
	if !th.proc.brkSet {
		th.proc.brkSet = true
		const defaultBrk = 0x555555560000
		start := uint64(defaultBrk)
		switch {
		case recorded && a[0] == 0:
			start = op.Result.Val
		case recorded && op.Result.Val == a[0]:
			start = a[0] &^ (page - 1)
		}
		for _, what := range []uint64{unix.PR_SET_MM_BRK, unix.PR_SET_MM_START_BRK, unix.PR_SET_MM_BRK} {
			th.task.Call(unix.SYS_PRCTL, unix.PR_SET_MM, what, start, 0, 0)
		}
	}
	return th.task.Call(unix.SYS_BRK, a[0])
}

func isMemfd(path string) bool { return len(path) >= 7 && path[:7] == "/memfd:" }

// deviceCall performs what a driver does.
func (r *run) deviceCall(th *thread, op *traces.Op) (string, error) {
	if op.Call == traces.CallGPUWait {
		return "0", nil
	}
	if op.Call == traces.CallIoctl {
		k := op.X.KFD
		if k == nil || k.Undecoded {
			return "", errNothing
		}
		if op.Result.Kind == traces.ResultErr && !judged(k, op.Result.Errno) {
			return "-1 " + traces.ErrnoName(int(op.Result.Errno)), r.mapSome(th, k) // a driver's own check
		}
		if th.proc.driver == nil {
			return "", r.cannot(op, "the process has not opened /dev/kfd")
		}
		return "0", r.kfdCall(th, op)
	}
	if th.proc.driver == nil {
		return "", r.cannot(op, "the process has not opened /dev/kfd")
	}
	seen, err := r.gpuAccess(th, op)
	if op.Call == traces.CallGPUWrite || op.X != nil && op.X.Async {
		return "0", err
	}
	return traces.BytesText(seen), err
}

// judged says whether an errno is one that memory management gives, not the driver
// for its arguments.
func judged(k *traces.KFDArgs, errno int32) bool {
	if k.NR != nrAlloc && k.NR != nrBatch && k.NR != nrMap || int(k.NumRanges) != len(k.Ranges) || int(k.NDevices) != len(k.DeviceIDs) {
		return false
	}
	switch unix.Errno(errno) {
	case unix.EFAULT, unix.EPERM, unix.ESRCH:
		return true
	}
	return false
}

// otherCall performs calls with more than numbers in them, and stimuli.
func (r *run) otherCall(th *thread, op *traces.Op) (string, error) {
	t := th.task
	switch op.Call {
	case traces.CallOpenat:
		return "0", r.open(th, op)
	case traces.CallMemfdCreate:
		n := copy(t.Buf(), op.X.Name)
		t.Buf()[n] = 0
		fd, err := t.Call(unix.SYS_MEMFD_CREATE, t.BufAddr(), op.A[1])
		if err != nil {
			return "", err
		}
		return "0", r.label(th, op, fd, op.A[1]&unix.MFD_CLOEXEC != 0)
	case traces.CallDup:
		fd, err := t.Call(unix.SYS_DUP, op.A[0])
		if err != nil {
			return "", err
		}
		return "0", r.label(th, op, fd, false)
	case traces.CallPidfdOpen:
		p := r.findProcess(int(int64(op.A[0])))
		pid := uint64(1 << 30)
		if p != nil {
			pid = uint64(p.pid)
		}
		fd, err := t.Call(unix.SYS_PIDFD_OPEN, pid, op.A[1])
		if err != nil {
			return "", err
		}
		return "0", r.label(th, op, fd, true)
	case traces.CallProcessMadvise:
		b := t.Buf()
		for k, v := range op.X.Iovecs {
			binary.LittleEndian.PutUint64(b[16*k:], v.Start)
			binary.LittleEndian.PutUint64(b[16*k+8:], v.Size)
		}
		n, err := t.Call(unix.SYS_PROCESS_MADVISE, op.A[0], t.BufAddr(), op.A[2], op.A[3], op.A[4])
		return fmt.Sprintf("%#x", n), err
	case traces.CallMbind, traces.CallMovePages, traces.CallMigratePages:
		return r.placement(th, op)
	case traces.CallMMCompact:
		return "0", os.WriteFile("/proc/sys/vm/compact_memory", []byte("1"), 0)
	case traces.CallMMKsm:
		return "0", mergePages(op.A[0] == 2)
	case traces.CallMMKhugepaged:
		return "0", collapse()
	}
	return "", r.cannot(op, "not performed on a kernel")
}

// placement performs the calls that say where pages are to be.
func (r *run) placement(th *thread, op *traces.Op) (string, error) {
	t, b := th.task, th.task.Buf()
	put := func(at int, words []uint64) uint64 {
		for i, w := range words {
			binary.LittleEndian.PutUint64(b[at+8*i:], w)
		}
		return t.BufAddr() + uint64(at)
	}
	x := op.X
	if x == nil {
		x = &traces.Extra{}
	}
	mask := func(at int, words []uint64) uint64 {
		if words == nil {
			return 0
		}
		return put(at, append([]uint64{}, append(words, make([]uint64, 16)...)...))
	}
	if op.Call == traces.CallMbind {
		_, err := t.Call(unix.SYS_MBIND, op.A[0], op.A[1], op.A[2], mask(0, x.NodeMask), op.A[4], op.A[5])
		return "0", err
	}
	pid := uint64(0)
	if op.A[0] != 0 {
		pid = 1 << 30
		if p := r.processOf(int(int64(op.A[0]))); p != nil {
			pid = uint64(p.pid)
		}
	}
	if op.Call == traces.CallMigratePages {
		left, err := t.Call(unix.SYS_MIGRATE_PAGES, pid, op.A[1], mask(0, x.NodeMask), mask(0x1000, x.NewNodeMask))
		return fmt.Sprintf("%#x", left), err
	}
	n := min(op.A[1], uint64(len(x.Pages)))
	nodes := uint64(0)
	if x.Nodes != nil {
		n = min(n, uint64(len(x.Nodes)))
		nodes = t.BufAddr() + 0x8000
		for i := range n {
			binary.LittleEndian.PutUint32(b[0x8000+4*i:], uint32(x.Nodes[i]))
		}
	}
	left, err := t.Call(unix.SYS_MOVE_PAGES, pid, n, put(0, x.Pages[:n]), nodes, t.BufAddr()+0xc000, op.A[5])
	return fmt.Sprintf("%#x", left), err
}

// open opens a device: the observer stands for KFD.
func (r *run) open(th *thread, op *traces.Op) error {
	path := ""
	if op.X != nil {
		path = op.X.Path
	}
	kfd, render := isDevice(path)
	if !kfd && !render {
		return r.cannot(op, "files are not performed")
	}
	path = "/dev/null"
	if kfd {
		path = device
	}
	t := th.task
	n := copy(t.Buf(), path)
	t.Buf()[n] = 0
	fd, err := t.Call(unix.SYS_OPEN, t.BufAddr(), unix.O_RDWR|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	if kfd && th.proc.driver == nil {
		// Registrations outlive the descriptor: they end with the process.
		const private = 500
		own, err := t.Call(unix.SYS_FCNTL, fd, unix.F_DUPFD_CLOEXEC, private)
		if err != nil {
			return err
		}
		th.proc.driver = &driver{fd: int(own)}
	}
	return r.label(th, op, fd, op.A[2]&unix.O_CLOEXEC != 0)
}

// label gives a descriptor the number that the trace has for it.
func (r *run) label(th *thread, op *traces.Op, fd uint64, cloexec bool) error {
	want := fd
	switch {
	case op.Result.Kind == traces.ResultOK:
		want = op.Result.Val
	case op.Call == traces.CallDup && op.N > 1 && op.Result.Kind == traces.ResultNone:
		want = op.A[1]
	}
	if want == fd {
		return nil
	}
	flags := uint64(0)
	if cloexec {
		flags = unix.O_CLOEXEC
	}
	if _, err := th.task.Call(unix.SYS_DUP3, fd, want, flags); err != nil {
		return err
	}
	_, err := th.task.Call(unix.SYS_CLOSE, fd)
	return err
}

// cannot ends the run: the guest cannot do what the line asks for.
func (r *run) cannot(op *traces.Op, why string) error {
	r.skip = fmt.Sprintf("line %d: %s: %s", op.Line, op.Call, why)
	return errSkip
}
