// SPDX-License-Identifier: MIT

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

func TestWithoutAFlushTheOldPageIsReached(t *testing.T) {
	for name, c := range map[string]struct {
		between func(t *sim.Task, vm *VM, q *Queue)
		want    byte
	}{
		"nothing":          {func(*sim.Task, *VM, *Queue) {}, 0x10},
		"a flush":          {func(t *sim.Task, vm *VM, _ *Queue) { vm.FlushTLB(t) }, 0x20},
		"a preemption":     {func(t *sim.Task, _ *VM, q *Queue) { q.Preempt(t); q.Resume(t) }, 0x20},
		"only a resume":    {func(t *sim.Task, _ *VM, q *Queue) { q.Resume(t) }, 0x10},
		"the planted skip": {func(t *sim.Task, vm *VM, q *Queue) { vm.dev.Planted.SkipFlush = true; q.Preempt(t); q.Resume(t) }, 0x10},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(nil, 64)
			rec := &recorder{}
			m.dev.Watch = rec
			old, fresh := m.frames(t, 1, 0x10), m.frames(t, 1, 0x20)
			m.do(t, func(task *sim.Task) {
				q := m.dev.NewQueue(task, m.vm, 0, false)
				m.vm.UpdateRange(task, 0x100, 0x101, run(old, 1), rw)
				require.Equal(t, pages(0x10), read(task, q, 0x100, 1).Bytes)
				m.vm.UpdateRange(task, 0x100, 0x101, run(fresh, 1), rw)
				c.between(task, m.vm, q)
				require.Equal(t, pages(c.want), read(task, q, 0x100, 1).Bytes)
			})
			require.Len(t, rec.accesses, 2)
		})
	}
}

func TestClearedPagesStayReachableUntilTheFlush(t *testing.T) {
	m := newMachine(nil, 64)
	pfn := m.frames(t, 1, 0x10)
	rec := &recorder{}
	m.dev.Watch = rec
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, false)
		m.vm.UpdateRange(task, 0x100, 0x101, run(pfn, 1), rw)
		read(task, q, 0x100, 1)
		m.vm.ClearRange(task, 0x100, 0x101)
		require.Zero(t, m.vm.PTEAt(0x100))
		// The frame goes to somebody else, who has it for the second time.
		m.mem.Put(pfn, 1)
		again, _ := m.mem.AllocRun(-1, 64)
		require.LessOrEqual(t, again, pfn+64)
		require.False(t, read(task, q, 0x100, 1).Faulted)
		m.vm.FlushTLB(task)
		require.True(t, read(task, q, 0x100, 1).Faulted)
	})
	// What the watcher is told is the generation of the mapping, not of now.
	require.Equal(t, []access{{0x100, pfn, 1, false, 1}, {0x100, pfn, 1, false, 1}}, rec.accesses)
}

func TestFlushIsSkippedWhenNoValidEntryChanged(t *testing.T) {
	m := newMachine(nil, 64)
	pfn := m.frames(t, 4, 0)
	flushes := func() uint64 { return m.dev.Counts.TLBFlushes }
	m.do(t, func(task *sim.Task) {
		m.vm.FlushTLB(task)
		m.vm.UpdateRange(task, 0x100, 0x104, run(pfn, 4), rw)
		m.vm.ClearRange(task, 0x200, 0x300)
		m.vm.FlushTLB(task)
		require.Zero(t, flushes(), "new entries and holes need none")
		m.vm.UpdateRange(task, 0x103, 0x105, run(pfn, 2), rw)
		m.vm.FlushTLB(task)
		require.Equal(t, uint64(1), flushes())
		m.vm.FlushTLB(task)
		require.Equal(t, uint64(1), flushes(), "once is enough")
		m.vm.ClearRange(task, 0x104, 0x105)
		m.vm.FlushTLB(task)
		require.Equal(t, uint64(2), flushes())
	})
}

