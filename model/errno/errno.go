// SPDX-License-Identifier: MIT

// Package errno holds the error numbers that the model's functions return, with the values and names of Linux on x86-64.
//
// It is not package syscall: the numbers do not depend on the machine that the simulator runs on, and printing one gives its
// name ("EFAULT"), which is what traces and reports show. Functions of the model return an Errno; 0 means success. Numbers
// are positive: where C returns -EFAULT the model returns errno.EFAULT.
package errno

import "strconv"

// Errno is a Linux x86-64 error number, positive; 0 is success.
//
// Kernel: include/uapi/asm-generic/errno-base.h and errno.h, include/linux/errno.h.
type Errno int

// The numbers of system calls, in the order of their values.
const (
	EPERM        Errno = 1
	ENOENT       Errno = 2
	ESRCH        Errno = 3
	EINTR        Errno = 4
	EIO          Errno = 5
	ENXIO        Errno = 6
	E2BIG        Errno = 7
	ENOEXEC      Errno = 8
	EBADF        Errno = 9
	ECHILD       Errno = 10
	EAGAIN       Errno = 11
	ENOMEM       Errno = 12
	EACCES       Errno = 13
	EFAULT       Errno = 14
	EBUSY        Errno = 16
	EEXIST       Errno = 17
	EXDEV        Errno = 18
	ENODEV       Errno = 19
	ENOTDIR      Errno = 20
	EISDIR       Errno = 21
	EINVAL       Errno = 22
	ENFILE       Errno = 23
	EMFILE       Errno = 24
	ENOTTY       Errno = 25
	ETXTBSY      Errno = 26
	EFBIG        Errno = 27
	ENOSPC       Errno = 28
	ESPIPE       Errno = 29
	EROFS        Errno = 30
	EPIPE        Errno = 32
	EDOM         Errno = 33
	ERANGE       Errno = 34
	EDEADLK      Errno = 35
	ENAMETOOLONG Errno = 36
	ENOLCK       Errno = 37
	ENOSYS       Errno = 38
	ELOOP        Errno = 40
	ENODATA      Errno = 61
	ETIME        Errno = 62
	EPROTO       Errno = 71
	EOVERFLOW    Errno = 75
	EOPNOTSUPP   Errno = 95
	EADDRINUSE   Errno = 98
	ETIMEDOUT    Errno = 110
	EALREADY     Errno = 114
	ECANCELED    Errno = 125
	EHWPOISON    Errno = 133

	// The numbers below stay inside the kernel: the syscall exit turns them into EINTR, a restart, or another errno.

	ERESTARTSYS    Errno = 512
	ERESTARTNOINTR Errno = 513
	ERESTARTNOHAND Errno = 514
	ENOIOCTLCMD    Errno = 515
	ENOTSUPP       Errno = 524
)

// names is indexed by number; numbers without a name here are empty.
var names = [...]string{
	EPERM:          "EPERM",
	ENOENT:         "ENOENT",
	ESRCH:          "ESRCH",
	EINTR:          "EINTR",
	EIO:            "EIO",
	ENXIO:          "ENXIO",
	E2BIG:          "E2BIG",
	ENOEXEC:        "ENOEXEC",
	EBADF:          "EBADF",
	ECHILD:         "ECHILD",
	EAGAIN:         "EAGAIN",
	ENOMEM:         "ENOMEM",
	EACCES:         "EACCES",
	EFAULT:         "EFAULT",
	EBUSY:          "EBUSY",
	EEXIST:         "EEXIST",
	EXDEV:          "EXDEV",
	ENODEV:         "ENODEV",
	ENOTDIR:        "ENOTDIR",
	EISDIR:         "EISDIR",
	EINVAL:         "EINVAL",
	ENFILE:         "ENFILE",
	EMFILE:         "EMFILE",
	ENOTTY:         "ENOTTY",
	ETXTBSY:        "ETXTBSY",
	EFBIG:          "EFBIG",
	ENOSPC:         "ENOSPC",
	ESPIPE:         "ESPIPE",
	EROFS:          "EROFS",
	EPIPE:          "EPIPE",
	EDOM:           "EDOM",
	ERANGE:         "ERANGE",
	EDEADLK:        "EDEADLK",
	ENAMETOOLONG:   "ENAMETOOLONG",
	ENOLCK:         "ENOLCK",
	ENOSYS:         "ENOSYS",
	ELOOP:          "ELOOP",
	ENODATA:        "ENODATA",
	ETIME:          "ETIME",
	EPROTO:         "EPROTO",
	EOVERFLOW:      "EOVERFLOW",
	EOPNOTSUPP:     "EOPNOTSUPP",
	EADDRINUSE:     "EADDRINUSE",
	ETIMEDOUT:      "ETIMEDOUT",
	EALREADY:       "EALREADY",
	ECANCELED:      "ECANCELED",
	EHWPOISON:      "EHWPOISON",
	ERESTARTSYS:    "ERESTARTSYS",
	ERESTARTNOINTR: "ERESTARTNOINTR",
	ERESTARTNOHAND: "ERESTARTNOHAND",
	ENOIOCTLCMD:    "ENOIOCTLCMD",
	ENOTSUPP:       "ENOTSUPP",
}

// String returns the name ("EFAULT"), "0" for success, and the decimal number for one without a name.
func (e Errno) String() string {
	if e > 0 && int(e) < len(names) && names[e] != "" {
		return names[e]
	}
	return strconv.Itoa(int(e))
}

// Parse is the inverse of String for the names and for "0"; other text is not an Errno.
func Parse(s string) (Errno, bool) {
	if s == "0" {
		return 0, true
	}
	for e, name := range names {
		if name == s && name != "" {
			return Errno(e), true
		}
	}
	return 0, false
}
