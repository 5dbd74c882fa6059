// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

func mmapAt(lo, hi uint64, prot, flags uint32) func(*sim.Task, *MM) errno.Errno {
	return func(t *sim.Task, mm *MM) errno.Errno {
		got, err := mm.Mmap(t, at(lo), (hi-lo)<<PageShift, prot, MapPrivate|MapAnonymous|flags, nil, 0)
		if err == 0 && got != at(lo) {
			return errno.ENOSYS
		}
		return err
	}
}

func TestMmapReplacesAndMerges(t *testing.T) {
	runSpaceCases(t, map[string]spaceCase{
		"beside a VMA with other rights": {
			before: "ww", call: mmapAt(2, 4, ProtRead, MapFixed), after: "ww|rr"},
		"above an equal VMA": {
			before: "ww", call: mmapAt(2, 4, rw, MapFixed), after: "wwww"},
		"below an equal VMA": {
			before: "..ww", call: mmapAt(0, 2, rw, MapFixed), after: "wwww"},
		"between equal VMAs": {
			before: "ww..ww", call: mmapAt(2, 4, rw, MapFixed), after: "wwwwww"},
		"between VMAs with families of their own": {
			before: "ww..ww", touch: true, call: mmapAt(2, 4, rw, MapFixed), after: "wwww|ww"},
		"over the middle of a VMA": {
			before: "wwwwww", touch: true, call: mmapAt(2, 4, ProtRead, MapFixed), after: "ww|rr|ww", events: "UNMAP[2,4)"},
		"over the middle of an equal VMA: new pages, one VMA": {
			before: "wwwwww", touch: true, call: mmapAt(2, 4, rw, MapFixed), after: "wwwwww", events: "UNMAP[2,4)"},
		"over several VMAs and a hole": {
			before: "ww|rr..ww", call: mmapAt(1, 7, ProtNone, MapFixed), after: "w|nnnnnn|w", events: "UNMAP[1,7)"},
		"locked": {
			before: "ww", call: mmapAt(2, 4, rw, MapFixed|MapLocked), after: "ww|WW"},
		"FIXED_NOREPLACE in a hole": {
			before: "w.w", call: mmapAt(1, 2, ProtRead, MapFixedNoReplace), after: "w|r|w"},
		"FIXED_NOREPLACE over a mapping": {
			before: "w.w", call: mmapAt(1, 3, ProtRead, MapFixedNoReplace), want: errno.EEXIST, after: "w.w"},
		"a hint in a hole": {
			before: "w..w", call: mmapAt(1, 3, ProtRead, 0), after: "w|rr|w"},
		"a hint that does not fit goes elsewhere": {
			before: "w.w", call: mmapAt(1, 3, ProtRead, 0), want: errno.ENOSYS, after: "w.w"},
	})
}

