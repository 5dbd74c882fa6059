// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Huge pages. A PMD that maps 2 MiB is 512 entries with the flag PTEHuge: an
// aligned table whose frames follow each other from an aligned frame on, all with
// the same flags. So huge memory is runs like all other memory, and a gigabyte of
// it is one run.
//
// That all 512 entries say the same is the rule of this file. Whoever changes
// entries therefore either widens the change to whole huge pages (PTE.whole: what
// hardware does to the one PMD) or goes by pmdRange, which splits what sticks out.

const (
	// PTEHuge marks the entries of a huge page.
	PTEHuge PTE = 1 << 63

	// hugePages is the size of a huge page in pages (HPAGE_PMD_NR).
	hugePages = 1 << pmdShift
	// hugeOrder is what hmm_range_fault reports (HPAGE_PMD_ORDER).
	hugeOrder = pmdShift
)

// Values of MM.tables: what exists for 2 MiB of addresses.
const (
	tablePTE = 1 // a page table
	tablePMD = 2 // only the PMD, which maps a huge page or nothing
)

// THPMode says who gets huge pages.
//
// Kernel: /sys/kernel/mm/transparent_hugepage/enabled.
type THPMode uint8

// Modes of huge pages.
const (
	THPMadvise THPMode = iota // VMAs with MADV_HUGEPAGE
	THPAlways                 // and all without MADV_NOHUGEPAGE
	THPNever
)

var (
	fnHugeFault = sim.NewFunc("do_huge_pmd_anonymous_page", "start", "end", "write")
	fnHugeWP    = sim.NewFunc("do_huge_pmd_wp_page", "start", "end")
	fnSplitPMD  = sim.NewFunc("__split_huge_pmd", "start", "end")
	fnSplit     = sim.NewFunc("split_folio", "start", "end")
)

func (p PTE) huge() bool { return p&PTEHuge != 0 }

func hugeFloor(vpn uint64) uint64 { return vpn &^ (hugePages - 1) }
func hugeCeil(vpn uint64) uint64  { return (vpn + hugePages - 1) &^ (hugePages - 1) }

// whole widens [lo,hi), all of which have the flags of p, to whole huge pages if p
// is of one.
func (p PTE) whole(lo, hi uint64) (uint64, uint64) {
	if p.huge() {
		return hugeFloor(lo), hugeCeil(hi)
	}
	return lo, hi
}

// back returns the entry n pages before the one with the entry p in the same run.
func (p PTE) back(n uint64) PTE { return p - PTE(n*p.stride()) }

// thpAllowed says whether the VMA may get huge pages without asking for each.
//
// Kernel: thp_vma_allowable_order with TVA_ENFORCE_SYSFS, include/linux/huge_mm.h.
func (v *VMA) thpAllowed() bool {
	if !v.anonymous() || v.Flags&VMNoHugePage != 0 {
		return false
	}
	switch v.mm.sys.cfg.THP {
	case THPAlways:
		return true
	case THPMadvise:
		return v.Flags&VMHugePage != 0
	}
	return false
}

// allocHuge allocates a run of huge pages, at most limit pages, zeroed. It
// reclaims nothing: n is 0 when there is none (model/FIDELITY.md M-THP).
//
// Kernel: vma_alloc_folio with HPAGE_PMD_ORDER.
func (sys *System) allocHuge(t *sim.Task, limit uint64) (pfn phys.PFN, n uint64) {
	pfn, n = sys.Mem.AllocAlignedRun(-1, hugePages, limit)
	sys.large.Set(uint64(pfn), uint64(pfn)+n, 0, 0)
	if n > 0 && sys.Mem.Free() < sys.kswapd.low {
		sys.kswapd.wakeup(t)
	}
	return pfn, n
}

