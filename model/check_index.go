// SPDX-License-Identifier: MIT

package model

import (
	"slices"
	"sort"

	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// memState is what is known of a BO.
type memState struct {
	m  *kfd.Mem
	id uint64 // index in checker.mems
	st *mmState

	vms    []*vmState // where it is attached
	ranges []rangeState
	// wide is the notifier that watches all ranges at once, nil where each range
	// has its own.
	wide      *mm.IntervalNotifier
	wideFlags rangeFlags
	byCPU     []cpuRange // of a BO with a wide notifier, by Start; made when needed

	last      int  // where rangeAt found something
	allocated bool // the call that made it has succeeded
	leaving   bool // off its list: nobody maps its pages any more
	gone      bool // freed
}

// rangeState is what is known of a range of a BO.
type rangeState struct {
	hit   uint64       // seq of the last invalidation that reached it
	fetch uint64       // seq with which its last fetch began
	hmm   *mm.HMMRange // the last fetch
	flags rangeFlags
}

type rangeFlags uint8

const (
	rangeInserted rangeFlags = 1 << iota // its own notifier is inserted
	rangeTouched                         // is on mmState.touched
)

// cpuRange is a range in the order of CPU addresses; top is the largest end up to
// and including it.
type cpuRange struct {
	start, end, top uint64
	k               int
}

// memOf returns what is known of a BO, whose first sign of life this may be.
func (c *checker) memOf(m *kfd.Mem) *memState {
	if ms, ok := m.Seen.(*memState); ok {
		return ms
	}
	ms := &memState{m: m, st: c.procOf(m.P), ranges: make([]rangeState, len(m.Ranges))}
	if k := len(c.unused); k > 0 {
		ms.id = c.unused[k-1]
		c.unused = c.unused[:k-1]
		c.mems[ms.id] = ms
	} else {
		ms.id = uint64(len(c.mems))
		c.mems = append(c.mems, ms)
	}
	m.Seen = ms
	ms.st.bos++
	return ms
}

// forget drops a BO that is gone.
func (c *checker) forget(ms *memState) {
	for _, vs := range ms.vms {
		vs.owners.Clear(ms.m.VA, ms.m.VA+ms.m.Size)
		c.dirtyGPU(vs, ms.m.VA, ms.m.VA+ms.m.Size)
	}
	ms.vms, ms.gone = nil, true
	ms.st.bos--
	c.mems[ms.id] = nil
	c.unused = append(c.unused, ms.id)
	ms.m.Seen = nil
}

// rangeAt returns the index of the range that has a page of the BO. As a rule it
// is the one that was asked for last, or the next.
func (ms *memState) rangeAt(page uint64) int {
	r := ms.m.Ranges
	lo, hi := 0, len(r)
	for k := ms.last; k < hi && k <= ms.last+1; k++ {
		if i := page - r[k].Prefix; i < r[k].Len() {
			ms.last = k
			return k
		}
	}
	for hi-lo > 1 {
		if h := int(uint(lo+hi) >> 1); r[h].Prefix <= page {
			lo = h
		} else {
			hi = h
		}
	}
	ms.last = lo
	return lo
}

// notifier returns the notifier that watches a range.
func (ms *memState) notifier(k int) *mm.IntervalNotifier {
	if ms.wide != nil {
		return ms.wide
	}
	return &ms.m.Ranges[k].Notifier
}

// flags returns the flags of the notifier that watches range k, or all for -1.
func (ms *memState) flags(k int) *rangeFlags {
	if k < 0 {
		return &ms.wideFlags
	}
	return &ms.ranges[k].flags
}

// watched returns the BO that a notifier belongs to and, if it watches one range
// only, that range; k is -1 for all of them. nil is a notifier of somebody else.
func (c *checker) watched(n *mm.IntervalNotifier) (ms *memState, k int) {
	switch o := n.Owner.(type) {
	case *kfd.UserRange:
		ms = c.memOf(o.Mem)
		return ms, ms.rangeAt(o.Prefix)
	case *kfd.Mem:
		return c.memOf(o), -1
	}
	return nil, 0
}

// overlaps calls f for every range that n watches and that overlaps the CPU pages
// [lo,hi), with the overlap.
func (c *checker) overlaps(n *mm.IntervalNotifier, lo, hi uint64, f func(ms *memState, k int, lo, hi uint64)) {
	ms, k := c.watched(n)
	switch {
	case ms == nil:
	case k >= 0:
		r := &ms.m.Ranges[k]
		if a, b := max(lo, r.Start), min(hi, r.End); a < b {
			f(ms, k, a, b)
		}
	default:
		ms.sortRanges()
		i := sort.Search(len(ms.byCPU), func(i int) bool { return ms.byCPU[i].top > lo })
		for ; i < len(ms.byCPU) && ms.byCPU[i].start < hi; i++ {
			x := &ms.byCPU[i]
			if a, b := max(lo, x.start), min(hi, x.end); a < b {
				f(ms, x.k, a, b)
			}
		}
	}
}

// sortRanges makes byCPU. Ranges never change, so once is enough.
func (ms *memState) sortRanges() {
	if ms.byCPU != nil {
		return
	}
	for k := range ms.m.Ranges {
		r := &ms.m.Ranges[k]
		ms.byCPU = append(ms.byCPU, cpuRange{start: r.Start, end: r.End, k: k})
	}
	sort.SliceStable(ms.byCPU, func(i, j int) bool { return ms.byCPU[i].start < ms.byCPU[j].start })
	top := uint64(0)
	for i := range ms.byCPU {
		top = max(top, ms.byCPU[i].end)
		ms.byCPU[i].top = top
	}
}

// gpuPage returns the GPU page of a CPU page of a range.
func (ms *memState) gpuPage(k int, vpn uint64) uint64 {
	r := &ms.m.Ranges[k]
	return ms.m.VA + r.Prefix + (vpn - r.Start)
}

// dirtyRange marks CPU pages of a range wherever a GPU has them.
func (c *checker) dirtyRange(ms *memState, k int, lo, hi uint64) {
	c.sees(ms.m.P.MM.PlacedAccess(sim.KindRead))
	g := ms.gpuPage(k, lo)
	for _, vs := range ms.vms {
		c.dirtyGPU(vs, g, g+hi-lo)
		// Whether this is wrong depends on what the GPU has there and on whether its
		// queues run.
		c.sees(vs.vm.PageAccess(g, g+hi-lo, sim.KindRead))
		c.sees(vs.vm.QueueAccess(sim.KindTry))
	}
}

// sees says that what is judged now depends on something that the step itself does
// not touch: an exploration has to know.
func (c *checker) sees(a sim.Access) {
	if t := c.s.Current(); t != nil {
		t.Touch(a)
	}
}

// dirtyGPU marks GPU pages of a VM.
func (c *checker) dirtyGPU(vs *vmState, lo, hi uint64) {
	vs.dirty.Set(lo, hi, 0, 0)
	c.lookAtVM(vs)
}

// touch notes that a range has to be judged at the next commit.
func (c *checker) touch(ms *memState, k int) {
	if rs := &ms.ranges[k]; c.worker && rs.flags&rangeTouched == 0 {
		rs.flags |= rangeTouched
		ms.st.touched = append(ms.st.touched, touched{ms, k})
	}
}

// Placed puts a BO into the index of a VM.
func (c *checker) Placed(m *kfd.Mem, pd *kfd.ProcessDevice) {
	c.sees(m.P.MM.PlacedAccess(sim.KindWrite))
	ms, vs := c.memOf(m), c.vmOf(pd.VM)
	lo, hi := m.VA, m.VA+m.Size
	if !vs.owners.Empty(lo, hi) {
		c.fail("layout", "a BO is mapped over another one", c.boDetail(ms, pd.VM.Device()))
		return
	}
	for k := range ms.ranges {
		if !c.pins && !ms.notifier(k).Inserted() {
			c.fail("range-watched", "a BO is mapped with a range that no notifier watches", c.rangeDetail(ms, k))
			return
		}
	}
	vs.owners.Set(lo, hi, 2*ms.id, 0)
	ms.vms = append(ms.vms, vs)
}

// Unplaced takes a BO out of the index of a VM. An entry that is left belongs to
// nobody then, which the next look at it finds.
func (c *checker) Unplaced(m *kfd.Mem, pd *kfd.ProcessDevice) {
	c.sees(m.P.MM.PlacedAccess(sim.KindWrite))
	ms, vs := c.memOf(m), c.vmOf(pd.VM)
	ms.vms = slices.DeleteFunc(ms.vms, func(x *vmState) bool { return x == vs })
	vs.owners.Clear(m.VA, m.VA+m.Size)
	c.dirtyGPU(vs, m.VA, m.VA+m.Size)
}

// Freeing notes that the worker no longer knows the BO.
func (c *checker) Freeing(m *kfd.Mem) { c.memOf(m).leaving = true }

// boDetail names a BO for a report.
func (c *checker) boDetail(ms *memState, d *gpu.Device) string {
	s := "process " + ms.st.mm.Name + ", BO " + hex(ms.m.Handle())
	if d != nil {
		s += ", GPU " + decimal(d.ID())
	}
	return s + ", GPU addresses " + span(ms.m.VA, ms.m.VA+ms.m.Size)
}
