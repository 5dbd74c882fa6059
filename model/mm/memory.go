// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnFault    = sim.NewFunc("handle_mm_fault", "start", "end", "write")
	fnWPPage   = sim.NewFunc("do_wp_page", "start", "end", "copied")
	fnSwapIn   = sim.NewFunc("do_swap_page", "start", "end")
	fnZap      = sim.NewFunc("unmap_page_range", "start", "end")
	fnMove     = sim.NewFunc("move_page_tables", "old", "new", "len")
	fnProtect  = sim.NewFunc("change_protection", "start", "end", "flags")
	anonRW     = PTEPresent | PTEWrite | PTEDirty | PTEYoung | PTEAnon | PTEExclusive
	zeroPTE    = PTEPresent | PTEYoung | PTEZero | PTE(phys.ZeroPFN)
	filePTE    = PTEPresent | PTEYoung
	sharedBits = PTEWrite | PTEDirty
)

// step returns how many pages of [i,hi) the next step may cover: all of them
// under a cooperative chooser, one where the order inside the loop matters.
func step(t *sim.Task, i, hi uint64) uint64 {
	if t.Preemptive() {
		return 1
	}
	return hi - i
}

// runAt returns the entry of page i and the number of pages from i, at most n,
// whose entries continue it: the frame or slot advances with the page, except
// the zero page, which repeats (no entry: p is 0).
func (mm *MM) runAt(i, n uint64) (p PTE, pages uint64) {
	r, ok := mm.pt.Next(i)
	switch {
	case !ok || r.Lo >= i+n:
		return 0, n
	case r.Lo > i:
		return 0, r.Lo - i
	}
	p = PTE(r.V)
	if r.Stride != p.stride() {
		return p, 1 // several pages map one frame
	}
	return p, min(n, r.Hi-i)
}

// handleMMFaultRange makes every page of [lo,hi) present, and writable if write
// is set, as if each were touched in order.
//
// Errors: ENOMEM when no frame can be had and nobody can be killed, EHWPOISON for
// a broken page.
//
// Preconditions:
//   - mmapLock is held; [lo,hi) lies in v; v's flags allow the access.
//
// Kernel: handle_mm_fault, mm/memory.c, in a loop.
//
// Simplified: model/FIDELITY.md M-FAULT.
func (mm *MM) handleMMFaultRange(t *sim.Task, v *VMA, lo, hi uint64, write bool) errno.Errno {
	for i := lo; i < hi; {
		n := step(t, i, hi)
		t.Read(&mm.ptObj, i, i+n)
		p, n := mm.runAt(i, n)
		done, err := mm.handlePTEFault(t, v, i, i+n, p, write)
		if err != 0 {
			return err
		}
		i += done
	}
	return 0
}

// handlePTEFault deals with a run of equal entries and returns how many pages it
// finished; 0 means that the entry changed meanwhile.
//
// Kernel: handle_pte_fault, mm/memory.c.
func (mm *MM) handlePTEFault(t *sim.Task, v *VMA, lo, hi uint64, p PTE, write bool) (uint64, errno.Errno) {
	switch {
	case p.huge():
		return mm.hugePMDFault(t, lo, hi, p, write), 0
	case p.none() && v.thpAllowed():
		done, small := mm.doHugePMDAnonymousPage(t, v, lo, hi, write)
		if small == 0 {
			return done, 0
		}
		return mm.doAnonymousPage(t, v, lo, lo+small, write)
	case p.none() && v.anonymous():
		return mm.doAnonymousPage(t, v, lo, hi, write)
	case p.none():
		return mm.doFault(t, v, lo, hi, write)
	case p.swap():
		return mm.doSwapPage(t, v, lo, hi, p, write)
	case p.migration():
		mm.sys.migrationWait(t)
		return 0, 0
	case p.poison():
		return 0, errno.EHWPOISON
	case p&PTEProtNone != 0:
		return mm.doNUMAPage(t, v, lo, hi, p), 0
	case write && !p.Writable():
		return mm.doWPPage(t, v, lo, hi, p)
	}
	mm.touch(lo, hi, p, write)
	return hi - lo, 0
}

// touched returns the flags that an access adds to an entry.
func touched(p PTE, write bool) PTE {
	want := PTEYoung
	if write {
		want |= PTEDirty
	}
	return want &^ p
}

