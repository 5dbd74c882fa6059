// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// mremap returns a call that must end at page to, or with an error.
func mremap(lo, oldN, newN uint64, flags uint32, hint, to uint64) func(*sim.Task, *MM) errno.Errno {
	return func(t *sim.Task, mm *MM) errno.Errno {
		got, err := mm.Mremap(t, at(lo), oldN<<PageShift, newN<<PageShift, flags, at(hint))
		if err == 0 && got != at(to) {
			return errno.ENOSYS
		}
		return err
	}
}

func TestMremapMovesCutsAndTells(t *testing.T) {
	const fixed, keep = MremapMayMove | MremapFixed, MremapMayMove | MremapDontUnmap
	runSpaceCases(t, map[string]spaceCase{
		"shrink": {
			before: "wwwwww", touch: true, call: mremap(0, 6, 2, 0, 0, 0), after: "ww", events: "UNMAP[2,6)"},
		"the same size": {
			before: "ww", touch: true, call: mremap(0, 2, 2, 0, 0, 0), after: "ww"},
		"grow in place": {
			before: "ww..rr", touch: true, call: mremap(0, 2, 4, 0, 0, 0), after: "wwww|rr"},
		"grow in place up to an equal VMA": {
			before: "ww..ww", call: mremap(0, 2, 4, 0, 0, 0), after: "wwwwww"},
		"no room and may not move": {
			before: "ww.rr", call: mremap(0, 2, 4, 0, 0, 0), want: errno.ENOMEM, after: "ww.rr"},
		"the middle cannot grow in place": {
			before: "wwww", call: mremap(0, 2, 3, 0, 0, 0), want: errno.ENOMEM, after: "wwww"},
		"moved to a fixed place: two windows": {
			before: "wwww", touch: true, call: mremap(0, 4, 4, fixed, 6, 6), after: "......wwww", events: "UNMAP[0,4) UNMAP[0,4)"},
		"untouched memory moved": {
			before: "wwww", call: mremap(0, 4, 4, fixed, 6, 6), after: "......wwww", events: "UNMAP[0,4) UNMAP[0,4)"},
		"the middle moved": {
			before: "wwww", touch: true, call: mremap(1, 2, 2, fixed, 6, 6), after: "w..w..ww", events: "UNMAP[1,3) UNMAP[1,3)"},
		"moved onto something": {
			before: "ww..rrrr", touch: true, call: mremap(0, 2, 2, fixed, 5, 5), after: "....r|ww|r",
			events: "UNMAP[5,7) UNMAP[0,2) UNMAP[0,2)"},
		"moved and smaller": {
			before: "wwww", touch: true, call: mremap(0, 4, 2, fixed, 6, 6), after: "......ww",
			events: "UNMAP[2,4) UNMAP[0,2) UNMAP[0,2)"},
		"moved and larger": {
			before: "ww", touch: true, call: mremap(0, 2, 4, fixed, 6, 6), after: "......wwww", events: "UNMAP[0,2) UNMAP[0,2)"},
		"onto itself": {
			before: "wwww", call: mremap(0, 4, 4, fixed, 2, 2), want: errno.EINVAL, after: "wwww"},
		"untouched memory moved beside its rest becomes one": {
			before: "wwww", call: mremap(0, 2, 2, fixed, 4, 4), after: "..wwww", events: "UNMAP[0,2) UNMAP[0,2)"},
		"touched memory does not": {
			before: "wwww", touch: true, call: mremap(0, 2, 2, fixed, 4, 4), after: "..ww|ww", events: "UNMAP[0,2) UNMAP[0,2)"},
		"DONTUNMAP: one window": {
			before: "ww", touch: true, call: mremap(0, 2, 2, keep|MremapFixed, 6, 6), after: "ww....ww", events: "UNMAP[0,2)"},
		"DONTUNMAP unlocks what stays": {
			before: "WWWW", touch: true, call: mremap(1, 2, 2, keep|MremapFixed, 6, 6), after: "W|ww|W..WW", events: "UNMAP[1,3)"},
		"DONTUNMAP with another size": {
			before: "ww", call: mremap(0, 2, 3, keep, 0, 0), want: errno.EINVAL, after: "ww"},
		"DONTUNMAP without MAYMOVE": {
			before: "ww", call: mremap(0, 2, 2, MremapDontUnmap, 0, 0), want: errno.EINVAL, after: "ww"},
		"FIXED without MAYMOVE": {
			before: "ww", call: mremap(0, 2, 2, MremapFixed, 6, 6), want: errno.EINVAL, after: "ww"},
		"an unknown flag": {
			before: "ww", call: mremap(0, 2, 2, 8, 0, 0), want: errno.EINVAL, after: "ww"},
		"new size 0": {
			before: "ww", call: mremap(0, 2, 0, 0, 0, 0), want: errno.EINVAL, after: "ww"},
		"nothing there": {
			before: "ww", call: mremap(4, 2, 4, MremapMayMove, 0, 0), want: errno.EFAULT, after: "ww"},
		"more than one VMA": {
			before: "ww|rr", call: mremap(0, 4, 6, MremapMayMove, 0, 0), want: errno.EFAULT, after: "ww|rr"},
		"more than one VMA may shrink": {
			before: "ww|rr", call: mremap(0, 4, 1, 0, 0, 0), after: "w", events: "UNMAP[1,4)"},
		"old size 0 of private memory": {
			before: "ww", call: mremap(0, 0, 2, MremapMayMove, 0, 0), want: errno.EINVAL, after: "ww"},
		"DONTUNMAP of all of a locked VMA": {
			before: "WW|rr", touch: true, call: mremap(0, 2, 2, keep|MremapFixed, 6, 6), after: "ww|rr..WW", events: "UNMAP[0,2)"},
		"DONTUNMAP to where the kernel likes": {
			before: "ww", call: mremap(0, 2, 2, keep, 6, 6), after: "ww....ww", events: "UNMAP[0,2)"},
		"DONTUNMAP beside itself stays apart": {
			before: "ww", call: mremap(0, 2, 2, keep|MremapFixed, 2, 2), after: "ww|ww", events: "UNMAP[0,2)"},
		"a locked VMA grows locked": {
			before: "WW", touch: true, call: mremap(0, 2, 4, 0, 0, 0), after: "WWWW"},
	})
}

