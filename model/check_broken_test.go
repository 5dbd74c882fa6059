// SPDX-License-Identifier: MIT

package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// faulty is the batch design with one part replaced.
type faulty struct {
	*batch.Design
	invalidate func(d *faulty, inner mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool
	init       func(d *faulty, t *sim.Task, m *kfd.Mem) errno.Errno
	release    func(d *faulty, t *sim.Task, m *kfd.Mem)
	update     func(d *faulty, t *sim.Task, m *kfd.Mem) errno.Errno
	confirm    func(d *faulty, t *sim.Task, m *kfd.Mem) bool
	mems       []*kfd.Mem
	extra      mm.IntervalNotifier
}

func (d *faulty) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	if d.init != nil {
		return d.init(d, t, m)
	}
	err := d.Design.InitUserPages(t, m)
	d.adopt(m)
	return err
}

// adopt puts the replaced callback before the design's own.
func (d *faulty) adopt(m *kfd.Mem) {
	d.mems = append(d.mems, m)
	for k := range m.Ranges {
		n := &m.Ranges[k].Notifier
		n.Ops = faultyOps{d, n.Ops}
	}
}

func (d *faulty) ReleaseUserPages(t *sim.Task, m *kfd.Mem) {
	if d.release != nil {
		d.release(d, t, m)
		return
	}
	d.Design.ReleaseUserPages(t, m)
}

func (d *faulty) UpdateUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	if d.update != nil {
		return d.update(d, t, m)
	}
	return d.Design.UpdateUserPages(t, m)
}

func (d *faulty) ConfirmUserPagesLocked(t *sim.Task, m *kfd.Mem) bool {
	if d.confirm != nil {
		return d.confirm(d, t, m)
	}
	return d.Design.ConfirmUserPagesLocked(t, m)
}

type faultyOps struct {
	d     *faulty
	inner mm.IntervalNotifierOps
}