// doAnonymousPage maps the zero page for a read, fresh zeroed frames for a write.
//
// Errors: ENOMEM, EFAULT when the OOM reaper has taken pages of the address space.
//
// Kernel: do_anonymous_page.
func (mm *MM) doAnonymousPage(t *sim.Task, v *VMA, lo, hi uint64, write bool) (uint64, errno.Errno) {
	if !write {
		t.Write(&mm.ptObj, lo, hi)
		if !mm.pt.Empty(lo, hi) {
			return 0, 0
		}
		if mm.oom.unstable {
			return 0, errno.EFAULT
		}
		mm.setPTEs(lo, hi, zeroPTE)
		mm.faulted(t, lo, hi, 0)
		return hi - lo, 0
	}
	v.anonVMAPrepare()
	pfn, n, err := mm.vmaAllocPages(t, v, lo, hi-lo)
	if err != 0 {
		return 0, err
	}
	t.Write(&mm.ptObj, lo, lo+n)
	if !mm.pt.Empty(lo, lo+n) {
		mm.sys.put(pfn, n)
		return 0, 0
	}
	if mm.oom.unstable {
		mm.sys.put(pfn, n)
		return 0, errno.EFAULT
	}
	mm.sys.setAnon(v, pfn, n)
	mm.setPTEs(lo, lo+n, anonRW|PTE(pfn))
	mm.rss += n
	mm.faulted(t, lo, lo+n, 1)
	return n, 0
}

func (mm *MM) faulted(t *sim.Task, lo, hi, write uint64) {
	mm.sys.Counts.PagesFaulted += hi - lo
	t.Log(fnFault, lo<<PageShift, hi<<PageShift, write)
}

// doSwapPage brings pages back from swap. The last user of a slot gets the page
// writable and exclusive; others share it (swapinShared).
//
// Kernel: do_swap_page.
func (mm *MM) doSwapPage(t *sim.Task, v *VMA, lo, hi uint64, p PTE, write bool) (uint64, errno.Errno) {
	mem := mm.sys.Mem
	own := mem.SwapSingle(p.Slot(), hi-lo)
	if own == 0 {
		return mm.swapinShared(t, v, lo, p, write)
	}
	pfn, n, err := mm.vmaAllocPages(t, v, lo, own)
	if err != 0 {
		return 0, err
	}
	t.Write(&mm.ptObj, lo, lo+n)
	if q, m := mm.runAt(lo, n); q != p || m < n || mem.SwapSingle(p.Slot(), n) < n {
		mm.sys.put(pfn, n)
		return 0, 0
	}
	mem.SwapInCopy(pfn, p.Slot(), n)
	v.anonVMAPrepare()
	mm.sys.setAnon(v, pfn, n)
	mem.SwapPut(p.Slot(), n)
	e := PTEPresent | PTEYoung | PTEAnon | PTEExclusive | PTE(pfn)
	if v.Flags&VMWrite != 0 {
		e |= PTEWrite
	}
	if write {
		e |= PTEDirty
	}
	mm.setPTEs(lo, lo+n, e)
	mm.rss += n
	mm.swapents -= n
	mm.sys.Counts.PagesSwapIn += n
	mm.sys.Counts.PagesFaulted += n
	t.Log(fnSwapIn, lo<<PageShift, (lo+n)<<PageShift, 0)
	return n, 0
}

// doWPPage handles a write to pages that are present and not writable: reuse
// what nobody else maps, copy the rest.
//
// Kernel: do_wp_page.
func (mm *MM) doWPPage(t *sim.Task, v *VMA, lo, hi uint64, p PTE) (uint64, errno.Errno) {
	if !v.private() {
		t.Write(&mm.ptObj, lo, hi)
		v.File.markDirty(v.pgoff(lo), hi-lo)
		mm.setWritable(lo, hi, 0)
		return hi - lo, 0
	}
	if p.anon() {
		if n := mm.reusable(p, hi-lo); n > 0 {
			t.Write(&mm.ptObj, lo, lo+n)
			if q, m := mm.runAt(lo, n); q != p || m < n {
				return 0, 0
			}
			if p&PTEExclusive == 0 {
				mm.sys.setAnon(v, p.Frame(), n)
			}
			mm.setWritable(lo, lo+n, PTEExclusive)
			return n, 0
		}
	}
	n := hi - lo
	if mm.watched(t, lo, hi) {
		n = 1
	}
	return mm.wpPageCopy(t, v, lo, n, p)
}