func TestMremapTakesTheContentsAlong(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "wwww")
		for i := uint64(0); i < 4; i++ {
			require.Zero(t, mm.Store(task, at(i), PageSize, byte(i+1)))
		}
		to, err := mm.Mremap(task, at(1), 2*PageSize, 3*PageSize, MremapMayMove, 0)
		require.Zero(t, err)
		got, err := mm.Load(task, nil, to, 3*PageSize)
		require.Zero(t, err)
		require.Len(t, got, 3)
		require.EqualValues(t, []byte{2, 3, 0}, []byte{got[0].Byte, got[1].Byte, got[2].Byte})
		require.EqualValues(t, 4, sys.Mem.Used(), "the new page is the zero page")
		_, err = mm.Mremap(task, to, 3*PageSize, 3*PageSize, MremapMayMove|MremapDontUnmap, 0)
		require.Zero(t, err)
		got, err = mm.Load(task, nil, to, 3*PageSize)
		require.Zero(t, err)
		require.Len(t, got, 1, "the old place is empty")
		require.Nil(t, mm.vmaAt(to>>PageShift).AnonVMA)
	})
}

// What DONTUNMAP leaves behind is untouched memory again, and merges as such.
func TestMremapDontUnmapLeavesFreshMemory(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "ww")
		require.Zero(t, mm.Store(task, at(0), PageSize, 1))
		_, err := mm.Mremap(task, at(0), 2*PageSize, 2*PageSize, MremapMayMove|MremapFixed, at(4))
		require.Zero(t, err)
		drawSpace(task, mm, "......ww")
		require.Equal(t, "....ww|ww", drawn(mm), "its offset tells where it came from")
		_, err = mm.Mremap(task, at(4), 2*PageSize, 2*PageSize, MremapMayMove|MremapFixed|MremapDontUnmap, at(10))
		require.Zero(t, err)
		drawSpace(task, mm, "..ww")
		require.Equal(t, "..wwww|ww..ww", drawn(mm))
	})
}

func TestMremapOfOldSizeZeroDuplicatesSharedMemory(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		mm.Mmap(task, at(0), 4*PageSize, rw, MapShared|MapAnonymous|MapFixed, nil, 0)
		require.Zero(t, mm.Store(task, at(2), PageSize, 5))
		l := watchDrawing(task, mm)
		to, err := mm.Mremap(task, at(2), 0, 2*PageSize, MremapMayMove, 0)
		require.Zero(t, err)
		require.Empty(t, l.events)
		got, err := mm.Load(task, nil, to, PageSize)
		require.Zero(t, err)
		require.EqualValues(t, 5, got[0].Byte)
		require.Equal(t, "wwww", drawn(mm))
	})
}

func TestMremapGrowsLockedMemoryPopulated(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "WW|rr")
		to, err := mm.Mremap(task, at(0), 2*PageSize, 5*PageSize, MremapMayMove, 0)
		require.Zero(t, err)
		require.EqualValues(t, 5, mm.RSS())
		require.NotZero(t, mm.vmaAt(to>>PageShift).Flags&VMLocked)
		checkTree(t, mm)
	})
}

func TestMremapRefusesAddressesThatDoNotExist(t *testing.T) {
	const top = TaskSize << PageShift
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "ww")
		for name, c := range map[string]struct {
			addr, oldLen, newLen, to uint64
			flags                    uint32
			want                     errno.Errno
		}{
			"from inside a page":  {at(0) + 1, PageSize, PageSize, 0, 0, errno.EINVAL},
			"to inside a page":    {at(0), PageSize, PageSize, at(8) + 1, MremapMayMove | MremapFixed, errno.EINVAL},
			"to beyond the end":   {at(0), PageSize, 2 * PageSize, top - PageSize, MremapMayMove | MremapFixed, errno.EINVAL},
			"larger than all":     {at(0), 2 * PageSize, top + PageSize, 0, MremapMayMove, errno.ENOMEM},
			"a size that wraps":   {at(0), PageSize, ^uint64(0), 0, MremapMayMove, errno.EINVAL},
			"more than there is":  {at(0), 2 * PageSize, 1 << 40, 0, MremapMayMove, errno.ENOMEM},
			"an old size that is": {at(0), ^uint64(0) - PageSize, PageSize, 0, 0, errno.EINVAL},
		} {
			_, err := mm.Mremap(task, c.addr, c.oldLen, c.newLen, c.flags, c.to)
			require.Equal(t, c.want, err, name)
		}
		require.Equal(t, "ww", drawn(mm))
	})
}
