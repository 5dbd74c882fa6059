// SPDX-License-Identifier: MIT

package phys

// AllocAlignedRun is AllocRun for huge pages: the run begins at a multiple of align and is 1 or more times align frames long, at most limit.
// n is 0 when no node in question has such a run, which is not to say that it has fewer than align free frames.
//
// Preconditions: align is a power of two; limit is a multiple of it and not 0; -1 <= node < Nodes().
func (m *Memory) AllocAlignedRun(node int, align, limit uint64) (pfn PFN, n uint64) {
	if align == 0 || align&(align-1) != 0 || limit == 0 || limit%align != 0 {
		panic("BUG: AllocAlignedRun: not a power of two, or no multiple of it")
	}
	first, last := m.nodeSpan(node)
	for k := first; k < last; k++ {
		if lo, got := m.nodes[k].takeAlignedRun(align, limit); got > 0 {
			m.allocated(lo, got)
			return PFN(lo), got
		}
	}
	return 0, 0
}

// SwapAllocAligned gives out exactly n slots that begin at a multiple of n, each with one holder and zeroes in it. ok is false when there
// is no such run.
//
// Preconditions: n is a power of two.
//
// Kernel: folio_alloc_swap for a large folio, mm/swap_slots.c.
func (m *Memory) SwapAllocAligned(n uint64) (slot uint64, ok bool) {
	if n == 0 || n&(n-1) != 0 {
		panic("BUG: SwapAllocAligned: not a power of two")
	}
	if slot, ok = m.swapFree.takeAligned(n, n); ok {
		m.slots.Set(slot, slot+n, uint64(makeWord(0, 0, 1)), 0)
	}
	return slot, ok
}

// takeAlignedRun gives out a run that begins at a multiple of align and has a multiple of align numbers, at most limit; its length is 0
// when there is none. It searches as takeAligned does.
func (p *pool) takeAlignedRun(align, limit uint64) (lo, n uint64) {
	p.free.Set(p.next, p.end, 0, 0)
	p.end = p.next
	for _, from := range [2]uint64{p.next, p.lo} {
		for it := p.free.Iter(from, p.hi); it.Next(); {
			if lo = alignUp(it.Run.Lo, align); lo+align <= it.Run.Hi {
				n = min((it.Run.Hi-lo)&^(align-1), limit)
				p.free.Clear(lo, lo+n)
				return lo, n
			}
		}
	}
	return 0, 0
}
