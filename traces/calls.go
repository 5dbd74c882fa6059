// SPDX-License-Identifier: MIT

package traces

// form is how one argument is written.
type form uint8

const (
	formNumber  form = iota // number or flags
	formFD                  // number with an optional path
	formIgnore              // anything: a pointer that means nothing here
	formPath                // string, to Extra.Path
	formName                // string, to Extra.Name
	formMask                // [0x1], to Extra.NodeMask
	formNewMask             // [0x1], to Extra.NewNodeMask
	formPages               // [0x7f..., ...], to Extra.Pages
	formNodes               // [0, 1], to Extra.Nodes
	formStatus              // [1, -ENOENT], to Extra.Status
	formIovecs              // [{iov_base=..., iov_len=...}], to Extra.Iovecs
	formAsync               // the word ASYNC, to Extra.Async
	formByte                // number that fits in a byte
)

// param is one parameter of a call: how it is written, and where it goes in Op.A.
type param struct {
	form form
	to   uint8
	w    *words
}

// spec is how a call that means something is written.
type spec struct {
	name   string
	call   Call
	min    int // arguments that must be there
	params []param
	// decode takes over from params where a call has its own form. It may return errSkip.
	decode func(d *decoder, o *Op, args []Arg) *fault
}

func num(to uint8) param            { return param{formNumber, to, noWords} }
func flag(to uint8, w *words) param { return param{formNumber, to, w} }
func fd(to uint8) param             { return param{formFD, to, atWords} }
func as(f form) param               { return param{form: f} }

// specs are the calls that mean something, by the name in the trace.
var specs = func() map[string]*spec {
	m := make(map[string]*spec)
	for _, list := range [][]spec{memorySpecs(), taskSpecs(), fileSpecs(), numaSpecs(), pseudoSpecs()} {
		for i := range list {
			m[list[i].name] = &list[i]
		}
	}
	return m
}()

func memorySpecs() []spec {
	protect := []param{num(0), num(1), flag(2, protWords)}
	return []spec{
		{name: "mmap", call: CallMmap, min: 6,
			params: []param{num(0), num(1), flag(2, protWords), flag(3, mapWords), fd(4), num(5)}},
		{name: "munmap", call: CallMunmap, min: 2, params: []param{num(0), num(1)}},
		{name: "mremap", call: CallMremap, min: 4,
			params: []param{num(0), num(1), num(2), flag(3, mremapWords), num(4)}},
		{name: "mprotect", call: CallMprotect, min: 3, params: protect},
		{name: "pkey_mprotect", call: CallMprotect, min: 4, params: append(protect[:3:3], num(3))},
		{name: "madvise", call: CallMadvise, min: 3, params: []param{num(0), num(1), flag(2, madviseWords)}},
		{name: "process_madvise", call: CallProcessMadvise, min: 5,
			params: []param{fd(0), as(formIovecs), num(2), flag(3, madviseWords), num(4)}},
		{name: "brk", call: CallBrk, min: 1, params: []param{num(0)}},
		{name: "mlock", call: CallMlock, min: 2, params: []param{num(0), num(1)}},
		{name: "mlock2", call: CallMlock, min: 3, params: []param{num(0), num(1), flag(2, mlockWords)}},
		{name: "munlock", call: CallMunlock, min: 2, params: []param{num(0), num(1)}},
		{name: "mlockall", call: CallMlockall, min: 1, params: []param{flag(0, mclWords)}},
		{name: "munlockall", call: CallMunlockall},
		{name: "msync", call: CallMsync, min: 3, params: []param{num(0), num(1), flag(2, msyncWords)}},
	}
}

func taskSpecs() []spec {
	return []spec{
		{name: "fork", call: CallClone, decode: decodeFork},
		{name: "vfork", call: CallClone, decode: decodeVfork},
		{name: "clone", call: CallClone, min: 1, decode: decodeClone},
		{name: "clone3", call: CallClone, min: 1, decode: decodeClone3},
		{name: "execve", call: CallExecve, min: 1, params: []param{as(formPath), as(formIgnore), as(formIgnore)}},
		{name: "exit", call: CallExit, params: []param{num(0)}},
		{name: "exit_group", call: CallExitGroup, params: []param{num(0)}},
		{name: "wait4", call: CallWait4, min: 1,
			params: []param{fd(0), as(formIgnore), flag(2, waitWords), as(formIgnore)}},
		{name: "kill", call: CallKill, min: 2, params: []param{fd(0), flag(1, signalWords)}},
		{name: "pidfd_open", call: CallPidfdOpen, min: 1, params: []param{fd(0), flag(1, pidfdWords)}},
	}
}

