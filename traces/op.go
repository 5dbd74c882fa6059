// SPDX-License-Identifier: MIT

package traces

// Call is a call of the trace language that means something to memory.
type Call uint8

// The calls of the language. Where several system calls do the same, they share one Call; the comment says which.
const (
	CallNone Call = iota

	CallMmap
	CallMunmap
	CallMremap
	CallMprotect // mprotect, pkey_mprotect
	CallMadvise
	CallProcessMadvise
	CallBrk
	CallMlock // mlock, mlock2 (A[2]: its flags)
	CallMunlock
	CallMlockall
	CallMunlockall
	CallMsync
	CallClone // fork, vfork, clone, clone3; A[0]: the CLONE_ flags with the exit signal in the low byte, A[1]: the stack
	CallExecve
	CallExit
	CallExitGroup
	CallWait4
	CallKill
	CallMovePages
	CallMbind
	CallMigratePages
	CallMemfdCreate
	CallFtruncate
	CallFallocate
	CallOpenat // open, creat, openat, openat2; always in openat's order
	CallClose
	CallDup // dup, dup2, dup3, fcntl(F_DUPFD…); A[1]: the number asked for, where one was
	CallPidfdOpen
	CallIoctl // only KFD's; see Extra.KFD

	CallCPURead
	CallCPUWrite
	CallGPURead
	CallGPUWrite
	CallGPUWait
	CallMMReclaim
	CallMMCompact
	CallMMKsm
	CallMMKhugepaged
	CallMMOOMReap
	CallMMNUMABalance
	CallTTMEvict
	CallGPUReset
	CallSleep
	CallBarrier
	CallDump

	CallExited     // +++ exited with A[0] +++
	CallKilled     // +++ killed by A[0] +++
	CallSuperseded // +++ superseded by execve in pid A[0] +++: that task goes on under this one's label
	CallResume     // the second half of Trace.Ops[Ref]

	NumCalls
)

var callNames = [NumCalls]string{
	"none", "mmap", "munmap", "mremap", "mprotect", "madvise", "process_madvise", "brk", "mlock", "munlock", "mlockall",
	"munlockall", "msync", "clone", "execve", "exit", "exit_group", "wait4", "kill", "move_pages", "mbind",
	"migrate_pages", "memfd_create", "ftruncate", "fallocate", "openat", "close", "dup", "pidfd_open", "ioctl",
	"cpu.read", "cpu.write", "gpu.read", "gpu.write", "gpu.wait", "mm.reclaim", "mm.compact", "mm.ksm",
	"mm.khugepaged", "mm.oom_reap", "mm.numa_balance", "ttm.evict", "gpu.reset", "sleep", "barrier", "dump",
	"exited", "killed", "superseded", "resume",
}

// String returns the name of the call as the language writes it.
func (c Call) String() string {
	if c >= NumCalls {
		return "invalid"
	}
	return callNames[c]
}

// Phase says how much of a call an Op is.
type Phase uint8

const (
	// Whole is a call that strace printed on one line.
	Whole Phase = iota
	// Unfinished is a call that began here and ended, if ever, at the CallResume that Ref names.
	Unfinished
)

// ResultKind says what a trace records about the result of a call.
type ResultKind uint8

const (
	ResultNone    ResultKind = iota // hand-written: no expectation
	ResultUnknown                   // "?": the call never returned, or its value was lost
	ResultOK                        // Val
	ResultErr                       // Errno
	ResultBytes                     // Extra.Data: what a read saw
)

// Result is the recorded result of a call.
type Result struct {
	Val   uint64 // ResultOK; ResultUnknown of a clone: the child that the trace shows nevertheless, or 0
	Errno int32  // ResultErr: positive
	Kind  ResultKind
}

// Op is one decoded call: what the model, the VM and the GPU execute.
//
// A holds the arguments at the kernel's own positions: A[i] is the i-th argument of the system call on x86-64, and
// strings, structs and arrays leave a 0 (they are in Extra). A pseudo-call has its integers in written order. NULL is
// 0, -1 is ^uint64(0), flags are numbers, lengths are bytes.
type Op struct {
	Line   int // 1-based, of the call's first part
	TID    int // task label
	A      [6]uint64
	Result Result // of an Unfinished call: what its second part says
	X      *Extra // nil for most
	Ref    int32  // CallResume: index of the unfinished Op; Unfinished: of its CallResume; else -1
	Call   Call
	Phase  Phase
	N      uint8 // how many arguments were written (a call cut short by the end of its task may lack some)
}

// ByteRun is N times the same byte.
type ByteRun struct {
	Byte byte
	N    uint64
}

// Range is [Start, Start+Size), bytes.
type Range struct{ Start, Size uint64 }

// Extra holds what only some calls have.
type Extra struct {
	Path string    // open, execve: as written, or as strace resolved it (-y); mmap of a file: what -y shows
	Name string    // barrier, memfd_create
	KFD  *KFDArgs  // KFD ioctl
	Data []ByteRun // gpu.read, cpu.read: the bytes seen (ResultBytes)

	Async bool // gpu.read, gpu.write: submitted, not waited for

	NodeMask    []uint64 // mbind: nodemask; migrate_pages: old nodes. 64 nodes a word; nil for NULL
	NewNodeMask []uint64 // migrate_pages: new nodes
	Pages       []uint64 // move_pages: addresses
	Nodes       []int64  // move_pages: target node of each; nil asks where the pages are
	Status      []int64  // move_pages: node or -errno of each, as recorded
	Iovecs      []Range  // process_madvise
	PID         int      // a pidfd's task, where -y shows it
	Abbreviated bool     // strace cut a list or struct short with "..."
}

// NameCount counts the calls of one name.
type NameCount struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Trace is a whole checked trace.
type Trace struct {
	Name       string
	Hash       [32]byte // sha256 of the canonical printing of its lines
	Directives Directives
	Ops        []Op
	Skipped    []NameCount // calls that mean nothing to memory, sorted by name
	Undecoded  int         // KFD ioctls that show only a pointer
	Lines      int
	FirstTID   int
	Timed      bool // some line has a time: recorded, not written by hand
}