func (o faultyOps) Invalidate(t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool {
	if o.d.invalidate != nil {
		return o.d.invalidate(o.d, o.inner, t, n, r, seq)
	}
	return o.inner.Invalidate(t, n, r, seq)
}

// onlySetSeq is a callback that does nothing else.
func onlySetSeq(t *sim.Task, n *mm.IntervalNotifier, seq uint64) {
	info := n.Owner.(*kfd.UserRange).Mem.P.Info
	info.LockNotifier(t)
	n.SetSeq(t, seq)
	info.UnlockNotifier(t)
}

// answer is an update of the worker that is done with a BO, right or wrong.
func answer(t *sim.Task, m *kfd.Mem) {
	m.P.Info.LockNotifier(t)
	m.Invalid = 0
	for k := range m.Ranges {
		m.Ranges[k].Invalid = 0
	}
	m.P.Info.UnlockNotifier(t)
}

func alwaysConfirm(_ *faulty, t *sim.Task, m *kfd.Mem) bool {
	for k := range m.Ranges {
		m.Ranges[k].DropFetch(t)
	}
	return true
}

// registered maps memory and registers two ranges of it, with a page between.
func (m *checkedMachine) registered(t *sim.Task) {
	m.mmap(t, 0, 16)
	m.register(t, gpuBase, area(0, 2), area(4, 2))
}

// broken is a way to break a property.
type broken struct {
	design   faulty
	plant    gpu.Planted
	body     func(m *checkedMachine, d *faulty, t *sim.Task) // after registered
	property string
	seeds    uint64 // random orders to try; 0 is recorded order
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
	"the TLB is not flushed when queues stop": {
		plant: gpu.Planted{SkipFlush: true},
		body:  forkAndWrite, property: "tlb-flushed",
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
	"a mapped range is unregistered": {
		body: func(_ *checkedMachine, d *faulty, t *sim.Task) {
			d.mems[0].Ranges[0].Unregister(t)
		},
		property: "range-watched",
	},
	"a range is unregistered before it is mapped": {
		design: faulty{init: func(d *faulty, t *sim.Task, m *kfd.Mem) errno.Errno {
			err := d.Design.InitUserPages(t, m)
			m.Ranges[1].Unregister(t)
			return err
		}},
		body: freeNothing, property: "range-watched",
	},
	"pages are dropped while queues run": {
		body: func(_ *checkedMachine, d *faulty, _ *sim.Task) {
			d.mems[0].DropRange(&d.mems[0].Ranges[0])
		},
		property: "dma-mapped",
	},
	"pages are dropped while they are cached": {
		body: func(m *checkedMachine, d *faulty, t *sim.Task) {
			m.touch(t, 0, 1)
			d.mems[0].DropRange(&d.mems[0].Ranges[0])
		},
		property: "tlb-flushed",
	},
	"the GPU maps a page of somebody else": {
		body: func(m *checkedMachine, d *faulty, t *sim.Task) {
			pfn, _ := m.sys.Mem.AllocRun(-1, 1)
			writePTE(t, d.mems[0], pfn)
		},
		property: "gpu-equals-cpu",
	},
	"the GPU maps a page that was freed and given out again": {
		body: func(m *checkedMachine, d *faulty, t *sim.Task) {
			n := m.p.Device(1).VM
			old := n.GenAt(d.mems[0].VA)
			frame := n.PTEAt(d.mems[0].VA).Frame()
			for m.sys.Mem.Gen(frame) == old {
				m.sys.Mem.Put(frame, 1)
				m.takeFrame(frame)
			}
			m.touch(t, 0, 1)
		},
		property: "no-stale-access",
	},
	"the GPU maps the zero page for writing": {
		body: func(m *checkedMachine, d *faulty, t *sim.Task) {
			m.mm.Madvise(t, cpuBase, pageSize, mm.MadvDontNeed)
			m.mm.Munmap(t, cpuBase, pageSize)
			t.Sleep(10 * sim.Millisecond)
			m.mm.Mmap(t, cpuBase, pageSize, mm.ProtRead|mm.ProtWrite, mm.MapPrivate|mm.MapAnonymous|mm.MapFixed, nil, 0)
			m.mm.Load(t, nil, cpuBase, 1)
			writePTE(t, d.mems[0], phys.ZeroPFN)
		},
		property: "gpu-write-allowed",
	},
	"the GPU page table has an entry outside of BOs": {
		body: func(m *checkedMachine, d *faulty, t *sim.Task) {
			n := d.mems[0]
			n.Dev.VM.UpdateRange(t, n.VA+100, n.VA+101, []phys.Run{{Lo: 0, Hi: 1, V: 2}}, gpu.Valid|gpu.Readable)
		},
		property: "gpu-equals-cpu",
	},
	"a restore is reported that no eviction came before": {
		body: func(m *checkedMachine, _ *faulty, t *sim.Task) {
			m.drv.SMI = append(m.drv.SMI, kfd.SMIEvent{Kind: kfd.SMIRestore, MM: m.mm.ID(), GPU: 1, Trigger: kfd.TriggerUserptr})
			m.fork(t)
		},
		property: "smi-order",
	},
	"a frame is leaked": {
		body: func(m *checkedMachine, _ *faulty, _ *sim.Task) { m.sys.Mem.AllocRun(-1, 1) }, property: "memory-freed",
	},
	"an address space is leaked": {
		body: func(m *checkedMachine, _ *faulty, _ *sim.Task) { m.mm.Grab() }, property: "mm-freed",
	},
	"pages stay mapped for DMA": {
		body: func(m *checkedMachine, _ *faulty, _ *sim.Task) { m.drv.GPUs[0].DMAMap(100, 1) }, property: "dma-unmapped",
	},
	"a page is unmapped for DMA that is not mapped": {
		body: func(m *checkedMachine, _ *faulty, _ *sim.Task) { m.drv.GPUs[0].DMAUnmap(100, 1) }, property: "dma-balance",
	},
	"a GPU address space is leaked": {
		body: func(m *checkedMachine, _ *faulty, _ *sim.Task) { m.drv.GPUs[0].NewVM("100") }, property: "process-gone",
	},
	"a mutex is taken where nothing may sleep": {
		body: func(m *checkedMachine, _ *faulty, t *sim.Task) {
			t.StartNonBlock()
			m.p.Info.LockNotifier(t)
		},
		property: "might-sleep",
	},
	"a lock is released that is not held": {
		body: func(m *checkedMachine, _ *faulty, t *sim.Task) { m.p.Info.UnlockNotifier(t) }, property: "lockdep",
	},
	"locks are taken in the wrong order": {
		body: func(m *checkedMachine, _ *faulty, t *sim.Task) {
			m.p.Info.LockNotifier(t)
			m.p.Info.Lock(t)
		},
		property: "lock-order",
	},
	"the notifier tree changes during an invalidation": {
		body: func(m *checkedMachine, d *faulty, t *sim.Task) {
			d.invalidate = func(_ *faulty, inner mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool {
				st := m.chk.mmOf(m.mm)
				st.frozen++
				m.chk.judgeNotifiers(st)
				return inner.Invalidate(t, n, r, seq)
			}
			m.fork(t)
		},
		property: "tree-frozen",
	},
	"a window ends that is not open": {
		body: func(m *checkedMachine, _ *faulty, _ *sim.Task) {
			m.chk.Window(m.mm, &mm.NotifierRange{Blockable: true}, false)
		},
		property: "nonblock",
	},
	"a callback follows a refusal": {
		body: func(m *checkedMachine, d *faulty, _ *sim.Task) {
			st, n := m.chk.mmOf(m.mm), &d.mems[0].Ranges[0].Notifier
			w := &mm.NotifierRange{Start: n.Start, End: n.End}
			st.open = append(st.open, &window{r: w})
			m.chk.Invalidating(n, w)
			m.chk.Invalidated(n, w, 0, false)
			m.chk.Invalidating(n, w)
			st.open = nil
		},
		property: "nonblock",
	},
	"a window is open that the mm does not know": {
		body: func(m *checkedMachine, _ *faulty, _ *sim.Task) {
			m.chk.Window(m.mm, &mm.NotifierRange{Blockable: true}, true)
		},
		property: "seq-parity",
	},
}

func freeNothing(*checkedMachine, *faulty, *sim.Task) {}

// takeFrame takes free frames until it gets one in particular.
func (m *checkedMachine) takeFrame(want phys.PFN) {
	var others []phys.PFN
	for {
		pfn, _ := m.sys.Mem.AllocRun(-1, 1)
		if pfn == want {
			break
		}
		others = append(others, pfn)
	}
	for _, pfn := range others {
		m.sys.Mem.Put(pfn, 1)
	}
}

// writePTE gives the GPU a page for the first page of a BO.
func writePTE(t *sim.Task, m *kfd.Mem, pfn phys.PFN) {
	m.Dev.VM.UpdateRange(t, m.VA, m.VA+1, []phys.Run{{Lo: 0, Hi: 1, V: uint64(pfn)}},
		gpu.Valid|gpu.System|gpu.Snooped|gpu.Readable|gpu.Writeable)
	t.Point()
}

// evictAlways is a callback that does not look where it was hit.
type evictAlways struct{ m *kfd.Mem }

func (o evictAlways) Invalidate(t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool {
	return kfd.InvalidateHSA(t, o.m, n, r, seq, func() {})
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
	for name, b := range brokenDesigns {
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
// or that belong to the end of a run.
var unbreakable = map[string]bool{"evict-paired": true, "restored-running": true, "restore-ends": true}

func TestEveryPropertyCatchesSomething(t *testing.T) {
	caught := map[string]bool{}
	for _, b := range brokenDesigns {
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
