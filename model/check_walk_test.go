// SPDX-License-Identifier: MIT

package model

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// operation is something that a process does to its memory.
type operation struct {
	kind    int
	page, n uint64
}

const lastOperation = 10

func (m *checkedMachine) perform(t *sim.Task, o operation) {
	addr, bytes := cpuBase+o.page*pageSize, o.n*pageSize
	switch o.kind {
	case 0:
		m.mmap(t, o.page, o.n)
	case 1:
		m.mm.Store(t, addr, bytes, 0x33)
	case 2:
		m.mm.Load(t, nil, addr, bytes)
	case 3:
		m.register(t, m.nextVA(), area(o.page, o.n), area(o.page+o.n+1, 1), area(o.page, 1))
	case 4:
		if len(m.bos) > 0 {
			m.unregister(t, int(o.page)%len(m.bos))
		}
	case 5:
		m.fork(t)
	case 6:
		m.mm.Munmap(t, addr, bytes)
	case 7:
		m.mm.Madvise(t, addr, bytes, mm.MadvDontNeed)
	case 8:
		m.mm.Madvise(t, addr, bytes, mm.MadvPageOut)
	case 9:
		m.mm.Mprotect(t, addr, bytes, uint32(o.n%4))
	case lastOperation:
		// Only what is there as far as one can tell: a fault stops everything that
		// follows.
		first := [...]uint64{0, 5}[o.page%2]
		if m.mm.CheckAccess(t, cpuBase>>mm.PageShift+first, cpuBase>>mm.PageShift+first+2) == 0 && len(m.bos) > 0 {
			m.touch(t, o.page%2*2, o.n%2+1)
		}
	}
}

// nextVA returns GPU addresses that no BO has had.
func (m *checkedMachine) nextVA() uint64 {
	m.vas++
	return gpuBase + (m.vas-1)*16*pageSize
}

func drawOperations(t *rapid.T) []operation {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) operation {
		return operation{
			kind: rapid.IntRange(0, lastOperation).Draw(t, "kind"),
			page: rapid.Uint64Range(0, 12).Draw(t, "page"),
			n:    rapid.Uint64Range(1, 5).Draw(t, "n"),
		}
	}), 4, 24).Draw(t, "operations")
}

// performAll performs operations in two threads, by turns as far as the chooser
// goes along.
func (m *checkedMachine) performAll(t *sim.Task, ops []operation) {
	m.mmap(t, 0, 16)
	m.register(t, m.nextVA(), area(0, 2), area(5, 3))
	half := len(ops) / 2
	m.mm.Get()
	other := m.s.Go("101", func(t *sim.Task) {
		for _, o := range ops[:half] {
			m.perform(t, o)
		}
		m.mm.Put(t)
	})
	for _, o := range ops[half:] {
		m.perform(t, o)
	}
	t.Join(other)
}

// drawChooser is recorded order or a random one.
func drawChooser(t *rapid.T) sim.Chooser {
	seed := rapid.Uint64Range(0, 1<<20).Draw(t, "seed")
	if seed == 0 {
		return nil
	}
	return sim.NewSeeded(seed)
}

// TestWalkFindsNothingThatCheckMissed looks at everything whenever check looks at
// what is dirty. They agree at every scheduling point, not only at rest.
func TestWalkFindsNothingThatCheckMissed(t *testing.T) {
	for name, design := range correctDesigns {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				ops := drawOperations(t)
				m := newMachineWith(design(), drawChooser(t), 1+len(ops)%2)
				m.s.SetCheck(func() {
					m.chk.check()
					require.Empty(t, m.chk.walk())
				})
				f := m.run(func(task *sim.Task) { m.performAll(task, ops) })
				require.Nil(t, f, "%+v", f)
			})
		})
	}
}

// TestCheckMissesNothingThatWalkFinds does the same with callbacks that do
// nothing, so that pages become wrong all the time. Sometimes that makes the
// worker repeat itself for ever, which is not what is tested here.
func TestCheckMissesNothingThatWalkFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := drawOperations(t)
		d := &faulty{Design: batch.New(), invalidate: func(_ *faulty, _ mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, _ *mm.NotifierRange, seq uint64) bool {
			onlySetSeq(t, n, seq)
			return true
		}}
		m := newCheckedMachine(d, drawChooser(t))
		m.s.SetCheck(func() {
			m.chk.check()
			f, found := m.s.Failure(), m.chk.walk()
			switch {
			case f != nil:
				require.Equal(t, "stale", f.Verdict, "%+v", f)
				require.NotEmpty(t, found, "%+v", f)
			case m.s.Now() > sim.Second/10:
				m.chk.fail("restore-ends", "the worker goes on and on", "")
			default:
				require.Empty(t, found)
			}
		})
		m.run(func(task *sim.Task) { m.performAll(task, ops) })
	})
}

// TestWithoutAMachineNothingIsJudged is the checker of a run without properties.
func TestWithoutAMachineNothingIsJudged(t *testing.T) {
	c := newChecker(sim.New(sim.Options{}))
	c.beforeIoctl(nil)
	c.afterIoctl(nil, errno.EINVAL)
	c.atRest()
	c.endOfRun()
}

// TestAWideNotifierWatchesEveryRange compares the ranges found behind a notifier
// over all of a BO with a look at each.
func TestAWideNotifierWatchesEveryRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newCheckedMachine(batch.New(), nil)
		bo := &kfd.Mem{P: &kfd.Process{MM: m.mm}}
		for range rapid.IntRange(1, 12).Draw(t, "ranges") {
			start := rapid.Uint64Range(0, 40).Draw(t, "start")
			bo.Ranges = append(bo.Ranges, kfd.UserRange{Mem: bo, Start: start, End: start + rapid.Uint64Range(1, 9).Draw(t, "pages")})
		}
		lo := rapid.Uint64Range(0, 50).Draw(t, "lo")
		hi := lo + rapid.Uint64Range(1, 20).Draw(t, "n")
		found := map[int][2]uint64{}
		m.chk.overlaps(&mm.IntervalNotifier{Owner: bo}, lo, hi, func(_ *memState, k int, lo, hi uint64) { found[k] = [2]uint64{lo, hi} })
		want := map[int][2]uint64{}
		for k, r := range bo.Ranges {
			if a, b := max(lo, r.Start), min(hi, r.End); a < b {
				want[k] = [2]uint64{a, b}
			}
		}
		require.Equal(t, want, found)
	})
}
