// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

func munmap(lo, hi uint64) func(*sim.Task, *MM) errno.Errno {
	return func(t *sim.Task, mm *MM) errno.Errno { return mm.Munmap(t, at(lo), (hi-lo)<<PageShift) }
}

func TestMunmapCutsVMAsAndTellsTheWholeSpanOnce(t *testing.T) {
	runSpaceCases(t, map[string]spaceCase{
		"all of one VMA": {
			before: ".wwww", call: munmap(1, 5), after: "", events: "UNMAP[1,5)"},
		"the middle leaves two": {
			before: "wwwwww", touch: true, call: munmap(2, 4), after: "ww..ww", events: "UNMAP[2,4)"},
		"the head": {
			before: "wwwwww", call: munmap(0, 2), after: "..wwww", events: "UNMAP[0,2)"},
		"the tail and beyond: the window is not clipped": {
			before: "wwww", touch: true, call: munmap(2, 9), after: "ww", events: "UNMAP[2,9)"},
		"several VMAs and holes, one window": {
			before: "ww|rr..ww|nn", touch: true, call: munmap(1, 7), after: "w......w|nn", events: "UNMAP[1,7)"},
		"a locked piece": {
			before: "ww|WWWW", call: munmap(3, 4), after: "ww|W.WW", events: "UNMAP[3,4)"},
		"nothing there is no window": {
			before: "ww..ww", call: munmap(2, 4), after: "ww..ww"},
		"length 0": {
			before: "ww", call: munmap(0, 0), want: errno.EINVAL, after: "ww"},
		"an address inside a page": {
			before: "ww", want: errno.EINVAL, after: "ww",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Munmap(t, at(0)+1, PageSize) }},
		"the length is rounded up": {
			before: "www", after: "..w", events: "UNMAP[0,2)",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Munmap(t, at(0), PageSize+1) }},
		"beyond the address space": {
			before: "ww", want: errno.EINVAL, after: "ww",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Munmap(t, at(0), TaskSize<<PageShift) }},
	})
}

func TestMunmapGivesPagesAndTablesBack(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "wwwwwwww")
		require.Zero(t, mm.Store(task, at(0), 8*PageSize, 0x11))
		require.EqualValues(t, 8, sys.Mem.Used())
		require.Zero(t, mm.Munmap(task, at(0), 3*PageSize))
		require.EqualValues(t, 5, sys.Mem.Used())
		require.EqualValues(t, 1, mm.tables.Len())
		require.Zero(t, mm.Munmap(task, at(0), 8*PageSize))
		require.Zero(t, sys.Mem.Used())
		require.Zero(t, mm.RSS())
		require.Zero(t, mm.tables.Len())
	})
}

// While the window of a munmap is open the VMAs are gone and the lock is held for
// reading only: another thread's fault fails before anybody told the driver.
func TestMunmapDetachesBeforeTheWindowOpens(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	var inWindow []errno.Errno
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "wwww")
		mm.IntervalNotifierInsert(task, &IntervalNotifier{}, drawBase, 4, invalidateFunc(func(cb *sim.Task) {
			reader := sys.Sim.Go("reader", func(r *sim.Task) {
				inWindow = append(inWindow, mm.Store(r, at(1), 1, 1), mm.Store(r, at(3), 1, 1))
			})
			cb.Join(reader)
		}))
		require.Zero(t, mm.Munmap(task, at(0), 2*PageSize))
	})
	require.Equal(t, []errno.Errno{errno.EFAULT, 0}, inWindow)
}

type invalidateFunc func(t *sim.Task)

func (f invalidateFunc) Invalidate(t *sim.Task, n *IntervalNotifier, _ *NotifierRange, curSeq uint64) bool {
	n.SetSeq(t, curSeq)
	f(t)
	return true
}

func TestTooManyVMAsStopWhatWouldMakeMore(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		// Every second page has other rights, so nothing merges.
		for i := uint64(0); mm.mapCount() < maxMapCount-1; i++ {
			mm.Mmap(task, at(i*8), 4*PageSize, rw, anonFixed, nil, 0)
		}
		_, err := mm.Mmap(task, at(4), PageSize, ProtRead, anonFixed, nil, 0)
		require.Zero(t, err, "the last one allowed")
		require.Equal(t, maxMapCount, mm.mapCount())

		require.Equal(t, errno.ENOMEM, mm.Munmap(task, at(9), PageSize), "one in three")
		require.Equal(t, errno.ENOMEM, mm.Mprotect(task, at(8), PageSize, ProtRead))
		require.Equal(t, errno.ENOMEM, mm.Mlock(task, at(8), PageSize))
		require.Equal(t, errno.EAGAIN, mm.Madvise(task, at(8), PageSize, MadvDontFork))
		_, err = mm.Mremap(task, at(8), 4*PageSize, 4*PageSize, MremapMayMove|MremapFixed, at(6))
		require.Equal(t, errno.EINVAL, err, "overlaps")
		_, err = mm.Mremap(task, at(8), 4*PageSize, 9*PageSize, MremapMayMove, 0)
		require.Equal(t, errno.ENOMEM, err)
		require.Zero(t, mm.Munmap(task, at(11), PageSize), "cutting a tail adds nothing")
		require.Zero(t, mm.Munmap(task, at(8), PageSize), "nor a head")
		_, err = mm.Mmap(task, at(6), PageSize, ProtRead, anonFixed, nil, 0)
		require.Zero(t, err, "the check is for more than the limit")
		_, err = mm.Mmap(task, at(7), PageSize, rw, anonFixed, nil, 0)
		require.Equal(t, errno.ENOMEM, err)
		checkTree(t, mm)
	})
}
