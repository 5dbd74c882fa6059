// SPDX-License-Identifier: MIT

package mm

import (
	"slices"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnUnmapMapping = sim.NewFunc("unmap_mapping_range", "start", "end", "even_cows")
	fnMkclean      = sim.NewFunc("folio_mkclean", "start", "end")
)

// mapped returns the VMAs that show any of the pages [off,end) of the file. The
// list is the caller's: while it goes through it, VMAs may come, go and change,
// so it asks shows before each use and again after each scheduling point.
//
// Kernel: vma_interval_tree_foreach, include/linux/mm.h, which goes by the offset
// of the VMA; mappings with the same one come in the order of their address
// spaces here.
func (f *File) mapped(off, end uint64) []*VMA {
	var out []*VMA
	for _, v := range f.mappings {
		if v.Pgoff < end && v.Pgoff+v.Len() > off {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b *VMA) int {
		for _, d := range [...][2]uint64{{a.Pgoff, b.Pgoff}, {uint64(a.mm.id), uint64(b.mm.id)}, {a.Start, b.Start}} {
			if d[0] != d[1] {
				if d[0] < d[1] {
					return -1
				}
				return 1
			}
		}
		return 0
	})
	return out
}

// shows returns the pages [lo,hi) of the VMA that show [off,end) of the file; none
// when it maps the file no more.
func (v *VMA) shows(f *File, off, end uint64) (lo, hi uint64) {
	if v.File != f || v.Pgoff >= end || v.Pgoff+v.Len() <= off {
		return 0, 0
	}
	lo, hi = v.Start, v.End
	if off > v.Pgoff {
		lo += off - v.Pgoff
	}
	if n := end - v.Pgoff; n < v.Len() {
		hi = v.Start + n
	}
	return lo, hi
}

// endOfFile returns the page behind the last one of the VMA that can be faulted
// in, as far as the file goes.
func (v *VMA) endOfFile() uint64 {
	switch {
	case v.File == nil || !v.File.sized:
		return EndOfSpace
	case v.File.endPage() <= v.Pgoff:
		return v.Start
	}
	return v.Start + min(v.File.endPage()-v.Pgoff, EndOfSpace-v.Start)
}

// unmapMappingRange removes pages [off,end) of the file from every mapping, with
// one CLEAR window for each VMA; with evenCows also the private copies of them.
//
// Kernel: unmap_mapping_range, mm/memory.c.
func (sys *System) unmapMappingRange(t *sim.Task, f *File, off, end uint64, evenCows bool) {
	cows := uint64(0)
	if evenCows {
		cows = 1
	}
	t.Log(fnUnmapMapping, off<<PageShift, end<<PageShift, cows)
	for _, v := range f.mapped(off, end) {
		lo, hi := v.shows(f, off, end)
		if lo >= hi {
			continue
		}
		w := v.mm.openWindow(t, EventClear, lo, hi)
		v.zapFilePages(t, f, off, end, evenCows)
		v.mm.closeWindow(t, w)
	}
}

// zapFilePages removes the entries of the VMA that show [off,end) of the file.
//
// Preconditions: a window is open over them.
//
// Kernel: zap_pte_range with zap_details, mm/memory.c.
func (v *VMA) zapFilePages(t *sim.Task, f *File, off, end uint64, evenCows bool) {
	mm := v.mm
	lo, hi := v.shows(f, off, end)
	for i := lo; i < hi; {
		r, ok := mm.next(t, i, hi)
		if !ok {
			return
		}
		i = r.Lo
		n := min(r.Hi, hi) - i
		if t.Preemptive() {
			n = 1
		}
		t.Write(&mm.ptObj, i, i+n)
		if a, b := v.shows(f, off, end); i < a || i+n > b {
			return // the mapping has changed: whoever did it zaps, or looks for what is left
		}
		p, n := mm.runAt(i, n)
		if !p.none() && (evenCows || !p.anon() && !p.swap()) {
			mm.dropPTEs(i, i+n, p)
			t.Log(fnZap, i<<PageShift, (i+n)<<PageShift, 0)
		}
		i += n
	}
}

// maps returns the page of the VMA that maps frame pfn as page off of the file,
// and its entry, 0 when it does not.
func (v *VMA) maps(f *File, off uint64, pfn phys.PFN) (vpn uint64, p PTE) {
	lo, hi := v.shows(f, off, off+1)
	if lo >= hi {
		return 0, 0
	}
	if p = v.mm.PTEAt(lo); !p.Present() || p.anon() || p.Frame() != pfn {
		return 0, 0
	}
	return lo, p
}

// reclaimFilePages takes up to n file pages, mapped from lo on with the entry p,
// away from every page table and out of memory. It returns the number freed.
//
// Kernel: shrink_folio_list for file folios, mm/vmscan.c.
func (mm *MM) reclaimFilePages(t *sim.Task, v *VMA, lo, n uint64, p PTE) uint64 {
	f, off := v.File, v.pgoff(lo)
	if f.Shmem && mm.sys.Mem.SwapFree() == 0 {
		return 0
	}
	if e, k := f.cached(off, n); e.Frame() != p.Frame() || e.swap() {
		return 0
	} else if n = mm.sys.runWithCount(p.Frame(), k, 2); n == 0 {
		return mm.sys.reclaimSharedFilePage(t, f, off, p.Frame())
	}
	if mm.replaceMapped(t, lo, n, p, 0) == 0 {
		return 0
	}
	return mm.sys.dropCached(t, f, off, n, p.Frame())
}

// reclaimSharedFilePage reclaims a page that several page tables map, unless one
// of them has used it lately or locks it.
//
// Kernel: folio_check_references, mm/vmscan.c, and try_to_unmap, mm/rmap.c.
func (sys *System) reclaimSharedFilePage(t *sim.Task, f *File, off uint64, pfn phys.PFN) uint64 {
	vmas := f.mapped(off, off+1)
	used := false
	for _, v := range vmas {
		vpn, p := v.maps(f, off, pfn)
		switch {
		case p.none():
		case v.Flags&VMLocked != 0:
			return 0
		case p&PTEYoung != 0:
			used = true
			v.mm.pt.Update(vpn, vpn+1, func(e uint64) uint64 { return e &^ uint64(PTEYoung) })
		}
	}
	if used {
		return 0
	}
	for _, v := range vmas {
		if vpn, p := v.maps(f, off, pfn); !p.none() {
			v.mm.replaceMapped(t, vpn, 1, p, 0)
		}
	}
	return sys.dropCached(t, f, off, 1, pfn)
}

// mkclean makes n pages of the file from off on read-only and clean in every
// shared mapping, with a PROTECTION_PAGE window for each page that is watched.
//
// Kernel: folio_mkclean, mm/rmap.c.
func (sys *System) mkclean(t *sim.Task, f *File, off, n uint64) {
	for _, v := range f.mapped(off, off+n) {
		lo, hi := v.shows(f, off, off+n)
		if lo >= hi || v.private() {
			continue
		}
		var w *NotifierRange
		if v.mm.watched(t, lo, hi) {
			w = v.mm.openWindow(t, EventProtectionPage, lo, hi)
		}
		t.Write(&v.mm.ptObj, lo, hi)
		if a, b := v.shows(f, off, off+n); a == lo && b == hi {
			v.mm.pt.Update(lo, hi, func(e uint64) uint64 { return e &^ uint64(PTEWrite|PTEDirty) })
			v.mm.changed(lo, hi)
			t.Log(fnMkclean, lo<<PageShift, hi<<PageShift, 0)
		}
		v.mm.closeWindow(t, w)
	}
}
