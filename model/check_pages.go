// SPDX-License-Identifier: MIT

package model

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// source says who claims that a GPU page is a certain frame.
type source uint8

const (
	byTable  source = iota // a page table entry of a VM whose queues run
	byTLB                  // a cached translation of such a VM
	byAccess               // a queue that is reaching the page
	byArray                // the page array of a BO, at a commit
)

// properties by source, for claims that are wrong.
var pageProperty = [...]string{byTable: "gpu-equals-cpu", byTLB: "tlb-flushed", byAccess: "no-stale-access", byArray: "pages-from-fetch"}

var pageSubject = [...]string{byTable: "running queues can reach ", byTLB: "a cached translation reaches ",
	byAccess: "the GPU reaches ", byArray: "a commit is about to map "}

// claim is that the GPU pages of run are its frames. They all lie in one range of
// one BO.
type claim struct {
	by    source
	vs    *vmState // nil for byArray
	ms    *memState
	k     int
	run   phys.Run // GPU pages; values are GPU PTE words
	write bool     // byAccess: a write
	gen   uint32   // byAccess: generation of all frames
}

// PTEsChanged notes that a GPU page table changed.
func (c *checker) PTEsChanged(vm *gpu.VM, lo, hi uint64) {
	vs := c.vmOf(vm)
	if lo < gpu.ApertureLo {
		vs.dirty.Reset() // the VM is closed: nothing is left
		return
	}
	c.dirtyGPU(vs, lo, hi)
}

// PageTableChanged notes that a CPU page table changed. Where no range is
// registered that is one look into the notifier tree.
func (c *checker) PageTableChanged(m *mm.MM, lo, hi uint64) {
	c.sees(m.PlacedAccess(sim.KindRead))
	m.Notifiers(lo, hi, func(n *mm.IntervalNotifier) bool {
		c.overlaps(n, lo, hi, c.dirtyRange)
		return true
	})
}

// QueuesChanged notes when queues start.
func (c *checker) QueuesChanged(vm *gpu.VM) {
	vs := c.vmOf(vm)
	now := false
	for _, q := range vm.Queues() {
		now = now || !q.Evicted() && !q.Destroyed()
	}
	vs.started = vs.started || now && !vs.running
	vs.running = now
	c.lookAtVM(vs)
}

// Accessed judges an access of a queue at the moment when it happens.
func (c *checker) Accessed(vm *gpu.VM, page uint64, pte gpu.PTE, gen uint32, write bool, n uint64) {
	run := phys.Run{Lo: page, Hi: page + n, V: uint64(pte)}
	if n > 1 {
		run.Stride = 1
	}
	cl := &claim{by: byAccess, vs: c.vmOf(vm), write: write, gen: gen}
	c.judgeRun(cl, run)
	if cl.ms != nil {
		r := &cl.ms.m.Ranges[cl.k]
		lo := r.Start + cl.run.Lo - cl.ms.m.VA - r.Prefix
		c.sees(cl.ms.st.mm.PageAccess(lo, lo+cl.run.Len(), sim.KindRead))
	}
}

// checkVM looks at the dirty pages of a VM. While its queues stand they stay
// dirty: nobody can reach them.
func (c *checker) checkVM(vs *vmState) {
	if !vs.vm.Running() {
		return
	}
	if vs.started {
		vs.started = false
		c.tlbAgrees(vs)
	}
	for it := vs.dirty.Iter(0, phys.MaxPage); it.Next(); {
		c.judgeVM(vs, it.Run.Lo, it.Run.Hi)
	}
	vs.dirty.Clear(0, phys.MaxPage)
}

// judgeVM judges what running queues can reach in GPU pages [lo,hi).
func (c *checker) judgeVM(vs *vmState, lo, hi uint64) {
	c.judgeEntries(&claim{by: byTable, vs: vs}, vs.vm.PTEIter(lo, hi))
	c.judgeEntries(&claim{by: byTLB, vs: vs}, vs.vm.TLBIter(lo, hi))
}

// judgeEntries judges runs of entries. Their fragments, which cut a stretch of
// frames that follow each other into a run for each power of two, do not matter
// here: such a stretch is judged in one.
func (c *checker) judgeEntries(cl *claim, it phys.Iter) {
	var whole phys.Run
	for it.Next() {
		r := it.Run
		p := gpu.PTE(r.V)
		r.V = uint64(p.Flags()) | uint64(p.Frame())
		if follows(whole, r) {
			whole.Hi, whole.Stride = r.Hi, 1
			continue
		}
		if whole.Lo < whole.Hi {
			c.judgeRun(cl, whole)
		}
		whole = r
	}
	if whole.Lo < whole.Hi {
		c.judgeRun(cl, whole)
	}
}

// follows says whether b goes on where a ends, with the frames behind.
func follows(a, b phys.Run) bool {
	ascends := func(r phys.Run) bool { return r.Len() == 1 || r.Stride == 1 }
	return a.Lo < a.Hi && a.Hi == b.Lo && ascends(a) && ascends(b) && b.V == a.V+a.Len()
}

