// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Reclaim of huge pages: they go to swap whole where swap has room for that, and
// are split where it has not, or where only a part is to go.

// shrinkHuge is the part of shrink for the huge page around page i of v: old ones
// are reclaimed, those that were touched, up to page end, get a second chance. It
// returns where the scan goes on.
func (mm *MM) shrinkHuge(t *sim.Task, v *VMA, i, end uint64, p PTE, got *uint64) uint64 {
	a, end := p.whole(i, end)
	if p&PTEYoung != 0 {
		mm.pt.Update(a, end, func(e uint64) uint64 { return e &^ uint64(PTEYoung) })
		return end
	}
	n, split := mm.unmapHuge(t, v, a, p.back(i-a))
	*got += n
	if split {
		return i // its pages one by one
	}
	return a + hugePages
}

// pageOutHuge is the part of pageOutRange for the huge page around page i: one of
// this mapping alone goes to swap, or is split if it sticks out of the range that
// ends at hi. It returns where to go on.
//
// Kernel: madvise_cold_or_pageout_pte_range, mm/madvise.c.
func (mm *MM) pageOutHuge(t *sim.Task, v *VMA, i, hi uint64, p PTE, done *uint64) uint64 {
	a := hugeFloor(i)
	if mm.ownHugePages(p.back(i-a), hugePages) == 0 {
		return a + hugePages
	}
	if a < i || a+hugePages > hi {
		mm.splitFolio(t, v, a)
		return i
	}
	n, split := mm.unmapHuge(t, v, a, p)
	*done += n
	if split {
		return i
	}
	return a + hugePages
}

// lazyFreeHuge marks huge pages of [lo,lo+n), all like the one with the entry p at
// lo, as droppable while they stay clean, and returns how many pages it looked at.
//
// Kernel: madvise_free_huge_pmd.
func (mm *MM) lazyFreeHuge(lo, n uint64, p PTE) uint64 {
	k := mm.ownHugePages(p, n)
	if k == 0 {
		return hugePages
	}
	mm.pt.Update(lo, lo+k, func(e uint64) uint64 { return e&^uint64(PTEDirty|PTEYoung) | uint64(PTELazyFree) })
	return k
}

// unmapHuge takes the huge page at page a, whose entry is p, away from every
// address space that maps any of it: to swap, or nowhere if it is lazily freed and
// clean. It returns the number of pages freed, and whether the huge page was split
// instead because swap has no room for it in one piece.
//
// Kernel: shrink_folio_list and try_to_unmap.
func (mm *MM) unmapHuge(t *sim.Task, v *VMA, a uint64, p PTE) (freed uint64, split bool) {
	if mm.sys.unpinned(p, hugePages) < hugePages {
		return 0, false
	}
	if p&(PTELazyFree|PTEDirty) == PTELazyFree {
		return mm.replaceMapped(t, a, hugePages, p, 0), false
	}
	mem := mm.sys.Mem
	slot, ok := mem.SwapAllocAligned(hugePages)
	if !ok {
		mm.splitFolio(t, v, a)
		return 0, true
	}
	idx := v.pgoff(a)
	for _, w := range append([]*VMA(nil), v.AnonVMA.vmas...) {
		lo, hi := max(idx, w.Pgoff), min(idx+hugePages, w.Pgoff+w.Len())
		if lo < hi && w.Flags&VMLocked == 0 {
			freed += w.mm.swapOutFolio(t, w.Start+lo-w.Pgoff, hi-lo, p.Frame()+phys.PFN(lo-idx), slot+lo-idx)
		}
	}
	mm.sys.putSlots(slot, hugePages)
	return freed, false
}

// swapOutFolio puts n pages from lo on into swap, from slot on, as far as they map
// the frames from pfn on, in one CLEAR window. It returns the number of frames
// freed.
//
// Kernel: try_to_unmap_one.
func (mm *MM) swapOutFolio(t *sim.Task, lo, n uint64, pfn phys.PFN, slot uint64) (freed uint64) {
	if !mm.mapsAny(lo, n, pfn) {
		return 0
	}
	mem := mm.sys.Mem
	w := mm.openWindow(t, EventClear, lo, lo+n)
	t.Write(&mm.ptObj, lo, lo+n)
	for i := lo; i < lo+n; {
		p, k := mm.runAt(i, lo+n-i)
		if at := i - lo; p.Present() && p.Frame() == pfn+phys.PFN(at) {
			mem.SwapOutCopy(slot+at, p.Frame(), k)
			mem.SwapGet(slot+at, k)
			mm.setPTEs(i, i+k, PTESwap|PTE(slot+at))
			freed += mm.sys.put(p.Frame(), k)
			mm.rss -= k
			mm.swapents += k
			mm.sys.Counts.PagesSwapOut += k
		}
		i += k
	}
	t.Log(fnUnmap, lo<<PageShift, (lo+n)<<PageShift, 0)
	mm.closeWindow(t, w)
	return freed
}

// hugeSharer returns a VMA of the family of v that maps the frame of the small page
// vpn as a part of a huge page, and where that begins; nil when there is none.
func (mm *MM) hugeSharer(v *VMA, vpn uint64, p PTE) (w *VMA, a uint64) {
	if !mm.thp {
		return nil, 0
	}
	idx := v.pgoff(vpn)
	for _, w := range v.AnonVMA.vmas {
		if idx < w.Pgoff || idx >= w.Pgoff+w.Len() {
			continue
		}
		at := w.Start + (idx - w.Pgoff)
		if q := w.mm.PTEAt(at); q.huge() && q.Frame() == p.Frame() {
			return w, hugeFloor(at)
		}
	}
	return nil, 0
}

// mapsAny says whether any of the n pages from lo on maps its frame of those from
// pfn on.
func (mm *MM) mapsAny(lo, n uint64, pfn phys.PFN) bool {
	for i := lo; i < lo+n; {
		p, k := mm.runAt(i, lo+n-i)
		if p.Present() && p.Frame() == pfn+phys.PFN(i-lo) {
			return true
		}
		i += k
	}
	return false
}