func TestMmapRefusesWhatLinuxRefuses(t *testing.T) {
	const top = TaskSize << PageShift
	anon := uint32(MapPrivate | MapAnonymous)
	file := &File{Path: "f"}
	for name, c := range map[string]struct {
		addr, length uint64
		flags        uint32
		file         *File
		pgoff        uint64
		want         errno.Errno
	}{
		"length 0":                            {0, 0, anon, nil, 0, errno.EINVAL},
		"length that wraps":                   {0, ^uint64(0), anon, nil, 0, errno.ENOMEM},
		"longer than the address space":       {0, top + PageSize, anon, nil, 0, errno.ENOMEM},
		"more than the machine has":           {0, 1 << 40, anon, nil, 0, errno.ENOMEM},
		"more than it has, NORESERVE":         {0, 1 << 40, anon | MapNoReserve, nil, 0, 0},
		"more than it has, shared":            {0, 1 << 40, MapShared | MapAnonymous, nil, 0, 0},
		"fixed inside a page":                 {0x10001, 1, anon | MapFixed, nil, 0, errno.EINVAL},
		"a hint inside a page":                {0x10001, 1, anon, nil, 0, 0},
		"fixed at the end":                    {top - PageSize, PageSize, anon | MapFixed, nil, 0, 0},
		"fixed beyond the end":                {top - PageSize, 2 * PageSize, anon | MapFixed, nil, 0, errno.ENOMEM},
		"no mapping type":                     {0, 1, MapAnonymous, nil, 0, errno.EINVAL},
		"SHARED_VALIDATE without file":        {0, 1, MapSharedValidate | MapAnonymous, nil, 0, errno.EINVAL},
		"SHARED_VALIDATE with MAP_SYNC":       {0, 1, MapSharedValidate | MapSync, file, 0, errno.EOPNOTSUPP},
		"SHARED ignores MAP_SYNC":             {0, 1, MapShared | MapSync, file, 0, 0},
		"droppable":                           {0, 1, MapDroppable | MapAnonymous, nil, 0, 0},
		"droppable and locked":                {0, 1, MapDroppable | MapAnonymous | MapLocked, nil, 0, errno.EINVAL},
		"SHARED_VALIDATE":                     {0, 1, MapSharedValidate | MapLocked, file, 0, 0},
		"a file as stack":                     {0, 1, MapPrivate | MapGrowsDown, file, 0, errno.EINVAL},
		"a file without mapping type":         {0, 1, 0, file, 0, errno.EINVAL},
		"above 4 GiB":                         {0, 1, anon | MapAbove4G, nil, 0, 0},
		"larger than what lies below":         {0, top / 2, anon | MapNoReserve, nil, 0, 0},
		"no file":                             {0, 1, MapPrivate, nil, 0, errno.EBADF},
		"an offset that wraps":                {0, 2 * PageSize, MapPrivate, file, ^uint64(0), errno.EOVERFLOW},
		"an offset beyond any file":           {0, 1, MapPrivate, file, 1 << 51, errno.EOVERFLOW},
		"a shared stack":                      {0, 1, MapShared | MapAnonymous | MapGrowsDown, nil, 0, errno.EINVAL},
		"huge pages, of which there are none": {0, 1, anon | MapHugeTLB, nil, 0, errno.ENOMEM},
		"huge pages of a file":                {0, 1, MapPrivate | MapHugeTLB, file, 0, errno.EINVAL},
	} {
		t.Run(name, func(t *testing.T) {
			sys := testSystem(testConfig())
			mm := sys.NewMM("1")
			sys.do(t, func(task *sim.Task) {
				_, err := mm.Mmap(task, c.addr, c.length, rw, c.flags, c.file, c.pgoff)
				require.Equal(t, c.want, err)
				if err != 0 {
					require.Zero(t, mm.mapCount())
				}
			})
		})
	}
}

func TestMmapWithoutHintTakesTheHighestHole(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		place := func(pages uint64, flags uint32) int64 {
			a, err := mm.Mmap(task, 0, pages<<PageShift, rw, MapAnonymous|flags, nil, 0)
			require.Zero(t, err)
			return int64(a>>PageShift) - int64(mm.mmapBase)
		}
		require.EqualValues(t, -4, place(4, MapPrivate))
		require.EqualValues(t, -6, place(2, MapPrivate), "below the last")
		require.EqualValues(t, -7, place(1, MapShared))
		require.Zero(t, mm.Munmap(task, (mm.mmapBase-5)<<PageShift, 3*PageSize))
		require.EqualValues(t, -11, place(4, MapPrivate), "the hole has three pages")
		require.EqualValues(t, -5, place(3, MapPrivate))
		require.EqualValues(t, -12, place(1, MapPrivate))
		checkTree(t, mm)
	})
}

func TestMmapOfWholeHugePagesIsAligned(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		mm.Mmap(task, 0, PageSize, rw, MapPrivate|MapAnonymous, nil, 0)
		a, err := mm.Mmap(task, 0, 2<<20, rw, MapPrivate|MapAnonymous, nil, 0)
		require.Zero(t, err)
		require.Zero(t, a%(2<<20))
		b, _ := mm.Mmap(task, 0, 2<<20, rw, MapPrivate|MapAnonymous, nil, 0)
		require.Equal(t, a-2<<20, b)
		low, _ := mm.Mmap(task, 0, PageSize, rw, MapPrivate|MapAnonymous|Map32Bit, nil, 0)
		require.EqualValues(t, 0x40000000, low)
	})
}

func TestMmapKeepsAwayFromAStackThatGrows(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		stack, err := mm.Mmap(task, 0, PageSize, rw, MapPrivate|MapAnonymous|MapGrowsDown, nil, 0)
		require.Zero(t, err)
		a, err := mm.Mmap(task, 0, PageSize, rw, MapPrivate|MapAnonymous, nil, 0)
		require.Zero(t, err)
		require.Equal(t, stack-(stackGuardGap+1)<<PageShift, a)
		b, err := mm.Mmap(task, stack-PageSize, PageSize, rw, MapPrivate|MapAnonymous, nil, 0)
		require.Zero(t, err)
		require.Equal(t, a-PageSize, b, "a hint in the gap is not used")
		checkTree(t, mm)
	})
}