// smallRun returns how many frames from pfn on, at most n, are no part of a huge
// page. Such a part is never used again by itself when a write finds it shared once,
// whoever maps it still.
//
// Kernel: folio_test_large in wp_can_reuse_anon_folio, mm/memory.c.
func (sys *System) smallRun(pfn phys.PFN, n uint64) uint64 {
	if r, ok := sys.large.Next(uint64(pfn)); ok && r.Lo < uint64(pfn)+n {
		return max(r.Lo, uint64(pfn)) - uint64(pfn)
	}
	return n
}

// small says that n frames from pfn on are no part of a huge page.
func (sys *System) small(pfn phys.PFN, n uint64) {
	if sys.large.Len() > 0 {
		sys.large.Clear(uint64(pfn), uint64(pfn)+n)
	}
}

// hugeHole returns the huge pages [a,end) that a fault of [lo,hi) may make, a
// being the one around lo: wholly in the VMA, without entries and without page
// tables. a is end when there are none.
//
// Kernel: pmd_none and thp_vma_suitable_order in __handle_mm_fault, mm/memory.c.
func (mm *MM) hugeHole(v *VMA, lo, hi uint64) (a, end uint64) {
	a = hugeFloor(lo)
	end = min(hugeCeil(hi), hugeFloor(v.End))
	if a < v.Start || end <= a || !mm.pt.Empty(a, lo+1) {
		return a, a
	}
	if r, ok := mm.pt.Next(lo); ok {
		end = min(end, hugeFloor(r.Lo))
	}
	for b := a >> pmdShift; b<<pmdShift < end; {
		r, ok := mm.tables.Next(b)
		if !ok || r.V == tablePTE {
			if ok {
				end = min(end, r.Lo<<pmdShift)
			}
			break
		}
		b = r.Hi
	}
	return a, max(a, end)
}