func TestAFragmentIsCachedAsAWhole(t *testing.T) {
	m := newMachine(nil, 64)
	old, fresh := m.frames(t, 8, 0x10), m.frames(t, 8, 0x20)
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, false)
		m.vm.UpdateRange(task, 0x100, 0x108, run(old, 8), rw)
		read(task, q, 0x105, 1)
		require.Len(t, m.vm.TLBRuns(nil, 0, endOfSpace), 1)
		require.Equal(t, []phys.Run{{Lo: 0x100, Hi: 0x108, V: 1}}, m.vm.TLBGenRuns(nil, 0, endOfSpace))
		m.vm.UpdateRange(task, 0x100, 0x108, run(fresh, 8), rw)
		require.Equal(t, pages(0x10, 0x11), read(task, q, 0x100, 2).Bytes)
	})
	require.Equal(t, uint64(1), m.dev.Counts.TLBFills)
}

func TestATornFragmentReachesWhatWasThere(t *testing.T) {
	m := newMachine(nil, 64)
	pfn := m.frames(t, 8, 0x10)
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, false)
		m.vm.UpdateRange(task, 0x100, 0x108, run(pfn, 8), rw)
		m.vm.ClearRange(task, 0x104, 0x106)
		m.vm.FlushTLB(task)
		read(task, q, 0x100, 1) // its entry still stands for eight pages
		require.Equal(t, pages(0x14), read(task, q, 0x104, 1).Bytes)
	})
}

func TestFillingLeavesStaleEntriesAlone(t *testing.T) {
	m := newMachine(nil, 64)
	old, fresh := m.frames(t, 1, 0x10), m.frames(t, 8, 0x20)
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, false)
		m.vm.UpdateRange(task, 0x103, 0x104, run(old, 1), rw)
		read(task, q, 0x103, 1)
		m.vm.UpdateRange(task, 0x100, 0x108, run(fresh, 8), rw)
		require.Equal(t, pages(0x20, 0x21, 0x22, 0x10, 0x24), read(task, q, 0x100, 5).Bytes)
	})
}

// TestAFlushWaitsForWhatIsInFlight stops a queue between translation and access,
// and then has another task flush.
func TestAFlushWaitsForWhatIsInFlight(t *testing.T) {
	for name, c := range map[string]struct {
		stop  func(t *sim.Task, vm *VM, q *Queue)
		waits bool
	}{
		"flush":       {func(t *sim.Task, vm *VM, _ *Queue) { vm.FlushTLB(t) }, true},
		"light flush": {func(t *sim.Task, vm *VM, _ *Queue) { vm.dev.Planted.LightFlush = true; vm.FlushTLB(t) }, false},
		"preemption":  {func(t *sim.Task, _ *VM, q *Queue) { q.Preempt(t) }, true},
		"destruction": {func(t *sim.Task, _ *VM, q *Queue) { q.Destroy(t) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			var q *Queue
			m := newMachine(script{func(x *sim.Task) bool {
				return x.Name() == "test" && (q == nil || q.inFlight) || x.Name() != "test" && q != nil && !q.inFlight
			}}, 64)
			pfn := m.frames(t, 4, 0x10)
			m.do(t, func(task *sim.Task) {
				m.vm.UpdateRange(task, 0x100, 0x101, run(pfn, 1), rw)
				q = m.dev.NewQueue(task, m.vm, 0, false)
				q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: PageSize})
				for !q.inFlight {
					task.Point()
				}
				m.vm.tlbSeq++ // something changed
				c.stop(task, m.vm, q)
				require.Equal(t, !c.waits, q.inFlight)
				require.Zero(t, m.vm.tlb.ptes.Len())
			})
		})
	}
}

