// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

func mlock(lo, hi uint64) func(*sim.Task, *MM) errno.Errno {
	return func(t *sim.Task, mm *MM) errno.Errno { return mm.Mlock(t, at(lo), (hi-lo)<<PageShift) }
}

func munlock(lo, hi uint64) func(*sim.Task, *MM) errno.Errno {
	return func(t *sim.Task, mm *MM) errno.Errno { return mm.Munlock(t, at(lo), (hi-lo)<<PageShift) }
}

func TestMlockSplitsMergesAndIsNoEvent(t *testing.T) {
	runSpaceCases(t, map[string]spaceCase{
		"the middle": {
			before: "wwwwww", touch: true, call: mlock(2, 4), after: "ww|WW|ww"},
		"beside locked": {
			before: "ww|WW|ww", call: mlock(0, 2), after: "WWWW|ww"},
		"beside locked that was touched on its own": {
			before: "ww|WW|ww", touch: true, call: mlock(0, 2), after: "WW|WW|ww"},
		"undone": {
			before: "wwwwww", touch: true, after: "wwwwww",
			call: func(t *sim.Task, mm *MM) errno.Errno {
				mlock(2, 4)(t, mm)
				return munlock(1, 5)(t, mm)
			}},
		"several": {
			before: "ww|rr", call: mlock(1, 3), after: "w|W|R|r"},
		"over a hole": {
			before: "ww.ww", call: mlock(0, 5), want: errno.ENOMEM, after: "WW.ww"},
		"from a hole": {
			before: ".ww", call: mlock(0, 2), want: errno.ENOMEM, after: ".ww"},
		"no access": {
			before: "nn", call: mlock(0, 2), want: errno.ENOMEM, after: "NN"},
		"munlock over a hole": {
			before: "WW.WW", call: munlock(0, 5), want: errno.ENOMEM, after: "ww.WW"},
		"length 0 at a page": {
			before: "nn", call: mlock(0, 0), after: "nn"},
		"length 0 inside a page": {
			before: "ww", after: "W|w",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Mlock(t, at(0)+1, 0) }},
		"to the last address": {
			before: "ww", want: errno.EINVAL, after: "ww",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Mlock(t, at(0), -at(0)) }},
		"mlock2 with unknown flags": {
			before: "ww", want: errno.EINVAL, after: "ww",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Mlock2(t, at(0), PageSize, 2) }},
		"everything": {
			before: "ww.rr", after: "WW.RR",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Mlockall(t, MclCurrent) }},
		"the future only": {
			before: "WW.rr", after: "WW.rr",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Mlockall(t, MclFuture) }},
		"nothing any more": {
			before: "WW.RR|w", after: "ww.rr|w",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Munlockall(t) }},
		"mlockall without flags": {
			before: "w", want: errno.EINVAL, after: "w",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Mlockall(t, 0) }},
		"mlockall ONFAULT alone": {
			before: "w", want: errno.EINVAL, after: "w",
			call: func(t *sim.Task, mm *MM) errno.Errno { return mm.Mlockall(t, MclOnFault) }},
	})
}

func TestMlockFaultsIn(t *testing.T) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "wwwwww")
		require.Zero(t, mm.Mlock(task, at(0), 2*PageSize))
		require.EqualValues(t, 2, mm.RSS())
		require.Zero(t, mm.Mlock2(task, at(2), 2*PageSize, MlockOnFault))
		require.EqualValues(t, 2, mm.RSS())
		require.Equal(t, "WW|WW|ww", drawn(mm), "locked in different ways")
		require.EqualValues(t, 4, mm.lockedVM)
		require.Zero(t, mm.Mlockall(task, MclCurrent|MclOnFault))
		require.EqualValues(t, 2, mm.RSS())
	})
}

