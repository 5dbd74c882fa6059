// SPDX-License-Identifier: MIT

package traces

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func mustLoad(t testing.TB, text string) *Trace {
	tr, err := Parse("t", strings.NewReader(text))
	require.NoError(t, err)
	return tr
}

func ok(v uint64) Result    { return Result{Kind: ResultOK, Val: v} }
func failed(n int32) Result { return Result{Kind: ResultErr, Errno: n} }

var unknownResult = Result{Kind: ResultUnknown}

// meanings are single calls and what they mean. Line, TID and Ref are filled in by the test.
var meanings = map[string]struct {
	text string
	want Op
	x    Extra
}{
	"mmap with lengths in K": {"mmap(0x10000, 16K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0) = 0x10000",
		Op{Call: CallMmap, N: 6, A: [6]uint64{0x10000, 16384, 3, 0x32, ^uint64(0), 0}, Result: ok(0x10000)}, Extra{}},
	"mmap of a file": {"mmap(NULL, 37183, PROT_READ, MAP_PRIVATE|MAP_DENYWRITE, 3</usr/lib/a\\76b>, 0x1000) = 0x7f00",
		Op{Call: CallMmap, N: 6, A: [6]uint64{0, 37183, 1, 0x802, 3, 0x1000}, Result: ok(0x7f00)}, Extra{Path: "/usr/lib/a>b"}},
	"mmap of huge pages": {"mmap(NULL, 2M, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT, -1, 0) = -1 ENOMEM (Cannot allocate memory)",
		Op{Call: CallMmap, N: 6, A: [6]uint64{0, 2 << 20, 0, 0x54040022, ^uint64(0), 0}, Result: failed(12)}, Extra{}},
	"munmap":              {"munmap(0x10000, 4096) = 0", Op{Call: CallMunmap, N: 2, A: [6]uint64{0x10000, 4096}, Result: ok(0)}, Extra{}},
	"mremap without flag": {"mremap(0x1000, 4096, 8192, 0) = 0x1000", Op{Call: CallMremap, N: 4, A: [6]uint64{0x1000, 4096, 8192}, Result: ok(0x1000)}, Extra{}},
	"mremap to a place": {"mremap(0x1000, 4096, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, 0x9000) = 0x9000",
		Op{Call: CallMremap, N: 5, A: [6]uint64{0x1000, 4096, 4096, 3, 0x9000}, Result: ok(0x9000)}, Extra{}},
	"mprotect":       {"mprotect(0x1000, 4096, PROT_NONE)", Op{Call: CallMprotect, N: 3, A: [6]uint64{0x1000, 4096}}, Extra{}},
	"unknown advice": {"madvise(0x1000, 4096, 0xffffffff /* MADV_??? */) = -1 EINVAL (Invalid argument)", Op{Call: CallMadvise, N: 3, A: [6]uint64{0x1000, 4096, 0xffffffff}, Result: failed(22)}, Extra{}},
	"process_madvise": {"process_madvise(4<pid:7>, [{iov_base=0x1000, iov_len=4096}, {iov_base=0x9000, iov_len=1}], 2, MADV_PAGEOUT, 0) = 4097",
		Op{Call: CallProcessMadvise, N: 5, A: [6]uint64{4, 0, 2, 21, 0}, Result: ok(4097)}, Extra{PID: 7, Iovecs: []Range{{0x1000, 4096}, {0x9000, 1}}}},
	"brk":        {"brk(NULL)       = 0x37a7a000", Op{Call: CallBrk, N: 1, Result: ok(0x37a7a000)}, Extra{}},
	"mlock2":     {"mlock2(0x1000, 4096, MLOCK_ONFAULT) = 0", Op{Call: CallMlock, N: 3, A: [6]uint64{0x1000, 4096, 1}, Result: ok(0)}, Extra{}},
	"mlockall":   {"mlockall(MCL_CURRENT|MCL_FUTURE) = 0", Op{Call: CallMlockall, N: 1, A: [6]uint64{3}, Result: ok(0)}, Extra{}},
	"msync":      {"msync(0x1000, 4096, MS_SYNC) = 0", Op{Call: CallMsync, N: 3, A: [6]uint64{0x1000, 4096, 4}, Result: ok(0)}, Extra{}},
	"fork":       {"fork() = 2", Op{Call: CallClone, A: [6]uint64{17}, Result: ok(2)}, Extra{}},
	"vfork":      {"vfork() = 2", Op{Call: CallClone, A: [6]uint64{0x4111}, Result: ok(2)}, Extra{}},
	"clone":      {"clone(child_stack=0x7f00, flags=CLONE_VM|CLONE_VFORK|SIGCHLD) = 2", Op{Call: CallClone, N: 2, A: [6]uint64{0x4111, 0x7f00}, Result: ok(2)}, Extra{}},
	"bare clone": {"clone(CLONE_VM|CLONE_THREAD) = 2", Op{Call: CallClone, N: 1, A: [6]uint64{0x10100}, Result: ok(2)}, Extra{}},
	"raw clone":  {"clone(child_stack=NULL, flags=0x1200011 /* CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD */, child_tidptr=0x7f00) = 2", Op{Call: CallClone, N: 3, A: [6]uint64{0x1200011}, Result: ok(2)}, Extra{}},
	"clone3": {"clone3({flags=CLONE_VM|CLONE_FILES, exit_signal=SIGCHLD, stack=0x7f00, stack_size=0x10, tls=0x1} => {parent_tid=[2]}, 88) = 2",
		Op{Call: CallClone, N: 2, A: [6]uint64{0x511, 0x7f00}, Result: ok(2)}, Extra{}},
	"execve":     {"execve(\"/bin/true\", [\"true\"], 0x7ffe /* 35 vars */) = 0", Op{Call: CallExecve, N: 3, Result: ok(0)}, Extra{Path: "/bin/true"}},
	"exit_group": {"exit_group(3) = ?", Op{Call: CallExitGroup, N: 1, A: [6]uint64{3}, Result: unknownResult}, Extra{}},
	"wait4": {"wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], WNOHANG|__WALL, NULL) = -1 ECHILD (No child processes)",
		Op{Call: CallWait4, N: 4, A: [6]uint64{^uint64(0), 0, 0x40000001}, Result: failed(10)}, Extra{}},
	"kill": {"kill(1<bash>, SIGKILL) = 0", Op{Call: CallKill, N: 2, A: [6]uint64{1, 9}, Result: ok(0)}, Extra{}},
	"move_pages": {"move_pages(0, 2, [0x1000, 0x2000], [1, 0], [1, -ENOENT], MPOL_MF_MOVE) = 0",
		Op{Call: CallMovePages, N: 6, A: [6]uint64{0, 2, 0, 0, 0, 2}, Result: ok(0)}, Extra{Pages: []uint64{0x1000, 0x2000}, Nodes: []int64{1, 0}, Status: []int64{1, -2}}},
	"move_pages that asks": {"move_pages(0, 40, [0x1000, ...], NULL, 0x7ffe, 0) = 0",
		Op{Call: CallMovePages, N: 6, A: [6]uint64{0, 40}, Result: ok(0)}, Extra{Pages: []uint64{0x1000}, Abbreviated: true}},
	"mbind": {"mbind(0x1000, 8192, MPOL_BIND|MPOL_F_STATIC_NODES, [0x00000000000001], 64, MPOL_MF_STRICT|MPOL_MF_MOVE) = 0",
		Op{Call: CallMbind, N: 6, A: [6]uint64{0x1000, 8192, 0x8002, 0, 64, 3}, Result: ok(0)}, Extra{NodeMask: []uint64{1}}},
	"migrate_pages": {"migrate_pages(0, 64, [0x1], [0x2]) = 0", Op{Call: CallMigratePages, N: 4, A: [6]uint64{0, 64}, Result: ok(0)}, Extra{NodeMask: []uint64{1}, NewNodeMask: []uint64{2}}},
	"memfd_create":  {"memfd_create(\"a\\\"b\", MFD_CLOEXEC|MFD_HUGETLB|21<<MFD_HUGE_SHIFT) = 4</memfd:x>(deleted)", Op{Call: CallMemfdCreate, N: 2, A: [6]uint64{0, 0x54000005}, Result: ok(4)}, Extra{Name: "a\"b"}},
	"fallocate":     {"fallocate(4, FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE, 0, 4096) = 0", Op{Call: CallFallocate, N: 4, A: [6]uint64{4, 3, 0, 4096}, Result: ok(0)}, Extra{}},
	"openat": {"openat(AT_FDCWD</tmp>, \"a\", O_RDWR|O_CREAT|O_CLOEXEC, 0666) = 3</tmp/a>",
		Op{Call: CallOpenat, N: 4, A: [6]uint64{^uint64(99), 0, 0o2000102, 0o666}, Result: ok(3)}, Extra{Path: "/tmp/a"}},
	"open":    {"open(\"/dev/kfd\", O_RDWR) = 3", Op{Call: CallOpenat, N: 2, A: [6]uint64{^uint64(99), 0, 2}, Result: ok(3)}, Extra{Path: "/dev/kfd"}},
	"creat":   {"creat(\"a\", 0600) = 3", Op{Call: CallOpenat, N: 2, A: [6]uint64{^uint64(99), 0, 0o1101, 0o600}, Result: ok(3)}, Extra{Path: "a"}},
	"openat2": {"openat2(AT_FDCWD, \"a\", {flags=O_RDONLY, mode=0, resolve=RESOLVE_BENEATH}, 24) = 3", Op{Call: CallOpenat, N: 4, A: [6]uint64{^uint64(99)}, Result: ok(3)}, Extra{Path: "a"}},
	"an open that hides its path": {"openat(AT_FDCWD, \"\\x2f\\x64\\145v/kfd\", O_RDWR) = 3</dev/kfd<char 511:0>>",
		Op{Call: CallOpenat, N: 3, A: [6]uint64{^uint64(99), 0, 2}, Result: ok(3)}, Extra{Path: "/dev/kfd"}},
	"dup3":            {"dup3(3</dev/kfd>, 9, O_CLOEXEC) = 9</dev/kfd>", Op{Call: CallDup, N: 3, A: [6]uint64{3, 9, 0o2000000}, Result: ok(9)}, Extra{}},
	"fcntl that dups": {"fcntl(3, F_DUPFD_CLOEXEC, 50) = 50", Op{Call: CallDup, N: 3, A: [6]uint64{3, 50, 0o2000000}, Result: ok(50)}, Extra{}},
	"a lost result":   {"munmap(0x1000, 1) = -1 (errno 513)", Op{Call: CallMunmap, N: 2, A: [6]uint64{0x1000, 1}, Result: failed(513)}, Extra{}},

	"cpu.read":       {"cpu.read(0x1000, 8K) = {0x11*4096, 0x11*96, 0x0*4000}", Op{Call: CallCPURead, N: 2, A: [6]uint64{0x1000, 8192}, Result: Result{Kind: ResultBytes}}, Extra{Data: []ByteRun{{0x11, 4192}, {0, 4000}}}},
	"cpu.write":      {"cpu.write(0x1000, 8K, 0x11) = -1 EFAULT", Op{Call: CallCPUWrite, N: 3, A: [6]uint64{0x1000, 8192, 0x11}, Result: failed(14)}, Extra{}},
	"an errno alone": {"cpu.write(0x1000, 8K, 0x11) = -EFAULT", Op{Call: CallCPUWrite, N: 3, A: [6]uint64{0x1000, 8192, 0x11}, Result: failed(14)}, Extra{}},
	"gpu.read":       {"gpu.read(1, 0x400000000, 8K, ASYNC)", Op{Call: CallGPURead, N: 4, A: [6]uint64{1, 0x400000000, 8192}}, Extra{Async: true}},
	"gpu.write":      {"gpu.write(1, 0x400000000, 8K, 0xff) = 0", Op{Call: CallGPUWrite, N: 4, A: [6]uint64{1, 0x400000000, 8192, 0xff}, Result: ok(0)}, Extra{}},
	"barrier":        {"barrier(\"go\")", Op{Call: CallBarrier, N: 1}, Extra{Name: "go"}},
	"numa_balance":   {"mm.numa_balance(0x1000, 4K) = 0", Op{Call: CallMMNUMABalance, N: 2, A: [6]uint64{0x1000, 4096}, Result: ok(0)}, Extra{}},
	"dump":           {"dump()", Op{Call: CallDump}, Extra{}},
}

