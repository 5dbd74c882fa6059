// SPDX-License-Identifier: MIT

package mm

import "github.com/kfdsim/kfdsim/model/phys"

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
	var vmas []*VMA
	if f.anon != nil {
		vmas = f.anon.vmas
	} else if f.file != nil {
		vmas = f.file.mappings
	}
	var found []mapping
	for _, v := range vmas {
		if f.index < v.Pgoff || f.index >= v.Pgoff+v.Len() {
			continue
		}
		vpn := v.Start + (f.index - v.Pgoff)
		if t := sys.Sim.Current(); t != nil {
			v.mm.looked(t, vpn, vpn+1)
		}
		if is(v.mm.PTEAt(vpn), f.pfn) {
			found = append(found, mapping{v, vpn})
		}
	}
	return found
}

// rmapWalkKSM looks for a merged page in every address space, as there is no list
// of the places where it was merged.
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

// cacheRefs returns how many references the page cache holds on the page: 1 or 0.
func (sys *System) cacheRefs(f *folio) uint64 {
	if f.file != nil {
		if e, ok := f.file.cache.Get(f.index); ok && !PTE(e).swap() && PTE(e).Frame() == f.pfn {
			return 1
		}
	}
	return 0
}
