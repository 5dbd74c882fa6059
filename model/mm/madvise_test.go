// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

func madvise(lo, hi uint64, advice int) func(*sim.Task, *MM) errno.Errno {
	return func(t *sim.Task, mm *MM) errno.Errno { return mm.Madvise(t, at(lo), (hi-lo)<<PageShift, advice) }
}

func TestMadviseAppliesToWhatIsMapped(t *testing.T) {
	runSpaceCases(t, map[string]spaceCase{
		"DONTNEED": {
			before: "wwww", touch: true, call: madvise(1, 3, MadvDontNeed), after: "wwww", events: "CLEAR[1,3)"},
		"DONTNEED of untouched memory is an event": {
			before: "wwww", call: madvise(1, 3, MadvDontNeed), after: "wwww", events: "CLEAR[1,3)"},
		"DONTNEED over a hole does the rest": {
			before: "ww..ww", call: madvise(1, 5, MadvDontNeed), want: errno.ENOMEM, after: "ww..ww", events: "CLEAR[1,2) CLEAR[4,5)"},
		"DONTNEED from a hole to a hole": {
			before: "..ww", call: madvise(0, 6, MadvDontNeed), want: errno.ENOMEM, after: "..ww", events: "CLEAR[2,4)"},
		"DONTNEED stops at locked memory": {
			before: "ww|WW|ww", call: madvise(0, 6, MadvDontNeed), want: errno.EINVAL, after: "ww|WW|ww", events: "CLEAR[0,2)"},
		"DONTNEED_LOCKED does not": {
			before: "ww|WW", call: madvise(0, 4, MadvDontNeedLocked), after: "ww|WW", events: "CLEAR[0,2) CLEAR[2,4)"},
		"FREE": {
			before: "wwww", touch: true, call: madvise(1, 3, MadvFree), after: "wwww", events: "CLEAR[1,3)"},
		"FREE of locked memory": {
			before: "WW", call: madvise(0, 2, MadvFree), want: errno.EINVAL, after: "WW"},
		"COLD": {
			before: "wwww", touch: true, call: madvise(1, 3, MadvCold), after: "wwww"},
		"PAGEOUT, a window for each page": {
			before: "wwww", touch: true, call: madvise(1, 3, MadvPageOut), after: "wwww", events: "CLEAR[1,2) CLEAR[2,3)"},
		"PAGEOUT of untouched memory": {
			before: "wwww", call: madvise(1, 3, MadvPageOut), after: "wwww"},
		"PAGEOUT of locked memory": {
			before: "WW", call: madvise(0, 2, MadvPageOut), want: errno.EINVAL, after: "WW"},
		"WILLNEED": {
			before: "wwww", call: madvise(0, 4, MadvWillNeed), after: "wwww"},
		"POPULATE_WRITE": {
			before: "wwww", call: madvise(0, 4, MadvPopulateWrite), after: "wwww"},
		"POPULATE_WRITE of what may only be read": {
			before: "ww|rr", call: madvise(0, 4, MadvPopulateWrite), want: errno.EINVAL, after: "ww|rr"},
		"POPULATE_READ over a hole": {
			before: "ww.w", call: madvise(0, 4, MadvPopulateRead), want: errno.ENOMEM, after: "ww.w"},
		"DONTFORK cuts": {
			before: "wwww", call: madvise(1, 2, MadvDontFork), after: "w|w|ww"},
		"DONTFORK up to a VMA that has it": {
			before: "wwwwww", after: "wwww|ww",
			call: func(t *sim.Task, mm *MM) errno.Errno {
				madvise(1, 3, MadvDontFork)(t, mm)
				return madvise(0, 4, MadvDontFork)(t, mm)
			}},
		"DONTFORK and back": {
			before: "wwww", after: "wwww",
			call: func(t *sim.Task, mm *MM) errno.Errno {
				madvise(1, 2, MadvDontFork)(t, mm)
				return madvise(1, 2, MadvDoFork)(t, mm)
			}},
		"DONTFORK over a hole": {
			before: "ww.ww", call: madvise(1, 4, MadvDontFork), want: errno.ENOMEM, after: "w|w.w|w"},
		"no advice": {
			before: "w", call: madvise(0, 1, 5), want: errno.EINVAL, after: "w"},
		"no advice, -1": {
			before: "w", call: madvise(0, 1, -1), want: errno.EINVAL, after: "w"},
		"length 0": {
			before: "w", call: madvise(4, 4, MadvDontNeed), after: "w"},
		"nothing there": {
			before: "w", call: madvise(4, 6, MadvDontNeed), want: errno.ENOMEM, after: "w"},
		"a length that wraps": {
			before: "w", want: errno.EINVAL, after: "w",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Madvise(t, at(0), ^uint64(0), MadvDontNeed) }},
		"an address inside a page": {
			before: "w", want: errno.EINVAL, after: "w",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Madvise(t, at(0)+1, 1, MadvDontNeed) }},
		"WIPEONFORK": {
			before: "ww", call: madvise(0, 1, MadvWipeOnFork), after: "w|w"},
		"REMOVE of anonymous memory": {
			before: "w", call: madvise(0, 1, MadvRemove), want: errno.EINVAL, after: "w"},
		"COLLAPSE of less than a huge page": {
			before: "w", call: madvise(0, 1, MadvCollapse), want: errno.EINVAL, after: "w"},
		"SOFT_OFFLINE of nothing": {
			before: "w", call: madvise(1, 2, MadvSoftOffline), want: errno.EFAULT, after: "w"},
		"SOFT_OFFLINE of the zero page": {
			before: "w", call: madvise(0, 1, MadvSoftOffline), want: errno.EIO, after: "w"},
		"SOFT_OFFLINE, a window for each page": {
			before: "www", touch: true, call: madvise(1, 3, MadvSoftOffline), after: "www", events: "CLEAR[1,2) CLEAR[2,3)"},
	})
}