func TestEveryCallMeansWhatItSays(t *testing.T) {
	for name, c := range meanings {
		t.Run(name, func(t *testing.T) {
			tr := mustLoad(t, "1 "+c.text+"\n")
			require.Len(t, tr.Ops, 1)
			got := tr.Ops[0]
			if got.X == nil {
				got.X = &Extra{}
			}
			c.want.Line, c.want.TID, c.want.Ref, c.want.X = 1, 1, -1, &c.x
			require.Equal(t, c.want, got)
		})
	}
}

func kfd(t *testing.T, call string) *KFDArgs {
	tr := mustLoad(t, "1 "+call+"\n")
	require.Len(t, tr.Ops, 1)
	require.Equal(t, CallIoctl, tr.Ops[0].Call)
	return tr.Ops[0].X.KFD
}

func TestKFDIoctlsAreDecoded(t *testing.T) {
	k := kfd(t, "ioctl(3</dev/kfd>, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, {va_addr=0x400000000, size=0x4000, mmap_offset=0x10000, gpu_id=1, "+
		"flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=0x100000001, mmap_offset=0x9}) = 0")
	require.Equal(t, &KFDArgs{NR: 0x16, VAAddr: 0x400000000, Size: 0x4000, MmapOffset: 0x10000, GPUID: 1, Flags: 0x80000004,
		OutHandle: 0x100000001, HasOutHandle: true, OutMmapOffset: 9, HasOutMmapOffset: true}, k)

	k = kfd(t, "ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400000000, total_size=0x6000, ranges=[{start=0x10000, size=0x4000}, {start=0x40000, size=0x2000}], gpu_id=1, flags=0xd4000004 /* x */}) = -1 EINVAL (Invalid argument)")
	require.Equal(t, &KFDArgs{NR: 0x28, VAAddr: 0x400000000, Size: 0x6000, GPUID: 1, Flags: 0xd4000004,
		Ranges: []Range{{0x10000, 0x4000}, {0x40000, 0x2000}}, NumRanges: 2}, k)

	k = kfd(t, "ioctl(3, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=0x100000001, device_ids=[1, 2], n_devices=3, n_success=1} => {n_success=2}) = 0")
	require.Equal(t, []uint32{1, 2}, k.DeviceIDs)
	require.Equal(t, [4]uint32{3, 1, 2, 0}, [4]uint32{k.NDevices, k.NSuccess, k.OutNSuccess, 0}, "a written count overrides")
	require.True(t, k.HasNSuccess && k.HasOutNSuccess)

	k = kfd(t, "ioctl(3, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0}) = 0")
	require.Equal(t, &KFDArgs{NR: 2, GPUID: 1, QueueType: 1, HasOutQueueID: true}, k)

	k = kfd(t, "ioctl(3, AMDKFD_IOC_SVM, {start_addr=0x1000, size=0x2000, op=KFD_IOCTL_SVM_OP_SET_ATTR, attrs=[{type=KFD_IOCTL_SVM_ATTR_ACCESS, value=1}]}) = 0")
	require.Equal(t, []SVMAttr{{2, 1}}, k.Attrs)
	require.Equal(t, uint32(1), k.NAttr)

	k = kfd(t, "ioctl(3, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=4</dev/dri/renderD128>, gpu_id=1}) = 0")
	require.Equal(t, &KFDArgs{NR: 0x15, DRMFD: 4, GPUID: 1}, k)

	k = kfd(t, "ioctl(3, AMDKFD_IOC_SET_XNACK_MODE, {xnack_enabled=-1 => 0}) = 0")
	require.Equal(t, &KFDArgs{NR: 0x21, XNACKEnabled: -1, HasOutXNACKEnabled: true}, k)
}

