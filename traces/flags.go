// SPDX-License-Identifier: MIT

package traces

import "strconv"

// words are the names that may stand for a number in one place of one kind of call.
type words struct {
	id    int // index of this table in the decoder's memory of what it decoded before
	what  string
	names map[string]uint64
}

// numTables counts the tables, so that every decoder can hold a slot for each.
var numTables int

func table(what string, names map[string]uint64) *words {
	w := &words{numTables, what, names}
	numTables++
	return w
}

// join merges tables that share a place, as CLONE_ flags and the exit signal do.
func join(ms ...map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for _, m := range ms {
		for name, v := range m {
			out[name] = v
		}
	}
	return out
}

// hugeSizes are the encodings of a huge page's size that MAP_, MFD_ and SHM_ share, bits 26 and up.
func hugeSizes(prefix string) map[string]uint64 {
	m := map[string]uint64{prefix + "SHIFT": 26, prefix + "MASK": 0x3f << 26}
	for log, name := range map[uint64]string{
		14: "16KB", 16: "64KB", 19: "512KB", 20: "1MB", 21: "2MB", 23: "8MB", 24: "16MB", 25: "32MB", 28: "256MB",
		29: "512MB", 30: "1GB", 31: "2GB", 34: "16GB",
	} {
		m[prefix+name] = log << 26
	}
	return m
}