// reusable returns how many pages from the entry p on, at most n, belong to this
// mapping alone.
//
// Kernel: wp_can_reuse_anon_folio.
func (mm *MM) reusable(p PTE, n uint64) uint64 {
	switch {
	case p.ksm():
		return 0
	case p&PTEExclusive != 0:
		return n
	}
	if _, cached := mm.sys.cachedSlot(p.Frame()); cached {
		if mm.sys.Mem.Frame(p.Frame()).Count == 2 && mm.sys.folioFreeSwap(p.Frame()) {
			return 1
		}
		return 0
	}
	if !p.huge() {
		n = mm.sys.smallRun(p.Frame(), n)
	}
	if n == 0 {
		return 0
	}
	return mm.sys.runWithCount(p.Frame(), n, 1)
}

func (mm *MM) setWritable(lo, hi uint64, more PTE) {
	add := uint64(sharedBits | PTEYoung | more)
	mm.pt.Update(lo, hi, func(e uint64) uint64 { return e | add })
	mm.changed(lo, hi)
}

// wpPageCopy replaces n pages from lo on by private copies, in one window.
//
// Kernel: wp_page_copy.
func (mm *MM) wpPageCopy(t *sim.Task, v *VMA, lo, n uint64, p PTE) (uint64, errno.Errno) {
	v.anonVMAPrepare()
	pfn, n, err := mm.vmaAllocPages(t, v, lo, n)
	if err != 0 {
		return 0, err
	}
	mem := mm.sys.Mem
	var w *NotifierRange
	if mm.watched(t, lo, lo+n) {
		w = mm.openWindow(t, EventClear, lo, lo+n)
	}
	t.Write(&mm.ptObj, lo, lo+n)
	if q, m := mm.runAt(lo, n); q.flags()&^PTEYoung != p.flags()&^PTEYoung || q.Frame() != p.Frame() || m < n {
		mm.closeWindow(t, w)
		mm.sys.put(pfn, n)
		return 0, 0
	}
	if p.zero() {
		mm.rss += n
	} else {
		// Not before: the allocation may have reclaimed the page.
		mem.Copy(pfn, p.Frame(), n)
		mm.sys.putFrames(p.Frame(), n)
	}
	mm.sys.setAnon(v, pfn, n)
	mm.setPTEs(lo, lo+n, anonRW|PTE(pfn))
	mm.sys.Counts.COWBreaks += n
	mm.sys.Counts.PagesFaulted += n
	t.Log(fnWPPage, lo<<PageShift, (lo+n)<<PageShift, 1)
	mm.closeWindow(t, w)
	return n, 0
}

// unmapPageRange removes the entries of [lo,hi) and what they refer to.
//
// Preconditions: [lo,hi) lies in v; the caller has a window open over it.
//
// Kernel: unmap_page_range, mm/memory.c.
func (mm *MM) unmapPageRange(t *sim.Task, _ *VMA, lo, hi uint64) {
	for i := lo; i < hi; {
		r, ok := mm.next(t, i, hi)
		if !ok {
			break
		}
		i = r.Lo
		n := min(r.Hi, hi) - i
		if t.Preemptive() {
			n = 1
		}
		t.Write(&mm.ptObj, i, i+n)
		p, n := mm.runAt(i, n)
		if p.huge() {
			n = mm.pmdRange(t, i, hi, p)
		}
		if !p.none() && n > 0 {
			mm.dropPTEs(i, i+n, p)
			t.Log(fnZap, i<<PageShift, (i+n)<<PageShift, 0)
		}
		i += n
	}
}

// dropPTEs clears a run of equal entries and releases frames or slots.
func (mm *MM) dropPTEs(lo, hi uint64, p PTE) {
	n := hi - lo
	mm.clearPTEs(lo, hi)
	mm.sys.Counts.PagesZapped += n
	switch {
	case p.zero(), p.poison():
	case p.swap():
		mm.sys.putSlots(p.Slot(), n)
		mm.swapents -= n
	case p.migration():
		mm.rss -= n // who migrates the page holds the frame
	default:
		mm.sys.putFrames(p.Frame(), n)
		mm.rss -= n
	}
}