func TestAnIoctlIsKFDsByItsRequestUnlessItsPathIsAnothers(t *testing.T) {
	for request, nr := range map[string]int{
		"3, AMDKFD_IOC_GET_VERSION, 0x7ffe":                                          0x01,
		"3, AMDKFD_IOC_SOMETHING_NEW, 0x7ffe":                                        NRUnknown,
		"3, _IOC(_IOC_READ|_IOC_WRITE, 0x4b, 0x16, 0x28), 0x7ffe":                    0x16,
		"3, _IOC(_IOC_NONE, 0x4b, 0x27, 0), 0":                                       0x27,
		"3, 0xc0284b16, 0x7ffe":                                                      0x16,
		"3, 0xc0304b28 /* AMDKFD_IOC_PROFILER */, NULL":                              0x28,
		"3</dev/kfd<char 511:0>>, 0xc0304b20 /* AMDKFD_IOC_SVM */, {start_addr=0x1}": 0x20,
		"3</dev/tty>, 0xc0284b16, 0x7ffe":                                            -1,
		"3</dev/tty>, KDGETLED, 0x7ffe":                                              -1,
		"3, 0x4b31, 0x7ffe":                                                          -1,
		"3, TCGETS, 0x7ffe":                                                          -1,
		"3, SNDCTL_TMR_START or TCSETS, {a, ...}":                                    -1,
		"3</dev/kfd>, FIOCLEX":                                                       -1,
	} {
		tr := mustLoad(t, "1 ioctl("+request+") = 0\n")
		if nr < 0 {
			require.Empty(t, tr.Ops, request)
			require.Equal(t, []NameCount{{"ioctl", 1}}, tr.Skipped)
			continue
		}
		require.Len(t, tr.Ops, 1, request)
		require.Equal(t, uint8(nr), tr.Ops[0].X.KFD.NR, request)
		require.Equal(t, uint64(nr), tr.Ops[0].A[1])
		require.Equal(t, tr.Ops[0].X.KFD.Undecoded, tr.Undecoded == 1, request)
	}
}