var (
	noWords = table("number", nil)

	protWords = table("protection", map[string]uint64{
		"PROT_NONE": 0, "PROT_READ": 1, "PROT_WRITE": 2, "PROT_EXEC": 4, "PROT_SEM": 8,
		"PROT_GROWSDOWN": 0x01000000, "PROT_GROWSUP": 0x02000000,
	})
	mapWords = table("mmap flag", join(hugeSizes("MAP_HUGE_"), map[string]uint64{
		"MAP_FILE": 0, "MAP_SHARED": 1, "MAP_PRIVATE": 2, "MAP_SHARED_VALIDATE": 3, "MAP_DROPPABLE": 8, "MAP_TYPE": 0xf,
		"MAP_FIXED": 0x10, "MAP_ANONYMOUS": 0x20, "MAP_ANON": 0x20, "MAP_32BIT": 0x40, "MAP_ABOVE4G": 0x80,
		"MAP_GROWSDOWN": 0x100, "MAP_DENYWRITE": 0x800, "MAP_EXECUTABLE": 0x1000, "MAP_LOCKED": 0x2000,
		"MAP_NORESERVE": 0x4000, "MAP_POPULATE": 0x8000, "MAP_NONBLOCK": 0x10000, "MAP_STACK": 0x20000,
		"MAP_HUGETLB": 0x40000, "MAP_SYNC": 0x80000, "MAP_FIXED_NOREPLACE": 0x100000, "MAP_UNINITIALIZED": 0x4000000,
	}))
	mremapWords = table("mremap flag", map[string]uint64{
		"MREMAP_MAYMOVE": 1, "MREMAP_FIXED": 2, "MREMAP_DONTUNMAP": 4,
	})
	madviseWords = table("advice", map[string]uint64{
		"MADV_NORMAL": 0, "MADV_RANDOM": 1, "MADV_SEQUENTIAL": 2, "MADV_WILLNEED": 3, "MADV_DONTNEED": 4, "MADV_FREE": 8,
		"MADV_REMOVE": 9, "MADV_DONTFORK": 10, "MADV_DOFORK": 11, "MADV_MERGEABLE": 12, "MADV_UNMERGEABLE": 13,
		"MADV_HUGEPAGE": 14, "MADV_NOHUGEPAGE": 15, "MADV_DONTDUMP": 16, "MADV_DODUMP": 17, "MADV_WIPEONFORK": 18,
		"MADV_KEEPONFORK": 19, "MADV_COLD": 20, "MADV_PAGEOUT": 21, "MADV_POPULATE_READ": 22, "MADV_POPULATE_WRITE": 23,
		"MADV_DONTNEED_LOCKED": 24, "MADV_COLLAPSE": 25, "MADV_HWPOISON": 100, "MADV_SOFT_OFFLINE": 101,
		"MADV_GUARD_INSTALL": 102, "MADV_GUARD_REMOVE": 103,
	})
	msyncWords = table("msync flag", map[string]uint64{"MS_ASYNC": 1, "MS_INVALIDATE": 2, "MS_SYNC": 4})
	mlockWords = table("mlock2 flag", map[string]uint64{"MLOCK_ONFAULT": 1})
	mclWords   = table("mlockall flag", map[string]uint64{"MCL_CURRENT": 1, "MCL_FUTURE": 2, "MCL_ONFAULT": 4})

	cloneNames = map[string]uint64{
		"CLONE_NEWTIME": 0x80, "CLONE_VM": 0x100, "CLONE_FS": 0x200, "CLONE_FILES": 0x400, "CLONE_SIGHAND": 0x800,
		"CLONE_PIDFD": 0x1000, "CLONE_PTRACE": 0x2000, "CLONE_VFORK": 0x4000, "CLONE_PARENT": 0x8000,
		"CLONE_THREAD": 0x10000, "CLONE_NEWNS": 0x20000, "CLONE_SYSVSEM": 0x40000, "CLONE_SETTLS": 0x80000,
		"CLONE_PARENT_SETTID": 0x100000, "CLONE_CHILD_CLEARTID": 0x200000, "CLONE_DETACHED": 0x400000,
		"CLONE_UNTRACED": 0x800000, "CLONE_CHILD_SETTID": 0x1000000, "CLONE_NEWCGROUP": 0x2000000,
		"CLONE_NEWUTS": 0x4000000, "CLONE_NEWIPC": 0x8000000, "CLONE_NEWUSER": 0x10000000,
		"CLONE_NEWPID": 0x20000000, "CLONE_NEWNET": 0x40000000, "CLONE_IO": 0x80000000,
		"CLONE_CLEAR_SIGHAND": 0x100000000, "CLONE_INTO_CGROUP": 0x200000000,
	}
	signalNames = func() map[string]uint64 {
		m := map[string]uint64{
			"SIG_0":  0,
			"SIGHUP": 1, "SIGINT": 2, "SIGQUIT": 3, "SIGILL": 4, "SIGTRAP": 5, "SIGABRT": 6, "SIGBUS": 7,
			"SIGFPE": 8, "SIGKILL": 9, "SIGUSR1": 10, "SIGSEGV": 11, "SIGUSR2": 12, "SIGPIPE": 13,
			"SIGALRM": 14, "SIGTERM": 15, "SIGSTKFLT": 16, "SIGCHLD": 17, "SIGCONT": 18, "SIGSTOP": 19,
			"SIGTSTP": 20, "SIGTTIN": 21, "SIGTTOU": 22, "SIGURG": 23, "SIGXCPU": 24, "SIGXFSZ": 25,
			"SIGVTALRM": 26, "SIGPROF": 27, "SIGWINCH": 28, "SIGIO": 29, "SIGPWR": 30, "SIGSYS": 31,
			"SIGIOT": 6, "SIGPOLL": 29, "SIGCLD": 17, "SIGUNUSED": 31, "SIGRTMIN": 32, "SIGRTMAX": 64,
		}
		for n := uint64(1); n <= 32; n++ {
			m["SIGRT_"+strconv.FormatUint(n, 10)] = 32 + n
		}
		return m
	}()
	cloneWords  = table("clone flag", join(cloneNames, signalNames))
	signalWords = table("signal", signalNames)
	waitWords   = table("wait option", map[string]uint64{
		"WNOHANG": 1, "WUNTRACED": 2, "WSTOPPED": 2, "WEXITED": 4, "WCONTINUED": 8, "WNOWAIT": 0x1000000,
		"__WNOTHREAD": 0x20000000, "__WALL": 0x40000000, "__WCLONE": 0x80000000,
	})
	openWords = table("open flag", map[string]uint64{
		"O_RDONLY": 0, "O_WRONLY": 1, "O_RDWR": 2, "O_ACCMODE": 3, "O_CREAT": 0o100, "O_EXCL": 0o200, "O_NOCTTY": 0o400,
		"O_TRUNC": 0o1000, "O_APPEND": 0o2000, "O_NONBLOCK": 0o4000, "O_NDELAY": 0o4000, "O_DSYNC": 0o10000,
		"FASYNC": 0o20000, "O_ASYNC": 0o20000, "O_DIRECT": 0o40000, "O_LARGEFILE": 0o100000, "O_DIRECTORY": 0o200000,
		"O_NOFOLLOW": 0o400000, "O_NOATIME": 0o1000000, "O_CLOEXEC": 0o2000000, "__O_SYNC": 0o4000000,
		"O_SYNC": 0o4010000, "O_RSYNC": 0o4010000, "O_PATH": 0o10000000, "__O_TMPFILE": 0o20000000,
		"O_TMPFILE": 0o20200000,
	})
	modeWords = table("file mode", map[string]uint64{
		"S_ISUID": 0o4000, "S_ISGID": 0o2000, "S_ISVTX": 0o1000, "S_IFREG": 0o100000, "S_IFDIR": 0o40000,
		"S_IFCHR": 0o20000, "S_IFBLK": 0o60000, "S_IFIFO": 0o10000, "S_IFLNK": 0o120000, "S_IFSOCK": 0o140000,
		"S_IRWXU": 0o700, "S_IRUSR": 0o400, "S_IWUSR": 0o200, "S_IXUSR": 0o100, "S_IRWXG": 0o70, "S_IRGRP": 0o40,
		"S_IWGRP": 0o20, "S_IXGRP": 0o10, "S_IRWXO": 7, "S_IROTH": 4, "S_IWOTH": 2, "S_IXOTH": 1,
	})
	atWords     = table("directory", map[string]uint64{"AT_FDCWD": ^uint64(99)})
	policyWords = table("memory policy", map[string]uint64{
		"MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
		"MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6, "MPOL_F_NUMA_BALANCING": 1 << 13,
		"MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15,
	})
	moveWords = table("migration flag", map[string]uint64{
		"MPOL_MF_STRICT": 1, "MPOL_MF_MOVE": 2, "MPOL_MF_MOVE_ALL": 4, "MPOL_MF_LAZY": 8,
	})
	fallocWords = table("fallocate mode", map[string]uint64{
		"FALLOC_FL_ALLOCATE_RANGE": 0, "FALLOC_FL_KEEP_SIZE": 1, "FALLOC_FL_PUNCH_HOLE": 2, "FALLOC_FL_NO_HIDE_STALE": 4,
		"FALLOC_FL_COLLAPSE_RANGE": 8, "FALLOC_FL_ZERO_RANGE": 0x10, "FALLOC_FL_INSERT_RANGE": 0x20,
		"FALLOC_FL_UNSHARE_RANGE": 0x40, "FALLOC_FL_WRITE_ZEROES": 0x80,
	})
	memfdWords = table("memfd flag", join(hugeSizes("MFD_HUGE_"), map[string]uint64{
		"MFD_CLOEXEC": 1, "MFD_ALLOW_SEALING": 2, "MFD_HUGETLB": 4, "MFD_NOEXEC_SEAL": 8, "MFD_EXEC": 0x10,
		// strace prints the size of memfd's huge pages with mmap's name for the shift.
		"MAP_HUGE_SHIFT": 26,
	}))
	dupWords   = table("fcntl command", map[string]uint64{"F_DUPFD": 0, "F_DUPFD_CLOEXEC": 1030})
	pidfdWords = table("pidfd flag", map[string]uint64{"PIDFD_NONBLOCK": 0o4000, "PIDFD_THREAD": 0o200})
)
