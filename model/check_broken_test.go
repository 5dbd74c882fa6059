// SPDX-License-Identifier: MIT

package model

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// broken is a way to break a property.
type broken struct {
	design   faulty
	plant    gpu.Planted
	body     func(m *checkedMachine, d *faulty, t *sim.Task) // after registered
	property string
	seeds    uint64 // random orders to try; 0 is recorded order
}

// brokenWays are all ways to break a property.
func brokenWays() map[string]broken {
	all := maps.Clone(brokenDesigns)
	maps.Copy(all, brokenMachines)
	return all
}

// failureOf runs a broken design in one order.
func (b *broken) failureOf(ch sim.Chooser) *sim.Failure {
	d := b.design
	d.Design = batch.New()
	m := newCheckedMachine(&d, ch)
	m.drv.GPUs[0].Planted = b.plant
	return m.run(func(t *sim.Task) {
		m.registered(t)
		b.body(m, &d, t)
	})
}

func TestABrokenDesignIsCaughtByName(t *testing.T) {
	for name, b := range brokenWays() {
		t.Run(name, func(t *testing.T) {
			var f *sim.Failure
			if b.seeds == 0 {
				f = b.failureOf(nil)
			}
			for seed := uint64(0); seed < b.seeds && f == nil; seed++ {
				f = b.failureOf(sim.NewSeeded(seed))
			}
			require.NotNil(t, f)
			t.Logf("%s %s: %s\n%s", f.Verdict, f.Property, f.Title, f.Detail)
			require.Equal(t, b.property, f.Property, "%+v", f)
			require.Equal(t, wordOf(b.property), f.Verdict)
			require.NotRegexp(t, "[0-9]", f.Title, "titles are for de-duplication")
		})
	}
}

// unbreakable are properties that no design can break from outside of the driver,
// or that belong to the end of a run, or that the defects of the table break
// (defects_test.go).
var unbreakable = map[string]bool{"evict-paired": true, "range-tree": true, "restored-running": true, "restore-ends": true}

func TestEveryPropertyCatchesSomething(t *testing.T) {
	caught := map[string]bool{}
	for _, b := range brokenWays() {
		caught[b.property] = true
	}
	for i, p := range Properties() {
		require.True(t, caught[p.Name] != unbreakable[p.Name], p.Name)
		require.Contains(t, []string{"stale", "stuck", "misuse", "leak"}, p.Word, p.Name)
		require.NotEmpty(t, p.Inv, p.Name)
		require.NotEmpty(t, p.Protects, p.Name)
		require.NotEmpty(t, p.Source, p.Name)
		require.True(t, i == 0 || Properties()[i-1].Name < p.Name, "%s: not sorted", p.Name)
	}
}

func forkAndWrite(m *checkedMachine, _ *faulty, t *sim.Task) {
	m.touch(t, 0, 4)
	m.fork(t)
	m.mm.Store(t, cpuBase, 16*pageSize, 0x22)
	m.touch(t, 0, 4)
}

func freeAll(m *checkedMachine, _ *faulty, t *sim.Task) {
	m.fork(t)
	m.unregister(t, 0)
}