// doHugePMDAnonymousPage maps huge pages where nothing is mapped: the huge zero
// page for a read (the zero page repeated: model/FIDELITY.md M-HUGEZERO), fresh
// frames for a write. It returns how many pages from lo on are done, or else how
// many are for small pages; neither means that something changed meanwhile.
//
// Kernel: do_huge_pmd_anonymous_page.
func (mm *MM) doHugePMDAnonymousPage(t *sim.Task, v *VMA, lo, hi uint64, write bool) (done, small uint64) {
	a, end := mm.hugeHole(v, lo, hi)
	if a == end {
		return 0, min(hi, a+hugePages) - lo
	}
	v.anonVMAPrepare()
	e, n := zeroPTE, end-a
	if write {
		var pfn phys.PFN
		if pfn, n = mm.sys.allocHuge(t, end-a); n == 0 {
			return 0, hi - lo
		}
		mm.sys.setAnon(v, pfn, n)
		e = anonRW | PTE(pfn)
		end = a + n
	}
	t.Write(&mm.ptObj, a, end)
	if _, now := mm.hugeHole(v, lo, end); now < end {
		if write {
			mm.sys.put(e.Frame(), n)
		}
		return 0, 0
	}
	mm.setPTEs(a, end, e|PTEHuge)
	if write {
		mm.rss += n
	}
	mm.sys.Counts.PagesFaulted += n
	mm.sys.Counts.HugeFaults += n / hugePages
	t.Log(fnHugeFault, a<<PageShift, end<<PageShift, flag(write))
	return end - lo, 0
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// pmdRest returns how many pages from i on, at most to end, the huge page at i has;
// 0 when there is none.
func (mm *MM) pmdRest(i, end uint64) uint64 {
	if !mm.thp || !mm.PTEAt(i).huge() {
		return 0
	}
	return min(end, hugeFloor(i)+hugePages) - i
}

// order is the order that hmm_range_fault reports for the entry.
func (p PTE) order() uint8 {
	if p.huge() {
		return hugeOrder
	}
	return 0
}

// hugePMDFault deals with a fault of [lo,hi), which huge pages map, and returns
// how many pages it finished; 0 means to look again.
//
// Kernel: do_huge_pmd_numa_page, wp_huge_pmd, huge_pmd_set_accessed.
func (mm *MM) hugePMDFault(t *sim.Task, lo, hi uint64, p PTE, write bool) uint64 {
	switch {
	case p&PTEProtNone != 0:
		a, end := p.whole(lo, hi)
		t.Write(&mm.ptObj, a, end)
		mm.pt.Update(a, end, func(e uint64) uint64 { return e &^ uint64(PTEProtNone) })
		mm.changed(a, end)
	case write && !p.Writable():
		return mm.doHugePMDWPPage(t, lo, hi, p)
	default:
		mm.touch(lo, hi, p, write)
	}
	return hi - lo
}

// touch notes an access to [lo,hi), of which p is the first entry.
func (mm *MM) touch(lo, hi uint64, p PTE, write bool) {
	if add := touched(p, write); add != 0 {
		lo, hi = p.whole(lo, hi)
		if t := mm.sys.Sim.Current(); t != nil {
			t.Touch(sim.Access{Object: &mm.ptObj, Lo: lo, Hi: hi, Kind: sim.KindWrite}) // reclaim looks at it
		}
		mm.pt.Update(lo, hi, func(e uint64) uint64 { return e | uint64(add) })
	}
}

// doHugePMDWPPage handles a write to huge pages that are not writable: they are
// reused when nobody else maps any part of them, else the first is split, and the
// fault goes on with its small pages.
//
// Kernel: do_huge_pmd_wp_page.
func (mm *MM) doHugePMDWPPage(t *sim.Task, lo, hi uint64, p PTE) uint64 {
	a, end := p.whole(lo, hi)
	p = p.back(lo - a)
	if n := mm.ownHugePages(p, end-a); n > 0 {
		end = a + n
		t.Write(&mm.ptObj, a, end)
		if q, m := mm.runAt(a, n); q != p || m < n {
			return 0
		}
		mm.setWritable(a, end, PTEExclusive)
		t.Log(fnHugeWP, a<<PageShift, end<<PageShift, 0)
		return end - lo
	}
	mm.splitHugePMD(t, a)
	return 0
}

// ownHugePages returns how many pages of the huge pages from the entry p on, at
// most n, are of this mapping alone.
func (mm *MM) ownHugePages(p PTE, n uint64) uint64 {
	if p.zero() {
		return 0
	}
	return mm.reusable(p, n) &^ (hugePages - 1)
}

// splitHugePMD maps the huge page at page a by small pages, with the same frames
// and access, in a CLEAR window over it. The frames are 512 pages of their own
// from then on (model/FIDELITY.md M-SPLIT).
//
// Kernel: __split_huge_pmd.
func (mm *MM) splitHugePMD(t *sim.Task, a uint64) {
	w := mm.openWindow(t, EventClear, a, a+hugePages)
	t.Write(&mm.ptObj, a, a+hugePages)
	if mm.PTEAt(a).huge() {
		mm.pt.Update(a, a+hugePages, func(e uint64) uint64 { return e &^ uint64(PTEHuge) })
		mm.tables.Set(a>>pmdShift, a>>pmdShift+1, tablePTE, 0)
		mm.sys.Counts.HugeSplits++
		t.Log(fnSplitPMD, a<<PageShift, (a+hugePages)<<PageShift, 0)
	}
	mm.closeWindow(t, w)
}

// splitFolio splits the huge page at page a of v for good, wherever it is mapped:
// in each address space a CLEAR window splits the PMD and another one puts
// migration entries there until that is done everywhere. The model leaves the
// entries as they are (model/FIDELITY.md M-SPLIT).
//
// Kernel: split_folio and try_to_migrate.
func (mm *MM) splitFolio(t *sim.Task, v *VMA, a uint64) {
	head := mm.PTEAt(a).Frame()
	mm.sys.small(head, hugePages)
	t.Log(fnSplit, a<<PageShift, (a+hugePages)<<PageShift, 0)
	idx := v.pgoff(a)
	for _, w := range append([]*VMA(nil), v.AnonVMA.vmas...) {
		if idx < w.Pgoff || idx+hugePages > w.Pgoff+w.Len() {
			continue
		}
		m, at := w.mm, w.Start+(idx-w.Pgoff)
		if p := m.PTEAt(at); !p.huge() || p.Frame() != head {
			continue
		}
		m.splitHugePMD(t, at)
		win := m.openWindow(t, EventClear, at, at+hugePages)
		m.closeWindow(t, win)
	}
}

// pmdRange returns how many pages from i on, at most to hi, are huge pages like
// that with the entry p at i, wholly in [i,hi): what an operation may treat as
// PMDs. A huge page that sticks out is split, and 0 returned: look again.
//
// Kernel: the test of next - addr against HPAGE_PMD_SIZE in zap_pmd_range,
// change_pmd_range and others.
func (mm *MM) pmdRange(t *sim.Task, i, hi uint64, p PTE) uint64 {
	a, end := hugeFloor(i), hugeFloor(hi)
	if a != i || end <= i {
		mm.splitHugePMD(t, a)
		return 0
	}
	n := end - i
	if t.Preemptive() {
		n = hugePages
		t.Write(&mm.ptObj, i, i+n)
	}
	q, n := mm.runAt(i, n)
	if q != p || n < hugePages {
		return 0
	}
	return n
}

// trimHuge prepares [lo,hi) of v for advice that ages pages: a huge page that
// sticks out is split, or left out when others map it, too.
//
// Kernel: madvise_cold_or_pageout_pte_range, madvise_free_huge_pmd.
func (mm *MM) trimHuge(t *sim.Task, v *VMA, lo, hi uint64) (uint64, uint64) {
	if !mm.thp {
		return lo, hi
	}
	if a := hugeFloor(lo); a != lo && !mm.splitOwnHuge(t, v, a) {
		lo = min(a+hugePages, hi)
	}
	if a := hugeFloor(hi); a != hi && a >= lo && !mm.splitOwnHuge(t, v, a) {
		hi = a
	}
	return lo, hi
}

// splitOwnHuge splits the huge page at a, if there is one, unless others map it.
func (mm *MM) splitOwnHuge(t *sim.Task, v *VMA, a uint64) bool {
	p := mm.PTEAt(a)
	if !p.huge() {
		return true
	}
	if mm.ownHugePages(p, hugePages) == 0 {
		return false
	}
	mm.splitFolio(t, v, a)
	return true
}

// splitForMove splits the huge pages of [lo,lo+n) that cannot move to pages to and
// up as they are.
//
// Kernel: move_huge_pmd, and move_page_tables in mm/mremap.c.
func (mm *MM) splitForMove(t *sim.Task, lo, to, n uint64) {
	if !mm.thp {
		return
	}
	for i := lo; i < lo+n; {
		r, ok := mm.pt.Next(i)
		if !ok || r.Lo >= lo+n {
			return
		}
		if i = r.Lo; !PTE(r.V).huge() {
			i = r.Hi
			continue
		}
		a := hugeFloor(i)
		i = a + hugePages
		b := to + a - lo
		table, _ := mm.tables.Get(b >> pmdShift)
		if a < lo || i > lo+n || b != hugeFloor(b) || table == tablePTE {
			mm.splitHugePMD(t, a)
		}
	}
}

// adjustTransHuge splits the huge page that straddles page at of v, where the VMA
// is about to be cut. The window is there even if what straddles it is small pages
// or nothing, as long as the gigabyte around it has a PMD table.
//
// Kernel: vma_adjust_trans_huge and split_huge_pmd_address.
func (mm *MM) adjustTransHuge(t *sim.Task, v *VMA, at uint64) {
	if a := hugeFloor(at); a != at && a >= v.Start && a+hugePages <= v.End && mm.pudPopulated(a) {
		mm.splitHugePMD(t, a)
	}
}

// pudPopulated says whether a PMD table exists around a page.
func (mm *MM) pudPopulated(vpn uint64) bool {
	return !mm.puds.Empty(vpn>>pudShift, vpn>>pudShift+1)
}
