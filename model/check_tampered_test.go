// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// brokenMachines break a property behind the back of a correct design.
var brokenMachines = map[string]broken{
	"the TLB is not flushed when queues stop": {
		plant: gpu.Planted{SkipFlush: true},
		body:  forkAndWrite, property: "tlb-flushed",
	},
	"a mapped range is unregistered": {
		body: func(_ *checkedMachine, d *faulty, t *sim.Task) {
			d.mems[0].Ranges[0].Unregister(t)
		},
		property: "range-watched",
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
	return kfd.InvalidateHSA(t, o.m, n, r, seq, func() bool { return true })
}