// judgeRun finds the ranges that a run of entries belongs to and judges each
// part.
func (c *checker) judgeRun(cl *claim, run phys.Run) {
	at := run.Lo
	for it := cl.vs.owners.Iter(run.Lo, run.Hi); it.Next(); at = it.Run.Hi {
		if at < it.Run.Lo {
			break
		}
		ms := c.mems[it.Run.V/2]
		cl.ms = ms
		for k := ms.rangeAt(it.Run.Lo - ms.m.VA); k < len(ms.ranges); k++ {
			r := &ms.m.Ranges[k]
			lo := ms.m.VA + r.Prefix
			if lo >= it.Run.Hi {
				break
			}
			cl.k, cl.run = k, run.Clip(max(lo, it.Run.Lo), min(lo+r.Len(), it.Run.Hi))
			if !c.judge(cl) {
				return
			}
		}
	}
	if at < run.Hi {
		c.fail(pageProperty[cl.by], pageSubject[cl.by]+"a page of no BO", fmt.Sprintf("process %s, GPU %d, GPU address %#x, frame %#x",
			cl.vs.vm.Name, cl.vs.vm.Device().ID(), at<<mm.PageShift, run.At(at)&frameMask))
	}
}

// frameMask cuts the frame out of a PTE word, the GPU's or the CPU's.
const frameMask = 1<<40 - 1

// judge compares a claim with the CPU page table; false means that it is wrong.
//
// That needs no look at open windows: the CPU's entries change only after every
// callback of the window has returned. After that no claim may be left.
func (c *checker) judge(cl *claim) bool {
	r, m := &cl.ms.m.Ranges[cl.k], cl.ms.st.mm
	toCPU := r.Start - cl.ms.m.VA - r.Prefix
	lo, hi := cl.run.Lo+toCPU, cl.run.Hi+toCPU
	if len(cl.ms.st.open) > 0 {
		if w, at := cl.ms.st.answered(cl.ms.notifier(cl.k), lo, hi); w != nil {
			name := "no-stale-access"
			if cl.by == byArray {
				name = "pages-from-fetch"
			}
			c.wrong(cl, at-toCPU, name, "a page whose invalidate callback has returned",
				fmt.Sprintf("the %s window over %s is open", w.r.Event, span(w.r.Start, w.r.End)))
			return false
		}
	}
	at := lo
	for it := m.PTEIter(lo, hi); it.Next(); at = it.Run.Hi {
		if at < it.Run.Lo {
			break
		}
		if !c.samePages(cl, it.Run, toCPU) {
			return false
		}
	}
	if at < hi {
		c.wrong(cl, at-toCPU, pageProperty[cl.by], "a page that the CPU has no more", "the CPU has no page")
		return false
	}
	return true
}

// samePages judges the part of a claim that one run of CPU entries answers.
func (c *checker) samePages(cl *claim, cpu phys.Run, toCPU uint64) bool {
	g := cl.run.Clip(cpu.Lo-toCPU, cpu.Hi-toCPU)
	p := mm.PTE(cpu.V)
	name := pageProperty[cl.by]
	if !p.Accessible() {
		c.wrong(cl, g.Lo, name, "a page that the CPU has no more", "the CPU's entry is "+hex(cpu.V))
		return false
	}
	if g.V&frameMask != uint64(p.Frame()) || g.Len() > 1 && g.Stride != cpu.Stride {
		at := g.Lo
		if g.V&frameMask == uint64(p.Frame()) {
			at++
		}
		c.wrong(cl, at, name, "another page than the CPU's", "the CPU has frame "+hex(cpu.At(at+toCPU)&frameMask))
		return false
	}
	if cl.writes(g) && !p.Writable() {
		if cl.by == byTable {
			name = "gpu-write-allowed"
		}
		c.wrong(cl, g.Lo, name, "a page for writing that the CPU may only read", "the CPU's entry is "+hex(cpu.V))
		return false
	}
	return cl.by == byArray || c.sameGenerations(cl, g)
}

// writes says whether a claim is about writing.
func (cl *claim) writes(g phys.Run) bool {
	switch cl.by {
	case byAccess:
		return cl.write
	case byArray:
		return true
	}
	return gpu.PTE(g.V)&gpu.Writeable != 0
}

// sameGenerations says whether the frames of g are still in the hands in which
// they were when the entries were written.
func (c *checker) sameGenerations(cl *claim, g phys.Run) bool {
	frame, mem := phys.PFN(g.V&frameMask), c.sys.Mem
	if g.Stride == 0 {
		return c.generation(cl, g.Lo, g.Hi, mem.Gen(frame))
	}
	for f := range mem.FrameRuns(frame, g.Len()) {
		lo := g.Lo + uint64(f.PFN-frame)
		if !c.generation(cl, lo, lo+f.N, f.Gen) {
			return false
		}
	}
	return true
}

