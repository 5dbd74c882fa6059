// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

func mprotect(lo, hi uint64, prot uint32) func(*sim.Task, *MM) errno.Errno {
	return func(t *sim.Task, mm *MM) errno.Errno { return mm.Mprotect(t, at(lo), (hi-lo)<<PageShift, prot) }
}

func TestMprotectSplitsMergesAndTells(t *testing.T) {
	runSpaceCases(t, map[string]spaceCase{
		"the middle": {
			before: "wwwwww", touch: true, call: mprotect(2, 4, ProtRead), after: "ww|rr|ww", events: "PROTECTION_VMA[2,4)"},
		"the same rights are no event": {
			before: "wwwwww", touch: true, call: mprotect(2, 4, rw), after: "wwwwww"},
		"no page tables are no event": {
			before: "wwww", call: mprotect(0, 4, ProtRead), after: "rrrr"},
		"head, into the VMA below": {
			before: "rr|wwww", call: mprotect(2, 4, ProtRead), after: "rrrr|ww"},
		"tail, into the VMA above": {
			before: "rrrr|ww", call: mprotect(2, 4, rw), after: "rr|wwww"},
		"between two equal VMAs": {
			before: "ww|rr|ww", call: mprotect(2, 4, rw), after: "wwwwww"},
		"over several VMAs, one window each": {
			before: "ww|rr|nn", touch: true, call: mprotect(1, 5, ProtRead|ProtExec), after: "w|x|xxx|n",
			events: "PROTECTION_VMA[1,2) PROTECTION_VMA[2,4) PROTECTION_VMA[4,5)"},
		"a hole ends it, what was before is done": {
			before: "ww|rr.ww", touch: true, call: mprotect(0, 7, ProtNone), want: errno.ENOMEM, after: "nn|nn.ww",
			events: "PROTECTION_VMA[0,2) PROTECTION_VMA[2,4)"},
		"a hole at the start": {
			before: ".ww", call: mprotect(0, 2, ProtRead), want: errno.ENOMEM, after: ".ww"},
		"nothing at all": {
			before: "w", call: mprotect(4, 6, ProtRead), want: errno.ENOMEM, after: "w"},
		"length 0": {
			before: "w", call: mprotect(0, 0, ProtRead), after: "w"},
		"an unknown right": {
			before: "w", call: mprotect(0, 1, 0x10), want: errno.EINVAL, after: "w"},
		"PROT_SEM is known": {
			before: "w", call: mprotect(0, 1, ProtRead|ProtSem), after: "r"},
		"both directions of growth": {
			before: "w", call: mprotect(0, 1, ProtGrowsDown|ProtGrowsUp), want: errno.EINVAL, after: "w"},
		"GROWSDOWN of what is no stack": {
			before: "ww", call: mprotect(1, 2, ProtRead|ProtGrowsDown), want: errno.EINVAL, after: "ww"},
		"GROWSUP": {
			before: "ww", call: mprotect(0, 2, ProtRead|ProtGrowsUp), want: errno.EINVAL, after: "ww"},
		"an address inside a page": {
			before: "w", want: errno.EINVAL, after: "w",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Mprotect(t, at(0)+1, 1, ProtRead) }},
		"a length that wraps": {
			before: "w", want: errno.ENOMEM, after: "w",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Mprotect(t, at(0), ^uint64(0), ProtRead) }},
	})
}

// A private mapping that was writable when its first pages came stays accounted
// when it becomes read only; one that never had pages does not. Only equal ones
// merge.
func TestMprotectMergesOnlyWhatIsAccountedAlike(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "wwww")
		require.Zero(t, mm.Store(task, at(2), PageSize, 1))
		require.Zero(t, mm.Mprotect(task, at(0), 4*PageSize, ProtRead))
		require.NotZero(t, mm.vmaAt(drawBase).Flags&VMAccount, "it has pages")
		drawSpace(task, mm, "....wwww")
		require.Zero(t, mm.Mprotect(task, at(4), 4*PageSize, ProtRead))
		require.Zero(t, mm.vmaAt(drawBase+4).Flags&VMAccount, "it has none")
		require.Equal(t, "rrrr|rrrr", drawn(mm))
	})
}

// Pieces of one VMA that were first written when they had different rights share
// a family, so they are one again when the rights are.
func TestPiecesMergeAgainWhenTheirRightsDo(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "wwww")
		require.Zero(t, mm.Mprotect(task, at(2), 2*PageSize, rw|ProtExec))
		require.Zero(t, mm.Store(task, at(0), 4*PageSize, 1))
		require.Same(t, mm.vmaAt(drawBase).AnonVMA, mm.vmaAt(drawBase+2).AnonVMA)
		require.Zero(t, mm.Mprotect(task, at(2), 2*PageSize, rw))
		require.Equal(t, "wwww", drawn(mm))
	})
}

// An untouched VMA does not take over pages of a touched one (Linux 6.12), but
// the other way round.
func TestUntouchedVMADoesNotAdoptTouchedOne(t *testing.T) {
	for name, c := range map[string]struct {
		touch uint64
		after string
	}{
		"below touched": {0, "wwww|xx"},
		"above touched": {2, "ww|ww|xx"},
	} {
		t.Run(name, func(t *testing.T) {
			sys := testSystem(testConfig())
			mm := sys.NewMM("1")
			sys.do(t, func(task *sim.Task) {
				drawSpace(task, mm, "ww|ww|xx")
				require.Zero(t, mm.Mprotect(task, at(2), 2*PageSize, rw|ProtExec))
				require.Zero(t, mm.Store(task, at(c.touch), PageSize, 1))
				require.Zero(t, mm.Mprotect(task, at(2), 2*PageSize, rw))
				require.Equal(t, c.after, drawn(mm))
			})
		})
	}
}

// The lower of two merged VMAs takes over the family of the upper.
func TestMergedVMAKeepsTheFamily(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "ww|rr|ww")
		require.Zero(t, mm.Store(task, at(4), PageSize, 1))
		require.Zero(t, mm.Mprotect(task, at(2), 2*PageSize, rw))
		require.Equal(t, "wwwwww", drawn(mm))
		checkTree(t, mm)
	})
}

func TestMprotectOfAStackFromItsStart(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		mm.Mmap(task, at(2), 4*PageSize, rw, anonFixed|MapGrowsDown, nil, 0)
		require.Zero(t, mm.Mprotect(task, at(4), PageSize, ProtRead|ProtGrowsDown))
		require.Equal(t, "..rrr|w", drawn(mm))
	})
}

func TestMprotectChangesWhatACPUMayDo(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "ww")
		require.Zero(t, mm.Store(task, at(0), 2*PageSize, 1))
		require.Zero(t, mm.Mprotect(task, at(0), PageSize, ProtRead))
		require.Equal(t, errno.EFAULT, mm.Store(task, at(0), 1, 2))
		require.Zero(t, mm.Store(task, at(1), 1, 2))
		require.Zero(t, mm.Mprotect(task, at(0), PageSize, rw))
		require.Zero(t, mm.Store(task, at(0), 1, 2))
		require.EqualValues(t, 2, mm.RSS(), "nothing was copied")
	})
}

// Making a locked read-only mapping writable copies at once what a write would
// have to copy.
func TestMprotectOfLockedMemoryCopiesAhead(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "RR")
		require.Zero(t, mm.RSS(), "the zero page")
		require.Zero(t, mm.Mprotect(task, at(0), 2*PageSize, rw))
		require.EqualValues(t, 2, mm.RSS())
	})
}