func TestAFlushDoesNotWaitForWhatBeganAfterIt(t *testing.T) {
	var q *Queue
	m := newMachine(script{func(x *sim.Task) bool {
		return x.Name() == "test" == (q == nil || q.inFlight)
	}}, 64)
	pfn := m.frames(t, 4, 0x10)
	m.do(t, func(task *sim.Task) {
		m.vm.UpdateRange(task, 0x100, 0x104, run(pfn, 4), rw)
		q = m.dev.NewQueue(task, m.vm, 0, false)
		f := q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 4 * PageSize})
		for !q.inFlight {
			task.Point()
		}
		m.vm.tlbSeq++
		m.vm.FlushTLB(task)
		require.True(t, q.inFlight, "with its second page")
		require.Equal(t, pages(0x10), f.Bytes)
		f.Wait(task)
	})
}

func TestAccessesAreCutWhereGenerationsDiffer(t *testing.T) {
	m := newMachine(nil, 64)
	pfn := m.frames(t, 4, 0x10)
	for k := phys.PFN(1); k < 4; k++ { // generations 1 2 3 3
		for range min(k, 2) {
			m.mem.Put(pfn+k, 1)
			got, _ := m.mem.AllocRun(-1, 64)
			for got != pfn+k {
				got, _ = m.mem.AllocRun(-1, 1)
			}
		}
	}
	rec := &recorder{}
	m.dev.Watch = rec
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, false)
		m.vm.UpdateRange(task, 0x100, 0x104, run(pfn, 4), rw)
		read(task, q, 0x100, 4)
	})
	told := map[phys.PFN]uint32{}
	for _, a := range rec.accesses {
		for k := range a.n {
			told[a.frame+phys.PFN(k)] = a.gen
		}
	}
	require.Len(t, told, 4)
	for p, gen := range told {
		require.Equal(t, m.mem.Gen(p), gen, "frame %d", p-pfn)
	}
}

// labelled is a chooser that compares what a step has cached with the label that
// the step was chosen by.
type labelled struct {
	*sim.Seeded
	m     *machine
	t     *testing.T
	label sim.Access
	seen  phys.Map
	fills int
}

func (c *labelled) Next(s *sim.Sim, cur *sim.Task, runnable []*sim.Task) *sim.Task {
	for _, r := range c.m.vm.TLBRuns(nil, 0, endOfSpace) {
		for p := r.Lo; p < r.Hi; p++ {
			if v, ok := c.seen.Get(p); ok && v == r.At(p) {
				continue
			}
			c.fills++
			require.Same(c.t, &c.m.vm.ptObj, c.label.Object)
			require.True(c.t, c.label.Lo <= p && p < c.label.Hi, "page %#x cached by a step for [%#x,%#x)", p, c.label.Lo, c.label.Hi)
		}
	}
	c.seen.Clear(0, endOfSpace)
	for _, r := range c.m.vm.TLBRuns(nil, 0, endOfSpace) {
		c.seen.Set(r.Lo, r.Hi, r.V, r.Stride)
	}
	next := c.Seeded.Next(s, cur, runnable)
	c.label = next.Next()
	return next
}

func TestAStepCachesOnlyWhatItsLabelSays(t *testing.T) {
	fills := 0
	for seed := range uint64(100) {
		c := &labelled{Seeded: sim.NewSeeded(seed), t: t}
		m := newMachine(c, 64)
		c.m = m
		pfn := m.frames(t, 16, 0)
		m.do(t, func(task *sim.Task) {
			q := m.dev.NewQueue(task, m.vm, 0, false)
			m.vm.UpdateRange(task, 0x100, 0x110, run(pfn, 16), rw)
			f := q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 16 * PageSize})
			for lo := uint64(0x100); lo < 0x110; lo += 4 {
				for n := uint64(1); n <= 4; n *= 2 {
					m.vm.UpdateRange(task, lo, lo+n, run(pfn+8, n), rw)
					m.vm.FlushTLB(task)
				}
			}
			f.Wait(task)
		})
		fills += c.fills
	}
	require.Positive(t, fills)
}
