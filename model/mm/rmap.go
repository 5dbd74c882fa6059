// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// folio is a page as the reverse map knows it: a frame and what leads to every
// place where it is mapped.
//
// Kernel: struct folio with its mapping and index, include/linux/mm_types.h.
type folio struct {
	pfn   phys.PFN
	anon  *AnonVMA // of anonymous pages; of merged ones any of their families
	file  *File    // of others
	index uint64   // in the family or the file
	ksm   bool     // mapped at any index of any family
}

// folioOf returns the page behind the present entry p at page vpn of a VMA.
func folioOf(v *VMA, vpn uint64, p PTE) folio {
	f := folio{pfn: p.Frame(), index: v.pgoff(vpn), ksm: p.ksm()}
	if p.anon() {
		f.anon = v.AnonVMA
	} else {
		f.file = v.File
	}
	return f
}

// mapping is a place where a page is mapped.
type mapping struct {
	v   *VMA
	vpn uint64
}

// maps says whether p is a present entry for the frame.
func (p PTE) maps(pfn phys.PFN) bool { return p.Present() && !p.zero() && p.Frame() == pfn }

// awaits says whether p is the migration entry that stands for the frame.
func (p PTE) awaits(pfn phys.PFN) bool { return p.migration() && p.Frame() == pfn }

// rmapWalk returns where entries are that is holds for: of the VMAs in which the
// page can be mapped, one page each. There is no scheduling point in it, so the
// answer is right at the moment when it returns.
//
// Kernel: rmap_walk, mm/rmap.c.
func (sys *System) rmapWalk(f *folio, is func(p PTE, pfn phys.PFN) bool) []mapping {
	if f.ksm {
		return sys.rmapWalkKSM(f, is)
	}
	sys.familySeen()
	var found []mapping
	for _, m := range f.places() {
		if t := sys.Sim.Current(); t != nil {
			m.v.mm.looked(t, m.vpn, m.vpn+1)
		}
		if is(m.v.mm.PTEAt(m.vpn), f.pfn) {
			found = append(found, m)
		}
	}
	return found
}

// places returns where the VMAs are that could map the page by its index.
func (f *folio) places() (out []mapping) {
	var vmas []*VMA
	if f.anon != nil {
		vmas = f.anon.vmas
	} else if f.file != nil {
		vmas = f.file.mappings
	}
	for _, v := range vmas {
		if f.index >= v.Pgoff && f.index < v.Pgoff+v.Len() {
			out = append(out, mapping{v, v.Start + (f.index - v.Pgoff)})
		}
	}
	return out
}

// rmapWalkKSM looks for a merged page in every address space, as there is no list
// of the places where it was merged (model/FIDELITY.md F3).
//
// Kernel: rmap_walk_ksm, mm/ksm.c.
func (sys *System) rmapWalkKSM(f *folio, is func(p PTE, pfn phys.PFN) bool) []mapping {
	var found []mapping
	for _, mm := range sys.mms {
		for it := mm.pt.Iter(0, EndOfSpace); it.Next(); {
			r, first := it.Run, PTE(it.Run.V)
			if !first.ksm() || first.Frame() > f.pfn || r.Stride == 0 && first.Frame() != f.pfn {
				continue
			}
			lo, hi := r.Lo, r.Hi
			if r.Stride == 1 {
				lo += uint64(f.pfn - first.Frame())
				hi = min(hi, lo+1)
			}
			for vpn := lo; vpn < hi; vpn++ {
				if v := mm.vmaAt(vpn); v != nil && is(PTE(r.At(vpn)), f.pfn) {
					found = append(found, mapping{v, vpn})
				}
			}
		}
	}
	return found
}

// mappedShared says whether the page has more mappings than one.
//
// Kernel: folio_likely_mapped_shared, include/linux/mm.h.
func (sys *System) mappedShared(f *folio) bool {
	others := sys.cacheRefs(f)
	if !sys.isolated.Empty(uint64(f.pfn), uint64(f.pfn)+1) {
		others++ // who isolated it
	}
	return uint64(sys.Mem.Frame(f.pfn).Count) > 1+others
}

// cacheRefs returns how many references the page cache or the swap cache holds on the
// page: 1 or 0.
func (sys *System) cacheRefs(f *folio) uint64 {
	if f.file != nil {
		if e, ok := f.file.cache.Get(f.index); ok && !PTE(e).swap() && PTE(e).Frame() == f.pfn {
			return 1
		}
	} else if _, cached := sys.cachedSlot(f.pfn); cached {
		return 1
	}
	return 0
}

// unmapVisited swaps one anonymous page out, wherever it is mapped, in a window for
// every place that the walk visits until then.
//
// Kernel: try_to_unmap, mm/rmap.c.
func (mm *MM) unmapVisited(t *sim.Task, f *folio) uint64 {
	sys := mm.sys
	for _, m := range sys.rmapWalk(f, PTE.maps) {
		if m.v.Flags&VMLocked != 0 || m.v.mm.PTEAt(m.vpn).huge() {
			return 0
		}
	}
	slot, n := sys.Mem.SwapAlloc(1)
	if n == 0 {
		return 0
	}
	freed := uint64(0)
	for i, m := range sys.rmapVisits(f) {
		q := m.v.mm.PTEAt(m.vpn)
		switch {
		case i > 0 && len(sys.rmapWalk(f, PTE.maps)) == 0:
			continue
		case !q.maps(f.pfn):
			m.visitWindow(t)
			continue
		case freed > 0 && q.Writable():
			continue // as in unmapSharedPage
		}
		sys.Mem.SwapGet(slot, 1)
		if m.v.mm.replaceMapped(t, m.vpn, 1, q, PTESwap|PTE(slot)) == 0 {
			sys.Mem.SwapPut(slot, 1)
			continue
		}
		freed = 1
		sys.Counts.PagesSwapOut++
	}
	sys.putSlots(slot, 1)
	return freed
}