func TestMemlockLimits(t *testing.T) {
	sys := testSystem(Config{RAM: 1 << 20, Nodes: 1, Memlock: 4})
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "wwwwww")
		require.Equal(t, errno.ENOMEM, mm.Mlock(task, at(0), 5*PageSize))
		require.Zero(t, mm.Mlock(task, at(0), 3*PageSize))
		require.Zero(t, mm.Mlock(task, at(0), 4*PageSize), "what is locked counts once")
		require.Equal(t, errno.ENOMEM, mm.Mlock(task, at(3), 2*PageSize))
		require.Equal(t, errno.ENOMEM, mm.Mlockall(task, MclCurrent))
		_, err := mm.Mmap(task, 0, PageSize, rw, MapPrivate|MapAnonymous|MapLocked, nil, 0)
		require.Equal(t, errno.EAGAIN, err)
		_, err = mm.Mremap(task, at(0), 4*PageSize, 5*PageSize, MremapMayMove, 0)
		require.Equal(t, errno.EAGAIN, err)
		require.Zero(t, mm.Munlock(task, at(0), PageSize))
		_, err = mm.Mmap(task, 0, PageSize, rw, MapPrivate|MapAnonymous|MapLocked, nil, 0)
		require.Zero(t, err)
		checkTree(t, mm)
	})
}

func TestNothingCanBeLockedWithALimitOfZero(t *testing.T) {
	sys := testSystem(Config{RAM: 1 << 20, Nodes: 1})
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		drawSpace(task, mm, "w")
		require.Equal(t, errno.EPERM, mm.Mlock(task, at(0), PageSize))
		require.Equal(t, errno.EPERM, mm.Mlockall(task, MclFuture))
		_, err := mm.Mmap(task, 0, PageSize, rw, MapPrivate|MapAnonymous|MapLocked, nil, 0)
		require.Equal(t, errno.EPERM, err)
		require.Zero(t, mm.Munlock(task, at(0), PageSize))
	})
}

func TestMlockWithoutMemoryIsTriedAgain(t *testing.T) {
	sys := testSystem(Config{RAM: 4, Swap: 1 << 20, Nodes: 1, Memlock: memlockUnlimited})
	sys.cfg.Swap = 0
	mm := sys.NewMM("1")
	sys.do(t, func(task *sim.Task) {
		mm.Mmap(task, at(0), 16*PageSize, rw, anonFixed|MapNoReserve, nil, 0)
		require.Equal(t, errno.EAGAIN, mm.Mlock(task, at(0), 16*PageSize))
	})
}

func TestMsyncChecksItsArguments(t *testing.T) {
	call := func(lo, hi uint64, flags uint32) func(*sim.Task, *MM) errno.Errno {
		return func(t *sim.Task, mm *MM) errno.Errno { return mm.Msync(t, at(lo), (hi-lo)<<PageShift, flags) }
	}
	runSpaceCases(t, map[string]spaceCase{
		"SYNC":                          {before: "ww", call: call(0, 2, MsSync), after: "ww"},
		"both":                          {before: "ww", call: call(0, 2, MsSync|MsAsync), want: errno.EINVAL, after: "ww"},
		"unknown flag":                  {before: "ww", call: call(0, 2, 8), want: errno.EINVAL, after: "ww"},
		"a hole":                        {before: "w.w", call: call(0, 3, MsSync), want: errno.ENOMEM, after: "w.w"},
		"a hole at the end":             {before: "w", call: call(0, 3, MsSync), want: errno.ENOMEM, after: "w"},
		"INVALIDATE of locked memory":   {before: "W", call: call(0, 1, MsInvalidate), want: errno.EBUSY, after: "W"},
		"ASYNC stops at a hole":         {before: "w.W", call: call(0, 3, MsAsync), want: errno.ENOMEM, after: "w.W"},
		"INVALIDATE goes over the hole": {before: "w.W", call: call(0, 3, MsInvalidate), want: errno.EBUSY, after: "w.W"},
		"length 0":                      {before: "w", call: call(3, 3, MsSync), after: "w"},
	})
}
