// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// handwritten is the trace that every hand-written one begins as.
const handwritten = `#: question: does the GPU see what the CPU wrote?
#: needs: fork, swap, numa=2
#: ram: 64M
#: result: batch=ok v2=stuck v3=stale
# a comment
1 openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = 3</dev/kfd>
1 openat(AT_FDCWD, "/dev/dri/renderD128", O_RDWR|O_CLOEXEC) = 4</dev/dri/renderD128>
1 ioctl(3, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=4, gpu_id=1}) = 0
1 ioctl(3, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0}) = 0
1 mmap(0x10000, 16K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0) = 0x10000
1 cpu.write(0x10000, 16K, 0x11) = 0
1 ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400000000, total_size=0x4000, ranges=[{start=0x10000, size=0x4000}], gpu_id=1, flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=0x100000000}) = 0
1 ioctl(3, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=0x100000000, device_ids=[1]} => {n_success=1}) = 0
1 gpu.read(1, 0x400000000, 8K) = {0x11*8192}
1 gpu.write(1, 0x400000000, 8K, 0x22, ASYNC) = 0
1 gpu.wait(1) = 0
1 barrier("ready")
1 dump()
`

// oddities are traces that real strace prints, each with the sentence that says what is odd about it.
var oddities = map[string]string{
	"a call begins on one line and ends on another": "7 wait4(-1,  <unfinished ...>\n7 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 31859\n",
	"strace 4 puts a space behind resumed":          "7 read(3,  <unfinished ...>\n7 <... read resumed> \"abc\", 3) = 3\n7 close(3 <unfinished ...>\n7 <... close resumed> ) = 0\n",
	"the comma may come with the second half":       "7 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>\n7 <... clone resumed>, child_tidptr=0x7f00) = 8\n",
	"a struct may be split":                         "7 ioctl(3, SIOCGIFCONF, {ifc_len=40 <unfinished ...>\n7 <... ioctl resumed> => 0, ifc_buf=NULL}) = 0\n",
	"clone3 tells the child's tid behind an arrow":  "7 clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0, stack=0x7f00, stack_size=0x1000} <unfinished ...>\n7 <... clone3 resumed> => {parent_tid=[8]}, 88) = 8\n",
	"a child's lines come before its clone returns": "7 fork( <unfinished ...>\n8 brk(NULL) = 0x1000\n7 <... fork resumed>) = 8\n",
	"vfork's child runs while its parent waits":     "7 vfork( <unfinished ...>\n8 execve(\"/bin/true\", [\"true\"], 0x7ffe /* 35 vars */) = 0\n7 <... vfork resumed>) = 8\n8 exit_group(0) = ?\n8 +++ exited with 0 +++\n",
	"a thread's execve supersedes its leader":       "7 clone(child_stack=0x7f00, flags=CLONE_VM|CLONE_THREAD|CLONE_SIGHAND) = 8\n7 futex(0x7f00, FUTEX_WAIT_PRIVATE, 0, NULL <unfinished ...>\n8 execve(\"/bin/true\", [\"true\"], NULL <pid changed to 7 ...>\n7 +++ superseded by execve in pid 8 +++\n7 <... execve resumed>) = 0\n7 exit_group(0) = ?\n",
	"a message of strace breaks a line":             "clone(child_stack=NULL, flags=SIGCHLDstrace: Process 8 attached\n, child_tidptr=0x7f00) = 8\n[pid 8] exit(0) = ?\n",
	"two messages break the same line":              "[pid 7] munmap(0x1000, 8192strace: Process 9 attached\nstrace: Process 8 attached\n <unfinished ...>\n[pid 7] <... munmap resumed>) = 0\n[pid 7] fork() = 8\n[pid 7] fork() = 9\n",
	"the first task gets its prefix late":           "brk(NULL) = 0x1000\nfork() = 8\nstrace: Process 8 attached\n[pid 8] exit_group(0) = ?\n[pid 7] wait4(8,  <unfinished ...>\n[pid 8] +++ exited with 0 +++\n<... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 8\nexit_group(0) = ?\n+++ exited with 0 +++\n",
	"the child outlives the first task":             "[pid 7] fork() = 8\n[pid 7] +++ exited with 0 +++\nbrk(NULL) = 0x1000\n+++ exited with 0 +++\n",
	"a killed clone leaves its child":               "7 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>\n8 brk(NULL) = 0x1000\n7 <... clone resumed>) = ?\n7 +++ killed by SIGKILL +++\n",
	"a task that is killed ends no call":            "7 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0 <unfinished ...>\n7 +++ killed by SIGKILL (core dumped) +++\n",
	"an exiting call ends in a question mark":       "7 futex(0x7f00, FUTEX_WAIT, 0, NULL <unfinished ...>) = ?\n7 exit_group(0 <unfinished ...>) = ?\n7 +++ exited with 0 +++\n",
	"a resumed call may be unfinished for ever":     "7 poll([{fd=3, events=POLLIN}], 1, -1 <unfinished ...>\n7 <... poll resumed> <unfinished ...>) = ?\n",
	"a call may be detached from":                   "7 pause( <detached ...>\n",
	"an interrupted call restarts":                  "7 nanosleep({tv_sec=1, tv_nsec=0}, 0x7ffe) = ? ERESTART_RESTARTBLOCK (Interrupted by signal)\n7 --- SIGCONT {si_signo=SIGCONT, si_code=SI_USER, si_pid=1, si_uid=0} ---\n7 restart_syscall(<... resuming interrupted nanosleep ...>) = 0\n7 --- stopped by SIGSTOP ---\n",
	"times come in many forms":                      "7 12:00:01 brk(NULL) = 0x1000\n7 12:00:01.123456 brk(NULL) = 0x1000\n7      0.000012 brk(NULL) = 0x1000\n7 12:00:01 (+     0.000012) brk(NULL) = 0x1000\n7 1795379514 brk(NULL) = 0x1000\n",
	"times need no task":                            "1795379514.703574 brk(NULL) = 0x1000\n12:00:01 brk(NULL) = 0x1000\n     0.000012 brk(NULL) = 0x1000\n",
	"-i and -n put marks in front":                  "7 12:00:01.1 [  12] [00007f0f7c44c9b3] brk(NULL) = 0x1000 <0.000012>\n7 [????????????????] +++ exited with 0 +++\n",
	"-k prints stacks":                              "brk(NULL) = 0x1000\n > /lib/x.so(+0x1) [0x2]\n > unexpected_backtracing_error [0x7f]\n",
	"-yy decorates everything":                      "7 close(3<TCP:[127.0.0.1:1->127.0.0.1:2]>) = 0\n7 close(4<UNIX-STREAM:[1->2, \"@/tmp/x>y\"]>) = 0\n7 close(5</dev/null<char 1:3>>) = 0\n7 close(6<anon_inode:[eventfd]>) = 0\n7 close(7</memfd:x>(deleted)) = 0\n7 close(8</tmp/a, b) \\74unfinished ...\\76>) = 0\n7 close(9</tmp/->) = 0\n",
	"comms decorate tasks":                          "7<bash> brk(NULL) = 0x1000\n[pid 7<a b>] kill(7<a b>, SIGKILL) = 0\n[pid     7] clone(child_stack=NULL, flags=SIGCHLD) = 8<bash>\n",
	"a namespace has numbers of its own":            "7 fork() = 2 /* 8 in strace's PID NS */\n8 brk(NULL) = 0x1000\n",
	"raw and verbose constants":                     "7 mmap(NULL, 4096, 0x3, 0x22, -1, 0) = 0x1000\n7 mmap(NULL, 4096, 0x3 /* PROT_READ|PROT_WRITE */, 0x54040022 /* MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT */, -1, 0) = 0x1000\n7 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT, -1, 0) = 0x1000\n7 madvise(0x1000, 4096, 0xffffffff /* MADV_??? */) = -1 EINVAL (Invalid argument)\n",
	"-X verbose puts comments in the middle":        "7 openat(-100 /* AT_FDCWD */</tmp/a, (b>, \"x\", 0x80000 /* O_RDONLY|O_CLOEXEC */) = 3</tmp/x>\n7 clone(child_stack=NULL, flags=0x1200000 /* CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID */|0x11 /* SIGCHLD */, child_tidptr=0x7f00) = 8\n7 move_pages(0, 2, [0x1000, 0x2000], [0, 0], [0, -2 /* -ENOENT */], 0x2 /* MPOL_MF_MOVE */) = 0\n",
	"requests come in many forms":                   "7 ioctl(3, AMDKFD_IOC_GET_VERSION, 0x7ffe) = 0\n7 ioctl(3, _IOC(_IOC_READ|_IOC_WRITE, 0x4b, 0x16, 0x28), 0x7ffe) = 0\n7 ioctl(3, 0xc0284b16, 0x7ffe) = 0\n7 ioctl(3</dev/kfd<char 511:0>>, 0xc0284b16 /* AMDKFD_IOC_ALLOC_MEMORY_OF_GPU */, 0x7ffe) = 0\n7 ioctl(3, SNDCTL_TMR_START or TCSETS, {c_iflag=ICRNL, ...}) = 0\n7 ioctl(3</dev/tty>, 0xc0284b16, 0x7ffe) = -1 ENOTTY (Inappropriate ioctl for device)\n",
	"strings hold anything":                         "7 write(1, \"\\\"),\\\\\", 4) = 4\n7 write(1, \"\\303\\244 \xc3\xa4 \xff <unfinished ...>\"..., 99) = 99\n7 openat(AT_FDCWD, \"\\x2f\\x64\\x65\\x76\\x2f\\x6b\\x66\\x64\", O_RDWR) = 3\n7 write(1, \"strace: Process 12 attached\", 27) = 27\n",
	"values hold anything":                          "7 rt_sigprocmask(SIG_SETMASK, ~[RTMIN RT_1], [HUP INT], 8) = 0\n7 stat(\"/\", {st_mode=S_IFREG|0644, st_size=1, ...}) = 0\n7 mknod(\"x\", S_IFCHR, makedev(0x1, 0x3)) = 0\n7 connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr(\"1.2.3.4\")}, 16) = 0\n7 poll([{fd=3, events=POLLIN}], 1, 0) = 0 (Timeout)\n7 prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}) = 0\n7 fcntl(3, F_GETFL) = 0x8002 (flags O_RDWR|O_LARGEFILE)\n7 x('(', '\\'', sizeof(y), 1<<12) = 1 ([{fd=3, revents=POLLIN}])\n",
	"unknown calls are skipped":                     "7 syscall_0x1b7(0x1, 0x2, 0x3, 0, 0, 0) = -1 ENOSYS (Function not implemented)\n7 ???( <unfinished ...>\n7 <... ??? resumed>) = ?\n7 getpid() = ? <unavailable>\n",
	"results have notes":                            "7 madvise(0x1000, 4096, MADV_COLD) = -1 EAGAIN (Resource temporarily unavailable) (INJECTED)\n7 brk(NULL) = 0x1000 (DELAYED)\n7 munmap(0x1000, 1) = -1 (errno 530)\n",
	"strace talks about itself":                     "strace: Process 7 attached\n/usr/bin/strace: Process 7 detached\n[ Process PID=7 runs in 32 bit mode. ]\nProcess 8 attached\n<ptrace(SYSCALL):No such process>\n",
	"lines end as on Windows":                       "7 brk(NULL) = 0x1000\r\n# comment\r\n\r\n",
	"tabs are blanks":                               "7\tbrk(NULL)\t=\t0x1000\n",
	"pages move":                                    "7 move_pages(0, 2, [0x1000, 0x2000], [1, 0], [1, -ENOENT], MPOL_MF_MOVE) = 0\n7 move_pages(0, 40, [0x1000, ...], NULL, [0, ...], 0) = 0\n7 mbind(0x1000, 8192, MPOL_BIND|MPOL_F_STATIC_NODES, [0x00000000000001], 64, MPOL_MF_STRICT) = 0\n7 migrate_pages(0, 64, [0x1], [0x2]) = 0\n7 process_madvise(4<pid:7>, [{iov_base=0x1000, iov_len=4096}], 1, MADV_COLD, 0) = 4096\n",
}

func seeds(t testing.TB) [][]byte {
	var names []string
	for name := range oddities {
		names = append(names, name)
	}
	slices.Sort(names)
	out := [][]byte{[]byte(handwritten)}
	for _, name := range names {
		out = append(out, []byte(oddities[name]))
	}
	for _, path := range captures(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		lines := bytes.SplitAfter(text, []byte("\n"))
		out = append(out, bytes.Join(lines[len(lines)-30:], nil), bytes.Join(lines[:15], nil))
	}
	return out
}

func TestEveryOddityOfStraceLoads(t *testing.T) {
	for name, text := range oddities {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("odd", bytes.NewReader([]byte(text)))
			require.NoError(t, err)
			requireSound(t, []byte(text))
		})
	}
}

func TestEveryLineOfTheOdditiesHasItsForm(t *testing.T) {
	require.Equal(t, handwritten, string(printed(t, []byte(handwritten))), "hand-written traces are canonical")
}
