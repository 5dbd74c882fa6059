// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

func TestASoftOfflinedFrameIsNeverUsedAgain(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	onMachine(t, 8, func(task *sim.Task, a *MM) {
		mem := a.sys.Mem
		ok(a.Store(task, b, 8*pg, 4))
		var gone []phys.PFN
		for i := range uint64(4) {
			gone = append(gone, a.PTEAt(watchedPage+2+i).Frame())
		}
		ok(a.Madvise(task, b+2*pg, 4*pg, MadvSoftOffline))
		bytes, err := a.Load(task, nil, b, 8*pg)
		ok(err)
		require.Equal(t, []phys.ByteRun{{Byte: 4, N: 8 * pg}}, bytes)
		require.EqualValues(t, 4, mem.Lost())
		require.EqualValues(t, 8, mem.Used())
		for mem.Free() > 0 {
			pfn, n := mem.AllocRun(-1, 1<<20)
			for _, g := range gone {
				require.False(t, pfn <= g && g < pfn+phys.PFN(n))
			}
			defer mem.Put(pfn, n)
		}
		require.Equal(t, errno.EBUSY, a.Madvise(task, b, pg, MadvSoftOffline), "there is no other frame")
		bytes, err = a.Load(task, nil, b, pg)
		ok(err)
		require.Equal(t, []phys.ByteRun{{Byte: 4, N: pg}}, bytes)
	})
}

// TestABrokenPageFailsEveryAccess of every process that shares it, and only its
// own: the CPU's, populate, mlock, a second injection; fork passes it on, and
// munmap and exit take it away.
func TestABrokenPageFailsEveryAccess(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	onMachine(t, 4, func(task *sim.Task, a *MM) {
		ok(a.Store(task, b, 4*pg, 4))
		c := forkOf(task, a)
		ok(a.Madvise(task, b+pg, pg, MadvHWPoison))
		d := forkOf(task, a)
		for _, m := range []*MM{a, c, d} {
			_, err := m.Load(task, nil, b+pg, pg)
			require.Equal(t, errno.EFAULT, err)
			require.Equal(t, errno.EFAULT, m.Store(task, b+pg, pg, 1))
			require.Equal(t, errno.EHWPOISON, m.Populate(task, watchedPage, watchedPage+4, false))
			require.Equal(t, errno.EFAULT, m.Madvise(task, b+pg, pg, MadvHWPoison))
			require.Equal(t, errno.ENOMEM, m.Mlock(task, b, 4*pg))
			_, err = m.Load(task, nil, b+2*pg, 2*pg)
			ok(err)
		}
		require.Equal(t, []int64{-int64(errno.ENOENT)}, a.pageNodes(task, []uint64{b + pg}))
		require.EqualValues(t, 3, a.RSS())
		require.EqualValues(t, 1, a.sys.Mem.Lost())
		ok(a.Munlock(task, b, 4*pg))
		ok(a.Madvise(task, b+pg, pg, MadvDontNeed))
		ok(a.Store(task, b+pg, pg, 5))
		c.Put(task)
		d.Put(task)
	})
}

func TestTheZeroPageCannotBeTakenOutOfUse(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	onMachine(t, 2, func(task *sim.Task, a *MM) {
		require.Equal(t, errno.EIO, a.Madvise(task, b, pg, MadvSoftOffline))
		require.Equal(t, errno.EBUSY, a.Madvise(task, b+pg, pg, MadvHWPoison))
		ok(a.Store(task, b, 2*pg, 1))
	})
}

// TestAFilePageThatBreaksIsReadAgain, while one of shared memory is lost.
func TestAFilePageThatBreaksIsReadAgain(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	for name, c := range map[string]struct {
		shmem bool
		want  errno.Errno
	}{"file": {false, 0}, "shared memory": {true, errno.EFAULT}} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, 4, func(task *sim.Task, a *MM) {
				f := a.sys.NewFile("/file", c.shmem)
				okAddr(a.Mmap(task, b, pg, protRW, MapShared|MapFixed, f, 0))
				okAddr(a.Mmap(task, b+2*pg, pg, protRW, MapShared|MapFixed, f, 0))
				ok(a.Store(task, b, pg, 1))
				_, err := a.Load(task, nil, b+2*pg, pg)
				ok(err)
				ok(a.Madvise(task, b, pg, MadvHWPoison))
				for _, at := range []uint64{b, b + 2*pg} {
					bytes, err := a.Load(task, nil, at, pg)
					require.Equal(t, c.want, err)
					if err == 0 {
						require.Equal(t, []phys.ByteRun{{Byte: f.Fill, N: pg}}, bytes)
					}
				}
			})
		})
	}
}