func TestMadviseOfSharedMemory(t *testing.T) {
	for name, c := range map[string]struct {
		prot   uint32
		advice int
		want   errno.Errno
	}{
		"FREE":               {rw, MadvFree, errno.EINVAL},
		"WIPEONFORK":         {rw, MadvWipeOnFork, errno.EINVAL},
		"REMOVE":             {rw, MadvRemove, 0},
		"REMOVE, read only":  {ProtRead, MadvRemove, 0}, // may be made writable
		"MERGEABLE is moot":  {rw, MadvMergeable, 0},
		"DONTNEED":           {rw, MadvDontNeed, 0},
		"POPULATE_READ":      {rw, MadvPopulateRead, 0},
		"HUGEPAGE":           {rw, MadvHugePage, 0},
		"a droppable's DUMP": {rw, MadvDoDump, 0},
	} {
		t.Run(name, func(t *testing.T) {
			sys := testSystem(testConfig())
			mm := sys.NewMM("1")
			sys.do(t, func(task *sim.Task) {
				mm.Mmap(task, at(0), 4*PageSize, c.prot, MapShared|MapAnonymous|MapFixed, nil, 0)
				require.Equal(t, c.want, mm.Madvise(task, at(0), 4*PageSize, c.advice))
				require.Zero(t, mm.vmaAt(drawBase).Flags&VMMergeable)
			})
		})
	}
}

func TestAdviceOnAttributesIsKept(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "w")
		v := mm.vmaAt(drawBase)
		plain := v.Flags
		for _, c := range []struct {
			on, off int
			flag    VMFlags
		}{
			{MadvDontFork, MadvDoFork, VMDontCopy},
			{MadvWipeOnFork, MadvKeepOnFork, VMWipeOnFork},
			{MadvDontDump, MadvDoDump, VMDontDump},
			{MadvMergeable, MadvUnmergeable, VMMergeable},
			{MadvSequential, MadvNormal, VMSeqRead},
			{MadvRandom, MadvNormal, VMRandRead},
		} {
			require.Zero(t, mm.Madvise(task, at(0), 1, c.on))
			require.Equal(t, plain|c.flag, v.Flags)
			require.Zero(t, mm.Madvise(task, at(0), 1, c.off))
			require.Equal(t, plain, v.Flags)
		}
		require.Zero(t, mm.Madvise(task, at(0), 1, MadvHugePage))
		require.Zero(t, mm.Madvise(task, at(0), 1, MadvNoHugePage))
		require.Equal(t, plain|VMNoHugePage, v.Flags)
	})
}

func TestDontNeedGivesZeroesBack(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "www")
		require.Zero(t, mm.Store(task, at(0), 3*PageSize, 9))
		require.Zero(t, mm.Madvise(task, at(1), PageSize, MadvDontNeed))
		got, err := mm.Load(task, nil, at(0), 3*PageSize)
		require.Zero(t, err)
		require.Len(t, got, 3)
		require.EqualValues(t, 0, got[1].Byte)
		require.EqualValues(t, 9, got[2].Byte)
	})
}
