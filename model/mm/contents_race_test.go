// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Pages that a task of race owns: nobody else writes to them.
const racePages = 6

// script is what a task does: pairs of an operation and an argument.
type script []struct{ op, arg uint8 }

func drawScript(t *rapid.T, label string, longest int) script {
	n := rapid.IntRange(1, longest).Draw(t, label)
	s := make(script, n)
	for i := range s {
		s[i].op = rapid.Byte().Draw(t, "op")
		s[i].arg = rapid.Byte().Draw(t, "arg")
	}
	return s
}

// writer writes to its pages, from lo on, and reads back what it wrote. Shared
// memory it reaches through any of the address spaces that map it.
func (s script) writer(tb require.TestingT, mms []*MM, lo uint64) func(*sim.Task) {
	return func(t *sim.Task) {
		var want [racePages]byte
		for _, step := range s {
			m := mms[int(step.op>>4)%len(mms)]
			k := uint64(step.arg) % racePages
			at := (lo + k) << PageShift
			switch private := len(mms) == 1; {
			case step.op%6 < 2:
				want[k] = step.arg % 3 // few different bytes, so that pages are equal
				ok(m.Store(t, at, PageSize, want[k]))
			case step.op%6 == 2 && private:
				ok(m.Madvise(t, at, PageSize, MadvFree))
				want[k] = 7
				ok(m.Store(t, at, PageSize, want[k]))
			case step.op%6 == 3:
				ok(m.Madvise(t, at, PageSize, MadvDontNeed))
				if private {
					want[k] = 0
				}
			default:
				bytes, err := m.Load(t, nil, at, PageSize)
				ok(err)
				require.Equal(tb, []phys.ByteRun{{Byte: want[k], N: PageSize}}, bytes)
			}
		}
	}
}

// mover moves, merges and swaps the pages of all writers.
func (s script) mover(tb require.TestingT, m *MM, lo, n uint64) func(*sim.Task) {
	return func(t *sim.Task) {
		for _, step := range s {
			at, node := lo+uint64(step.arg)%n, int64(step.arg>>7)
			switch step.op % 10 {
			case 0, 1:
				_, _, err := m.MovePages(t, []uint64{at << PageShift, (at ^ 1) << PageShift}, []int64{node, node}, MpolMFMoveAll)
				ok(err)
			case 2:
				_, err := m.MigratePages(t, 64, NodeMask{1 << node}, NodeMask{2 >> node})
				ok(err)
			case 3, 4:
				m.sys.KSM(t)
			case 5:
				m.sys.Reclaim(t, 4)
			case 6:
				m.NUMABalance(t, lo<<PageShift, n<<PageShift)
			case 7:
				m.Madvise(t, at<<PageShift, PageSize, MadvSoftOffline)
			case 8:
				c := forkOf(t, m)
				m.sys.Reclaim(t, 2)
				c.Put(t)
				require.Zero(tb, c.RSS())
			case 9:
				advice := MadvUnmergeable
				if node == 0 {
					advice = MadvMergeable
				}
				m.Madvise(t, lo<<PageShift, n<<PageShift, advice)
			}
		}
	}
}

// TestNoWriteIsLostWhilePagesMove: two tasks write, each to pages of its own, a
// device fetches, and two more tasks move all pages about, in random order. What a
// task reads is what it wrote last.
func TestNoWriteIsLostWhilePagesMove(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newProbeMachine(Config{RAM: 512, Swap: 512, Nodes: 2}, sim.NewSeeded(rapid.Uint64().Draw(rt, "seed")))
		bodies := map[string]script{}
		for _, name := range []string{"a", "b", "mover", "other mover"} {
			bodies[name] = drawScript(rt, name, 30)
		}
		fetches := rapid.IntRange(0, 4).Draw(rt, "fetches")
		shared := rapid.Bool().Draw(rt, "shared")
		m.run(t, func(task *sim.Task) {
			a := m.sys.NewMM("1")
			const lo, n = watchedPage, 2 * racePages
			flags := uint32(fixedAnon)
			if shared {
				flags = MapFixed | MapAnonymous | MapShared
			}
			okAddr(a.Mmap(task, lo<<PageShift, n<<PageShift, protRW, flags, nil, 0))
			mms := []*MM{a}
			if shared {
				mms = append(mms, forkOf(task, a), forkOf(task, a))
			}
			ok(a.Madvise(task, lo<<PageShift, n<<PageShift, MadvMergeable))
			p := register(task, a, lo, lo+n)
			tasks := []*sim.Task{
				m.s.Go("a", bodies["a"].writer(rt, mms, lo)),
				m.s.Go("b", bodies["b"].writer(rt, mms, lo+racePages)),
				m.s.Go("mover", bodies["mover"].mover(rt, a, lo, n)),
				m.s.Go("other mover", bodies["other mover"].mover(rt, a, lo, n)),
				m.s.Go("device", func(t *sim.Task) {
					for range fetches {
						_, _, err := p.fetch(t, HMMReqFault|HMMReqWrite)
						ok(err)
					}
				}),
			}
			for _, x := range tasks {
				task.Join(x)
			}
			IntervalNotifierRemove(task, &p.IntervalNotifier)
			for _, x := range mms {
				x.Put(task)
				require.Zero(rt, x.RSS())
			}
		})
		require.Zero(rt, m.sys.Mem.Used())
		require.Zero(rt, m.sys.Mem.SwapUsed())
		require.Zero(rt, m.sys.isolated.Len())
	})
}