// zapPageRangeSingle empties [lo,hi) in a window of its own.
//
// Kernel: zap_page_range_single.
func (mm *MM) zapPageRangeSingle(t *sim.Task, v *VMA, lo, hi uint64) {
	w := mm.openWindow(t, EventClear, lo, hi)
	mm.unmapPageRange(t, v, lo, hi)
	mm.closeWindow(t, w)
}

// freePgtables forgets the page tables of [lo,hi) that no VMA needs any more.
//
// Preconditions: mmapLock held for writing, or the range is detached.
//
// Kernel: free_pgtables, mm/memory.c.
func (mm *MM) freePgtables(lo, hi uint64) {
	floor, ceil := uint64(0), uint64(EndOfSpace)
	if v := mm.prevVMA(lo); v != nil {
		floor = v.End
	}
	if v := mm.FindVMA(hi); v != nil {
		ceil = max(v.Start, hi)
	}
	const mask = 1<<pmdShift - 1
	a := max((floor+mask)>>pmdShift, lo>>pmdShift)
	b := min(ceil>>pmdShift, (hi+mask)>>pmdShift)
	if a < b {
		mm.tables.Clear(a, b)
	}
	const pud = 1<<pudShift - 1
	a = max((floor+pud)>>pudShift, lo>>pudShift)
	b = min(ceil>>pudShift, (hi+pud)>>pudShift)
	if a < b {
		mm.puds.Clear(a, b)
	}
}

// pgdPages is what one top-level entry maps: the kernel opens a window for each.
const pgdPages = 1 << 27

// changeProtection gives the present pages of [lo,hi) the access of newFlags.
// The window begins at the first populated PUD; without page tables there is
// none.
//
// Kernel: change_protection, mm/mprotect.c.
func (mm *MM) changeProtection(t *sim.Task, v *VMA, lo, hi uint64, newFlags VMFlags) {
	for lo < hi {
		end := min(hi, (lo/pgdPages+1)*pgdPages)
		mm.changePUDRange(t, v, lo, end, newFlags)
		lo = end
	}
}

// changePUDRange is changeProtection below one top-level entry.
//
// Kernel: change_pud_range, mm/mprotect.c.
func (mm *MM) changePUDRange(t *sim.Task, v *VMA, lo, hi uint64, newFlags VMFlags) {
	// A PUD is populated when it has a PMD table, be it a neighbour's.
	r, ok := mm.puds.Next(lo >> pudShift)
	if !ok {
		return
	}
	start := lo
	if pud := r.Lo << pudShift; pud > lo {
		start = pud
	}
	if start >= hi {
		return
	}
	w := mm.openWindow(t, EventProtectionVMA, start, hi)
	for i := start; i < hi; {
		run, ok := mm.next(t, i, hi)
		if !ok {
			break
		}
		i = run.Lo
		n := min(run.Hi, hi) - i
		if t.Preemptive() {
			n = 1
		}
		t.Write(&mm.ptObj, i, i+n)
		p, n := mm.runAt(i, n)
		if p.huge() {
			n = mm.pmdRange(t, i, hi, p)
		}
		if newFlags&vmProtNUMA != 0 {
			n = mm.sys.pinnedAlike(p, n)
		}
		if q := protect(v, p, newFlags); q != p && n > 0 {
			mm.setPTEs(i, i+n, q)
		}
		i += n
	}
	t.Log(fnProtect, start<<PageShift, hi<<PageShift, uint64(newFlags))
	mm.closeWindow(t, w)
}

// protect returns the entry with the access of newFlags.
//
// Kernel: change_pte_range and can_change_pte_writable, mm/mprotect.c.
func protect(v *VMA, p PTE, newFlags VMFlags) PTE {
	switch {
	case newFlags&vmProtNUMA != 0:
		return protectNUMA(v, p)
	case p.migration():
		return p &^ PTEWrite
	case !p.Present():
		return p
	}
	p &^= PTEProtNone | PTEWrite
	if newFlags&vmAccess == 0 {
		return p | PTEProtNone
	}
	if newFlags&VMWrite == 0 || p.zero() {
		return p
	}
	if v.private() && p&PTEExclusive != 0 || !v.private() && p&PTEDirty != 0 {
		p |= PTEWrite
	}
	return p
}
