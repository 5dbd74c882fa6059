// SPDX-License-Identifier: MIT

package errno

import (
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStringGivesTheNameOrTheNumber(t *testing.T) {
	for name, c := range map[string]struct {
		e    Errno
		want string
	}{
		"success":                  {0, "0"},
		"a base number":            {EFAULT, "EFAULT"},
		"the largest name":         {ENOTSUPP, "ENOTSUPP"},
		"a hole in the numbers":    {41, "41"},
		"beyond the names":         {4095, "4095"},
		"negative is not an errno": {-14, "-14"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.e.String()) })
	}
}

func TestParseReadsBackEveryName(t *testing.T) {
	for n, name := range names {
		if name == "" {
			continue
		}
		require.True(t, strings.HasPrefix(name, "E"))
		e, ok := Parse(name)
		require.True(t, ok)
		require.Equal(t, Errno(n), e)
	}
	for _, bad := range []string{"", "efault", "EWHAT", "14"} {
		_, ok := Parse(bad)
		require.False(t, ok, bad)
	}
}

func TestNumbersAreThoseOfLinux(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("package syscall has the numbers of this machine")
	}
	for e, want := range map[Errno]syscall.Errno{
		EPERM: syscall.EPERM, ENOENT: syscall.ENOENT, ESRCH: syscall.ESRCH, EINTR: syscall.EINTR, EIO: syscall.EIO,
		ENXIO: syscall.ENXIO, E2BIG: syscall.E2BIG, ENOEXEC: syscall.ENOEXEC, EBADF: syscall.EBADF, ECHILD: syscall.ECHILD,
		EAGAIN: syscall.EAGAIN, ENOMEM: syscall.ENOMEM, EACCES: syscall.EACCES, EFAULT: syscall.EFAULT, EBUSY: syscall.EBUSY,
		EEXIST: syscall.EEXIST, EXDEV: syscall.EXDEV, ENODEV: syscall.ENODEV, ENOTDIR: syscall.ENOTDIR, EISDIR: syscall.EISDIR,
		EINVAL: syscall.EINVAL, ENFILE: syscall.ENFILE, EMFILE: syscall.EMFILE, ENOTTY: syscall.ENOTTY, ETXTBSY: syscall.ETXTBSY,
		EFBIG: syscall.EFBIG, ENOSPC: syscall.ENOSPC, ESPIPE: syscall.ESPIPE, EROFS: syscall.EROFS, EPIPE: syscall.EPIPE,
		EDOM: syscall.EDOM, ERANGE: syscall.ERANGE, EDEADLK: syscall.EDEADLK, ENAMETOOLONG: syscall.ENAMETOOLONG,
		ENOLCK: syscall.ENOLCK, ENOSYS: syscall.ENOSYS, ELOOP: syscall.ELOOP, ENODATA: syscall.ENODATA, ETIME: syscall.ETIME,
		EPROTO: syscall.EPROTO, EOVERFLOW: syscall.EOVERFLOW, EOPNOTSUPP: syscall.EOPNOTSUPP, EADDRINUSE: syscall.EADDRINUSE,
		ETIMEDOUT: syscall.ETIMEDOUT, EALREADY: syscall.EALREADY, ECANCELED: syscall.ECANCELED,
	} {
		require.Equal(t, int(want), int(e), e.String())
	}
}