func TestDirectivesAreDecoded(t *testing.T) {
	tr := mustLoad(t, "#: question: does it: work?\n#: needs: fork, swap\n#: needs: numa=2\n#: ram: 64M\n#: swap: 0\n#: gpus: 2\n"+
		"#: result: v2=stuck batch=ok\n#: result: single@6.12+D3=stale\n#: explore: batch=ok\n#: window: confirm-retry\n#: attach: yes\n")
	require.Equal(t, Directives{Question: "does it: work?", Needs: []string{"fork", "swap", "numa=2"}, RAM: 64 << 20, Limit: -1,
		Memlock: -1, GPUs: 2, Nodes: -1, Result: []Expectation{{"batch", "ok"}, {"single@6.12+D3", "stale"}, {"v2", "stuck"}},
		Explore: []Expectation{{"batch", "ok"}}, Window: []string{"confirm-retry"}, WindowLine: 10, Attach: true}, tr.Directives)
}

func TestErrnoNamesAndNumbersMatch(t *testing.T) {
	for n := 1; n <= 133; n++ {
		name := ErrnoName(n)
		if n == 41 || n == 58 {
			require.Empty(t, name)
			continue
		}
		got, ok := ErrnoNumber(name)
		require.True(t, ok, n)
		require.Equal(t, n, got)
	}
	n, _ := ErrnoNumber("EWOULDBLOCK")
	require.Equal(t, "EAGAIN", ErrnoName(n))
	require.Empty(t, ErrnoName(-1))
	require.Empty(t, ErrnoName(9999))
	_, ok := ErrnoNumber("EFOO")
	require.False(t, ok)
}

func TestTheHashIgnoresSpacingAndNothingElse(t *testing.T) {
	a := mustLoad(t, "3396  1.5 brk(NULL)       = 0x1000\n")
	require.Equal(t, a.Hash, mustLoad(t, "3396 1.5 brk(NULL) = 0x1000\r\n").Hash)
	require.NotEqual(t, a.Hash, mustLoad(t, "3396 1.5 brk(NULL) = 0x2000\n").Hash)
	require.Len(t, a.HashString(), 64)
}