// brokenDesigns break a property by what they do.
var brokenDesigns = map[string]broken{
	"the callback forgets set_seq": {
		design: faulty{invalidate: func(_ *faulty, inner mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool {
			return inner.Invalidate(t, n, r, seq-2)
		}},
		body: forkAndWrite, property: "callback-sets-seq",
	},
	"the callback sets the seq without the lock": {
		design: faulty{invalidate: func(_ *faulty, inner mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool {
			n.SetSeq(t, seq)
			return inner.Invalidate(t, n, r, seq)
		}},
		body: forkAndWrite, property: "callback-sets-seq",
	},
	"the callback refuses though it may block": {
		design: faulty{invalidate: func(*faulty, mm.IntervalNotifierOps, *sim.Task, *mm.IntervalNotifier, *mm.NotifierRange, uint64) bool {
			return false
		}},
		body: forkAndWrite, property: "nonblock",
	},
	"the callback does not stop the queues": {
		design: faulty{invalidate: func(_ *faulty, _ mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, _ *mm.NotifierRange, seq uint64) bool {
			onlySetSeq(t, n, seq)
			return true
		}},
		body: forkAndWrite, property: "no-stale-access",
	},
	"the callback starts a queue again": {
		design: faulty{invalidate: func(d *faulty, inner mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool {
			ok := inner.Invalidate(t, n, r, seq)
			d.mems[0].Dev.VM.Queues()[0].Resume(t)
			return ok
		}},
		body: func(m *checkedMachine, _ *faulty, t *sim.Task) {
			m.p.UnmapMemoryFromGPU(t, m.everywhere(m.bos[0]))
			m.fork(t)
		},
		property: "evicted-stopped",
	},
	"an invalidation is counted and no worker runs": {
		design: faulty{invalidate: func(_ *faulty, _ mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, _ *mm.NotifierRange, seq uint64) bool {
			onlySetSeq(t, n, seq)
			n.Owner.(*kfd.UserRange).Mem.Invalid++
			return true
		}},
		body: func(m *checkedMachine, _ *faulty, t *sim.Task) {
			m.p.UnmapMemoryFromGPU(t, m.everywhere(m.bos[0]))
			m.fork(t)
			m.p.CreateQueue(t, kfd.QueueArgs{GPUID: 1})
		},
		property: "valid-list",
	},
	"a commit without read_retry, and callbacks that rely on it": {
		design: faulty{
			invalidate: func(_ *faulty, inner mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool {
				if n.Owner.(*kfd.UserRange).Mem.P.Info.EvictedBOs() > 0 {
					onlySetSeq(t, n, seq)
					return true
				}
				return inner.Invalidate(t, n, r, seq)
			},
			confirm: alwaysConfirm,
		},
		body: func(m *checkedMachine, _ *faulty, t *sim.Task) {
			for range 4 {
				m.mm.Madvise(t, cpuBase, 2*pageSize, mm.MadvDontNeed)
				t.Sleep(sim.Millisecond)
				m.mm.Madvise(t, cpuBase, 2*pageSize, mm.MadvDontNeed)
			}
		},
		property: "pages-from-fetch", seeds: 200,
	},
	"a range that is gone keeps its pages": {
		design: faulty{
			update: func(_ *faulty, t *sim.Task, m *kfd.Mem) errno.Errno {
				for k := range m.Ranges {
					if r := &m.Ranges[k]; r.Invalid != 0 && r.GetUserPages(t) != 0 {
						r.Absent = r.Invalid
					}
				}
				return 0
			},
			confirm: alwaysConfirm,
		},
		body: func(m *checkedMachine, _ *faulty, t *sim.Task) {
			m.mm.Munmap(t, cpuBase+4*pageSize, 2*pageSize)
		},
		property: "pages-from-fetch",
	},
	"a fetch is not written to the page array": {
		design: faulty{
			update: func(_ *faulty, t *sim.Task, m *kfd.Mem) errno.Errno {
				for k := range m.Ranges {
					r := &m.Ranges[k]
					r.DropFetch(t)
					if r.GetUserPages(t) == errno.EAGAIN {
						return errno.EAGAIN
					}
				}
				answer(t, m)
				return 0
			},
			confirm: alwaysConfirm,
		},
		body: func(m *checkedMachine, _ *faulty, t *sim.Task) {
			m.mm.Madvise(t, cpuBase, 2*pageSize, mm.MadvDontNeed)
		},
		property: "pages-from-fetch",
	},
	"a commit skips a range": {
		design: faulty{
			update:  func(*faulty, *sim.Task, *kfd.Mem) errno.Errno { return 0 },
			confirm: alwaysConfirm,
		},
		body: forkAndWrite, property: "commit-atomic",
	},
	"the invalid counter is reset without a fetch": {
		design: faulty{
			update: func(_ *faulty, t *sim.Task, m *kfd.Mem) errno.Errno {
				for k := range m.Ranges {
					m.DropRange(&m.Ranges[k])
				}
				answer(t, m)
				return 0
			},
			confirm: alwaysConfirm,
		},
		body: forkAndWrite, property: "invalid-answered",
	},
	"a notifier is removed twice": {
		design: faulty{release: func(d *faulty, t *sim.Task, m *kfd.Mem) {
			d.Design.ReleaseUserPages(t, m)
			mm.IntervalNotifierRemove(t, &m.Ranges[0].Notifier)
		}},
		body: freeAll, property: "notifier-once",
	},
	"a notifier is leaked": {
		design: faulty{release: func(*faulty, *sim.Task, *kfd.Mem) {}},
		body:   freeAll, property: "notifier-removed",
	},
	"a notifier is left by an error": {
		design: faulty{init: func(d *faulty, t *sim.Task, m *kfd.Mem) errno.Errno {
			for k := range m.Ranges {
				if err := m.Ranges[k].Register(t, faultyOps{d, nil}); err != 0 {
					return err
				}
			}
			return errno.EFAULT
		}},
		body: freeNothing, property: "notifier-removed",
	},
	"a reference is left by an error": {
		design: faulty{init: func(_ *faulty, _ *sim.Task, m *kfd.Mem) errno.Errno {
			m.P.MM.Grab()
			return errno.EFAULT
		}},
		body: freeNothing, property: "error-no-change",
	},
	"a fetch is leaked": {
		design: faulty{release: func(d *faulty, t *sim.Task, m *kfd.Mem) {
			m.Ranges[0].HMM = &mm.HMMRange{Notifier: &m.Ranges[0].Notifier}
			for k := range m.Ranges {
				m.Ranges[k].Unregister(t)
			}
		}},
		body: freeAll, property: "fetch-freed",
	},
	"a fetch is freed twice": {
		design: faulty{release: func(d *faulty, t *sim.Task, m *kfd.Mem) {
			d.Design.ReleaseUserPages(t, m)
			h := &mm.HMMRange{}
			h.Free(t)
			h.Free(t)
		}},
		body: freeAll, property: "fetch-freed-once",
	},
	"a charge is leaked": {
		design: faulty{release: func(d *faulty, t *sim.Task, m *kfd.Mem) {
			d.Design.ReleaseUserPages(t, m)
			m.Size--
		}},
		body: freeAll, property: "limit-sum",
	},
	"the ranges of a BO overlap on the GPU": {
		design: faulty{init: func(d *faulty, t *sim.Task, m *kfd.Mem) errno.Errno {
			err := d.Design.InitUserPages(t, m)
			m.Ranges[1].Prefix--
			return err
		}},
		body: freeNothing, property: "layout",
	},
	"an invalidation in a gap stops the queues": {
		design: faulty{init: func(d *faulty, t *sim.Task, m *kfd.Mem) errno.Errno {
			err := d.Design.InitUserPages(t, m)
			d.extra.Owner = m
			m.P.MM.IntervalNotifierInsert(t, &d.extra, m.Ranges[0].Start, m.Ranges[1].End-m.Ranges[0].Start, evictAlways{m})
			return err
		}},
		body: func(m *checkedMachine, _ *faulty, t *sim.Task) {
			m.mm.Madvise(t, cpuBase+2*pageSize, pageSize, mm.MadvDontNeed)
		},
		property: "gap-quiet",
	},
	"a range is unregistered before it is mapped": {
		design: faulty{init: func(d *faulty, t *sim.Task, m *kfd.Mem) errno.Errno {
			err := d.Design.InitUserPages(t, m)
			m.Ranges[1].Unregister(t)
			return err
		}},
		body: freeNothing, property: "range-watched",
	},
}
