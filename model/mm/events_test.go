// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

type panicking struct{}

func (panicking) Errorf(f string, a ...any) { panic(f) }
func (panicking) FailNow()                  { panic("failed") }

func forkOf(t *sim.Task, m *MM) *MM {
	c, err := m.DupMM(t, "child")
	ok(err)
	return c
}

// TestAForkTellsOfTheWholeVMA: also where only a part of it is watched.
func TestAForkTellsOfTheWholeVMA(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		p := populated(task, a, true)
		forkOf(task, a)
		require.Equal(t, "PROTECTION_PAGE[-1,17)", p.takeEvents())
	})
}

func TestAReadFetchOfUntouchedMemoryMapsTheZeroPageAndAWriteBreaksIt(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		p := populated(task, a, false)
		h, retries, err := p.fetch(task, HMMReqFault)
		ok(err)
		require.Equal(t, []HMMRun{{watchedPage, watchedPage + 16, phys.ZeroPFN, 0, HMMValid, 0}}, h.Runs)
		require.Zero(t, retries)
		require.Empty(t, p.takeEvents())
		ok(a.Store(task, watchedPage<<PageShift, 1, 1))
		require.Equal(t, "CLEAR[0,1)", p.takeEvents())
		_, retries, err = p.fetch(task, HMMReqFault|HMMReqWrite)
		ok(err)
		require.Equal(t, 1, retries)
		require.Len(t, p.events, 15)
	})
}

func TestASnapshotFaultsNothingIn(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		okAddr(a.Mmap(task, watchedPage<<PageShift, 4<<PageShift, protRW, fixedAnon, nil, 0))
		okAddr(a.Mmap(task, (watchedPage+2)<<PageShift, 1<<PageShift, 0, fixedAnon, nil, 0))
		ok(a.Store(task, watchedPage<<PageShift, 1, 1))
		p := register(task, a, watchedPage, watchedPage+6)
		h, _, err := p.fetch(task, 0)
		ok(err)
		var flags []HMMFlags
		for _, r := range h.Runs {
			flags = append(flags, r.Flags)
		}
		// present, untouched, PROT_NONE, untouched, hole
		require.Equal(t, []HMMFlags{HMMValid | HMMWrite, 0, HMMError, 0, HMMError}, flags)
		require.Equal(t, uint64(1), a.RSS())
	})
}