func TestMmapPopulates(t *testing.T) {
	for name, c := range map[string]struct {
		prot, flags uint32
		want        uint64 // resident pages
	}{
		"POPULATE":                      {rw, MapPopulate, 4},
		"POPULATE, read only":           {ProtRead, MapPopulate, 0}, // the zero page does not count
		"POPULATE, no access":           {ProtNone, MapPopulate, 0},
		"POPULATE|NONBLOCK":             {rw, MapPopulate | MapNonBlock, 0},
		"LOCKED":                        {rw, MapLocked, 4},
		"nothing":                       {rw, 0, 0},
		"after mlockall(MCL_FUTURE)":    {rw, 1 << 31, 4},
		"POPULATE, shared and writable": {rw, MapPopulate | 1<<30, 4},
	} {
		t.Run(name, func(t *testing.T) {
			sys := testSystem(testConfig())
			mm := sys.NewMM("1")
			sys.do(t, func(task *sim.Task) {
				kind := uint32(MapPrivate)
				switch {
				case c.flags&(1<<31) != 0:
					require.Zero(t, mm.Mlockall(task, MclFuture))
				case c.flags&(1<<30) != 0:
					kind = MapShared
				}
				_, err := mm.Mmap(task, 0, 4*PageSize, c.prot, kind|MapAnonymous|c.flags&^(3<<30), nil, 0)
				require.Zero(t, err)
				require.Equal(t, c.want, mm.RSS())
			})
		})
	}
}

func TestSharedAnonymousMemoryIsAFileOfItsOwn(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		mm.Mmap(task, at(0), 2*PageSize, rw, MapShared|MapAnonymous|MapFixed, nil, 0)
		mm.Mmap(task, at(2), 2*PageSize, rw, MapShared|MapAnonymous|MapFixed, nil, 0)
		require.Equal(t, "ww|ww", drawn(mm), "two files do not merge")
		require.Zero(t, mm.Store(task, at(0), 4*PageSize, 7))
		require.EqualValues(t, 4, sys.Mem.Used())
		require.Zero(t, mm.Munmap(task, at(0), 4*PageSize))
		require.Zero(t, sys.Mem.Used(), "the last mapping takes the file along")
	})
}

func TestFileMappingsMergeWhereTheOffsetsDo(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	f := sys.NewFile("f", false)
	f.Ref()
	sys.do(t, func(task *sim.Task) {
		mm.Mmap(task, at(0), 2*PageSize, ProtRead, MapShared|MapFixed, f, 10)
		mm.Mmap(task, at(2), 2*PageSize, ProtRead, MapShared|MapFixed, f, 12)
		mm.Mmap(task, at(4), 2*PageSize, ProtRead, MapShared|MapFixed, f, 10)
		require.Equal(t, "rrrr|rr", drawn(mm))
		require.Equal(t, "[0x1000,0x1004) r--s 0xa f\n[0x1004,0x1006) r--s 0xa f\n", mm.VMAString())
		checkTree(t, mm)
	})
}

func TestMmapGoesUpwardsWhenThereIsNoRoomBelow(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	mm.mmapBase = drawBase
	sys.do(t, func(task *sim.Task) {
		mm.Mmap(task, legacyBase<<PageShift, PageSize, ProtRead, anonFixed, nil, 0)
		a, err := mm.Mmap(task, PageSize, 2*drawBase<<PageShift|PageSize, rw, MapPrivate|MapAnonymous, nil, 0)
		require.Zero(t, err)
		require.EqualValues(t, mmapMinAddr, a>>PageShift, "the hint, moved up to the lowest address")
		a, err = mm.Mmap(task, 0, 2*drawBase<<PageShift|PageSize, rw, MapPrivate|MapAnonymous, nil, 0)
		require.Zero(t, err)
		require.EqualValues(t, legacyBase+1, a>>PageShift)
	})
}

func TestMmapPromisesNoMoreThanTheMachineHas(t *testing.T) {
	sys := testSystem(Config{RAM: 8, Nodes: 1})
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		require.Equal(t, errno.ENOMEM, mmapAt(0, 9, rw, MapFixed)(task, mm))
		require.Zero(t, mmapAt(0, 6, rw, MapFixed)(task, mm))
		require.Zero(t, mmapAt(0, 12, rw, MapFixed)(task, mm), "what it replaces was promised before")
		require.Zero(t, mmapAt(0, 14, ProtRead, MapFixed)(task, mm))
		require.Equal(t, errno.ENOMEM, mprotect(0, 14, rw)(task, mm))
		require.Zero(t, mprotect(0, 8, rw)(task, mm))
	})
}