func fileSpecs() []spec {
	return []spec{
		{name: "memfd_create", call: CallMemfdCreate, min: 2, params: []param{as(formName), flag(1, memfdWords)}},
		{name: "ftruncate", call: CallFtruncate, min: 2, params: []param{fd(0), num(1)}},
		{name: "fallocate", call: CallFallocate, min: 4,
			params: []param{fd(0), flag(1, fallocWords), num(2), num(3)}},
		{name: "openat", call: CallOpenat, min: 3,
			params: []param{fd(0), as(formPath), flag(2, openWords), flag(3, modeWords)}},
		{name: "open", call: CallOpenat, min: 2, decode: decodeOpen},
		{name: "creat", call: CallOpenat, min: 2, decode: decodeCreat},
		{name: "openat2", call: CallOpenat, min: 3, decode: decodeOpenat2},
		{name: "close", call: CallClose, min: 1, params: []param{fd(0)}},
		{name: "dup", call: CallDup, min: 1, params: []param{fd(0)}},
		{name: "dup2", call: CallDup, min: 2, params: []param{fd(0), fd(1)}},
		{name: "dup3", call: CallDup, min: 3, params: []param{fd(0), fd(1), flag(2, openWords)}},
		{name: "fcntl", call: CallDup, min: 2, decode: decodeFcntl},
		{name: "ioctl", call: CallIoctl, min: 2, decode: decodeIoctl},
	}
}

func numaSpecs() []spec {
	return []spec{
		{name: "move_pages", call: CallMovePages, min: 6, params: []param{
			fd(0), num(1), as(formPages), as(formNodes), as(formStatus), flag(5, moveWords)}},
		{name: "mbind", call: CallMbind, min: 6, params: []param{
			num(0), num(1), flag(2, policyWords), as(formMask), num(4), flag(5, moveWords)}},
		{name: "migrate_pages", call: CallMigratePages, min: 4,
			params: []param{fd(0), num(1), as(formMask), as(formNewMask)}},
	}
}

func pseudoSpecs() []spec {
	return []spec{
		{name: "cpu.read", call: CallCPURead, min: 2, params: []param{num(0), num(1)}},
		{name: "cpu.write", call: CallCPUWrite, min: 3, params: []param{num(0), num(1), {form: formByte, to: 2}}},
		{name: "gpu.read", call: CallGPURead, min: 3, params: []param{num(0), num(1), num(2), as(formAsync)}},
		{name: "gpu.write", call: CallGPUWrite, min: 4,
			params: []param{num(0), num(1), num(2), {form: formByte, to: 3}, as(formAsync)}},
		{name: "gpu.wait", call: CallGPUWait, min: 1, params: []param{num(0)}},
		{name: "mm.reclaim", call: CallMMReclaim, min: 1, params: []param{num(0)}},
		{name: "mm.compact", call: CallMMCompact},
		{name: "mm.ksm", call: CallMMKsm, params: []param{num(0)}},
		{name: "mm.khugepaged", call: CallMMKhugepaged},
		{name: "mm.oom_reap", call: CallMMOOMReap, min: 1, params: []param{num(0)}},
		{name: "mm.numa_balance", call: CallMMNUMABalance, min: 2, params: []param{num(0), num(1)}},
		{name: "ttm.evict", call: CallTTMEvict, min: 1, params: []param{num(0)}},
		{name: "gpu.reset", call: CallGPUReset, min: 1, params: []param{num(0)}},
		{name: "sleep", call: CallSleep, min: 1, params: []param{num(0)}},
		{name: "barrier", call: CallBarrier, min: 1, params: []param{as(formName)}},
		{name: "dump", call: CallDump},
	}
}