// generation says whether the entries of GPU pages [lo,hi) were written when
// their frames had generation now.
func (c *checker) generation(cl *claim, lo, hi uint64, now uint32) bool {
	var it phys.Iter
	switch cl.by {
	case byAccess:
		if cl.gen == now {
			return true
		}
		c.reused(cl, lo, uint64(cl.gen), now)
		return false
	case byTable:
		it = cl.vs.vm.GenIter(lo, hi)
	default:
		it = cl.vs.vm.TLBGenIter(lo, hi)
	}
	for it.Next() {
		if r := it.Run; r.V != uint64(now) || r.Stride != 0 && r.Len() > 1 {
			c.reused(cl, r.Lo, r.V, now)
			return false
		}
	}
	return true
}

func (c *checker) reused(cl *claim, at, then uint64, now uint32) {
	c.wrong(cl, at, pageProperty[cl.by], "a frame that was freed and given out again",
		fmt.Sprintf("the entry is from generation %d of the frame, which is now in its %d", then, now))
}

// wrong reports a claim that does not hold at one GPU page.
func (c *checker) wrong(cl *claim, page uint64, property, what, detail string) {
	var d *gpu.Device
	if cl.vs != nil {
		d = cl.vs.vm.Device()
	}
	title := pageSubject[cl.by] + what
	if cl.by == byAccess && cl.write {
		title = "the GPU writes " + what
	}
	r := &cl.ms.m.Ranges[cl.k]
	c.fail(property, title, fmt.Sprintf("%s: GPU address %#x (CPU address %#x, range %d at %s) is frame %#x of generation %d; %s",
		c.boDetail(cl.ms, d), page<<mm.PageShift, (page-cl.ms.m.VA-r.Prefix+r.Start)<<mm.PageShift, cl.k,
		span(r.Start, r.End), cl.run.At(page)&frameMask, c.sys.Mem.Gen(phys.PFN(cl.run.At(page)&frameMask)), detail))
}

// tlbAgrees judges what is cached when queues start: it must be what the page
// table says. In a driver that flushes, nothing is cached then.
func (c *checker) tlbAgrees(vs *vmState) {
	for it := vs.vm.TLBIter(0, gpu.ApertureHi); it.Next(); {
		at := it.Run.Lo
		for pt := vs.vm.PTEIter(it.Run.Lo, it.Run.Hi); pt.Next() && at == pt.Run.Lo; at = pt.Run.Hi {
			a, b := it.Run.Clip(pt.Run.Lo, pt.Run.Hi), pt.Run
			x, y := gpu.PTE(a.V), gpu.PTE(b.V)
			if x.Frame() != y.Frame() || x.Flags() != y.Flags() || a.Stride != b.Stride || !c.sameGens(vs, a.Lo, a.Hi) {
				break
			}
		}
		if at < it.Run.Hi {
			c.fail("tlb-flushed", "queues start with a translation cached that the page table has no more",
				fmt.Sprintf("process %s, GPU %d, GPU address %#x: cached %#x, page table %#x", vs.vm.Name, vs.vm.Device().ID(),
					at<<mm.PageShift, it.Run.At(at), uint64(vs.vm.PTEAt(at))))
			return
		}
	}
}

// sameGens says whether cached translations and page table name the same
// generations of the frames of [lo,hi).
func (c *checker) sameGens(vs *vmState, lo, hi uint64) bool {
	for it := vs.vm.TLBGenIter(lo, hi); it.Next(); {
		for pt := vs.vm.GenIter(it.Run.Lo, it.Run.Hi); pt.Next(); {
			if a := it.Run.Clip(pt.Run.Lo, pt.Run.Hi); a.V != pt.Run.V || a.Stride != pt.Run.Stride {
				return false
			}
		}
	}
	return true
}

// Dropping judges the moment before pages are unmapped for DMA: no translation
// may be left that uses them.
func (c *checker) Dropping(r *kfd.UserRange) {
	ms := c.memOf(r.Mem)
	lo := ms.m.VA + r.Prefix
	for _, vs := range ms.vms {
		if it := vs.vm.TLBIter(lo, lo+r.Len()); it.Next() {
			c.fail("tlb-flushed", "pages are unmapped for DMA with a translation cached",
				c.boDetail(ms, vs.vm.Device())+": GPU address "+hex(it.Run.Lo<<mm.PageShift)+" is cached")
			return
		}
		if it := vs.vm.PTEIter(lo, lo+r.Len()); vs.vm.Running() && it.Next() {
			c.fail("dma-mapped", "pages are unmapped for DMA while running queues can reach them",
				c.boDetail(ms, vs.vm.Device())+": GPU address "+hex(it.Run.Lo<<mm.PageShift)+" has an entry")
			return
		}
	}
}

// span prints pages [lo,hi) as byte addresses.
func span(lo, hi uint64) string {
	return fmt.Sprintf("[%#x,%#x)", lo<<mm.PageShift, hi<<mm.PageShift)
}