func TestBrkMovesTheEndOfTheHeap(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		mm.SetBrk(at(0))
		require.Equal(t, at(0), mm.Brk(task, 0), "a question")
		require.Equal(t, at(2)+5, mm.Brk(task, at(2)+5))
		require.Equal(t, "www", drawn(mm))
		require.Equal(t, at(3), mm.Brk(task, at(3)), "inside the last page")
		require.Equal(t, at(6), mm.Brk(task, at(6)))
		require.Equal(t, "wwwwww", drawn(mm), "one VMA")
		l := watchDrawing(task, mm)
		require.Equal(t, at(4), mm.Brk(task, at(4)))
		require.Equal(t, "wwww", drawn(mm))
		require.Equal(t, []string{"UNMAP[4,6)"}, l.events)
		require.Equal(t, at(4), mm.Brk(task, at(0)-1), "below the heap")
		require.Equal(t, at(4), mm.Brk(task, ^uint64(0)), "wraps")
		require.Equal(t, at(4), mm.Brk(task, TaskSize<<PageShift+1))

		mm.Mmap(task, at(8), PageSize, ProtRead, anonFixed, nil, 0)
		require.Equal(t, at(4), mm.Brk(task, at(8)), "a page must stay free below the next mapping")
		require.Equal(t, at(7), mm.Brk(task, at(7)))
		require.Zero(t, mm.Munmap(task, at(5), 2*PageSize))
		require.Equal(t, at(7), mm.Brk(task, at(5)), "nothing there to give back")
		checkTree(t, mm)
	})
}

func TestHeapDoesNotMergeWithWhatLiesBelow(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "ww")
		mm.SetBrk(at(2))
		require.Equal(t, at(4), mm.Brk(task, at(4)))
		require.Equal(t, "ww|ww", drawn(mm))
		require.Zero(t, mm.Munmap(task, at(3), PageSize))
		require.Equal(t, at(6), mm.Brk(task, at(6)))
		require.Equal(t, "ww|w.ww", drawn(mm))
	})
}

func TestBrkOfALockedProcessIsPopulated(t *testing.T) {
	sys := testSystem(Config{RAM: 1 << 20, Memlock: 4, Nodes: 1})
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		mm.SetBrk(at(0))
		require.Zero(t, mm.Mlockall(task, MclFuture))
		require.Equal(t, at(4), mm.Brk(task, at(4)))
		require.EqualValues(t, 4, mm.RSS())
		require.Equal(t, at(4), mm.Brk(task, at(5)), "beyond the limit")
	})
}

// What fork copied has the families of its parent behind it: its pieces merge
// with each other, not with neighbours, old or new.
func TestForkedVMAMergesOnlyWithItsOwnPieces(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "wwww")
		require.Zero(t, mm.Store(task, at(0), PageSize, 1))
		v := mm.vmaAt(drawBase)
		v.forked = v
		require.Zero(t, mm.Mprotect(task, at(1), PageSize, ProtRead))
		require.Equal(t, "w|r|ww", drawn(mm))
		require.Zero(t, mm.Mprotect(task, at(1), PageSize, rw))
		require.Equal(t, "wwww", drawn(mm))
		drawSpace(task, mm, "....ww")
		require.Equal(t, "wwww|ww", drawn(mm))
		require.Zero(t, mm.Store(task, at(4), PageSize, 1))
		require.NotSame(t, v.AnonVMA, mm.vmaAt(drawBase+4).AnonVMA)

		drawSpace(task, mm, "........ww")
		n := mm.vmaAt(drawBase + 8)
		require.Zero(t, mm.Store(task, at(8), PageSize, 1))
		n.forked = n
		drawSpace(task, mm, ".......w")
		require.Zero(t, mm.Store(task, at(7), PageSize, 1))
		require.Equal(t, "wwww|ww.w|ww", drawn(mm))
		require.NotSame(t, n.AnonVMA, mm.vmaAt(drawBase+7).AnonVMA)
		require.Zero(t, mm.Munmap(task, at(7), 3*PageSize))

		mm.Mmap(task, at(3), PageSize, rw, anonFixed, nil, 0)
		n = mm.vmaAt(drawBase + 3)
		n.setAnonVMA(mm.vmaAt(drawBase).AnonVMA)
		n.forked = n
		require.Zero(t, mm.Mprotect(task, at(3), PageSize, ProtRead))
		require.Zero(t, mm.Mprotect(task, at(3), PageSize, rw))
		require.Equal(t, "www|www", drawn(mm), "of one family, by two forks")
		checkTree(t, mm)
	})
}
