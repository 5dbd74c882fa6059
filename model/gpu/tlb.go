// SPDX-License-Identifier: MIT

package gpu

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// The TLB never forgets by itself: it caches every translation ever used until a
// flush. That is the worst case for staleness, and hardware may come to it. An
// entry that is cached is used whatever the page table says by now; entries that
// are not valid are not cached. A whole fragment is cached at once, as its
// first-used entry describes it.

// translation is what one step of a queue got from TLB or page table: entries of
// n pages whose frames follow each other and have the same generation.
type translation struct {
	page uint64
	n    uint64 // pages; 0 is no translation
	pte  PTE    // of the first page
	gen  uint32
}

// translate looks up page in the TLB, filling it from the page table on a miss,
// and takes with it what follows up to end.
//
// Preconditions: a labelled read of ptObj over reach(page).
func (vm *VM) translate(page, end uint64) translation {
	r, ok := runAt(&vm.tlb.ptes, page, end)
	if !ok {
		if !vm.fill(page, end) {
			return translation{}
		}
		r, _ = runAt(&vm.tlb.ptes, page, end)
	}
	tr := translation{page: page, n: r.Len(), pte: PTE(r.V)}
	if r.Stride == 0 || tr.pte.Frame() == phys.ZeroPFN {
		tr.n = 1
	}
	g, _ := runAt(&vm.tlb.gens, page, page+tr.n)
	tr.gen = uint32(g.V)
	if g.Stride == 0 {
		tr.n = g.Len()
	} else {
		tr.n = 1
	}
	return tr
}

// fill caches the entry of page and what it can be cached with up to end. False
// means that there is no entry.
//
// Simplified: model/FIDELITY.md G-TLB.
func (vm *VM) fill(page, end uint64) bool {
	r, ok := runAt(&vm.table.ptes, page, end)
	if !ok {
		return false
	}
	if r.Stride == 0 {
		r.Hi = page + 1 // one frame behind several pages: each is an entry of its own
	}
	lo, hi := page, r.Hi
	if size := uint64(1) << PTE(r.V).Fragment(); size > 1 {
		lo, hi = lo&^(size-1), (hi+size-1)&^(size-1)
		r.V, r.Stride = r.V-(page-lo), 1
	}
	gen, _ := vm.table.gens.Get(page)
	// What is cached already stays as it is, stale or not.
	for p := lo; p < hi; {
		a, b := vm.tlb.ptes.NextGap(p)
		if a >= hi {
			break
		}
		b = min(b, hi)
		v := r.V + (a-lo)*r.Stride
		vm.tlb.ptes.Set(a, b, v, r.Stride)
		vm.fillGens(a, b, v, gen)
		p = b
	}
	vm.dev.Counts.TLBFills++
	return true
}

// fillGens copies the generations of [lo,hi), whose cached entries begin with v,
// beside them. Where the page table disagrees with what was cached (an update tore
// the fragment), the generation of the entry that was used stands for all.
func (vm *VM) fillGens(lo, hi, v, gen uint64) {
	if r, ok := runAt(&vm.table.ptes, lo, hi); !ok || r.Hi != hi || r.V != v {
		vm.tlb.gens.Set(lo, hi, gen, 0)
		return
	}
	for it := vm.table.gens.Iter(lo, hi); it.Next(); {
		vm.tlb.gens.Set(it.Run.Lo, it.Run.Hi, it.Run.V, it.Run.Stride)
	}
}

// reach returns the pages that a translation of page alone may look at or cache.
func (vm *VM) reach(page uint64) (lo, hi uint64) {
	size := uint64(1) << vm.PTEAt(page).Fragment()
	lo = page &^ (size - 1)
	return lo, lo + size
}

// FlushTLB drops every cached translation, if any valid entry was changed since
// the last flush, and waits for accesses that still use one.
//
// Kernel: kfd_flush_tlb, drivers/gpu/drm/amd/amdkfd/kfd_process.c, heavy-weight.
//
// Simplified: model/FIDELITY.md G-FLUSH.
func (vm *VM) FlushTLB(t *sim.Task) {
	t.Write(&vm.ptObj, 0, queueState)
	if vm.flushedSeq == vm.tlbSeq {
		return
	}
	vm.flushedSeq = vm.tlbSeq
	vm.dropTLB()
	t.Log(evFlush, uint64(vm.dev.id), 0, 0)
	if !vm.dev.Planted.LightFlush {
		vm.drain(t)
	}
}

func (vm *VM) dropTLB() {
	vm.tlb.clear(0, endOfSpace)
	vm.dev.Counts.TLBFlushes++
}

// drain waits until no translation that is in use now is in use any more.
func (vm *VM) drain(t *sim.Task) {
	last := vm.pieces
	busy := func() *Queue {
		for _, q := range vm.queues {
			if q.inFlight && q.piece <= last {
				return q
			}
		}
		return nil
	}
	if t.Preemptive() && len(vm.queues) > 0 {
		vm.queues[0].idle.WaitEvent(t, func() bool { return busy() == nil })
	}
	for q := busy(); q != nil; q = busy() {
		piece := q.piece
		q.idle.WaitEvent(t, func() bool { return !q.inFlight || q.piece != piece })
	}
}

// TLBRuns returns the cached translations of [lo,hi) as runs of PTE words,
// appended to dst: what running queues may use whatever the page table says.
func (vm *VM) TLBRuns(dst []phys.Run, lo, hi uint64) []phys.Run {
	return vm.tlb.ptes.AppendRuns(dst, lo, hi)
}

// TLBGenRuns returns the generations beside TLBRuns.
func (vm *VM) TLBGenRuns(dst []phys.Run, lo, hi uint64) []phys.Run {
	return vm.tlb.gens.AppendRuns(dst, lo, hi)
}

// runAt returns the run of m that begins at page, clipped to end.
func runAt(m *phys.Map, page, end uint64) (phys.Run, bool) {
	it := m.Iter(page, end)
	if !it.Next() || it.Run.Lo != page {
		return phys.Run{}, false
	}
	return it.Run, true
}
