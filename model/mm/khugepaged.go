// SPDX-License-Identifier: MIT

package mm

import (
	"slices"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Limits of khugepaged, in pages of the 512 of a huge page; MADV_COLLAPSE has none.
const (
	khugepagedMaxPTEsSwap   = hugePages / 8
	khugepagedMaxPTEsShared = hugePages / 2
)

var fnCollapse = sim.NewFunc("collapse_huge_page", "start", "end", "result")

// scanResult says what became of an attempt to collapse 2 MiB.
//
// Kernel: enum scan_result, mm/khugepaged.c.
type scanResult uint8

const (
	scanFail scanResult = iota
	scanSucceed
	scanPMDNull
	scanPMDNone
	scanPMDMapped
	scanExceedSwapPTE
	scanExceedSharedPTE
	scanPTENonPresent
	scanPageRO
	scanLackReferencedPage
	scanAllocHugePageFail
	scanAnyProcess
	scanVMANull
	scanAddressRange
	scanVMACheck
	scanPageAnon
	scanPageCount
)

// khugepaged is the kernel task that collapses small pages. It scans when it is
// asked to, not by time (model/FIDELITY.md M-KHUGEPAGED).
type khugepaged struct {
	sys        *System
	task       *sim.Task
	wake, done sim.WaitQueue
	// asked and finished count full scans.
	asked, finished uint64
}

// Khugepaged lets khugepaged scan all address spaces once and waits for it.
func (sys *System) Khugepaged(t *sim.Task) {
	k := &sys.khugepaged
	if k.task == nil {
		k.sys = sys
		k.wake.Init(sys.Sim, "khugepaged_wait")
		k.done.Init(sys.Sim, "khugepaged scan")
		k.task = sys.Sim.GoDaemon("khugepaged", k.loop)
	}
	k.asked++
	round := k.asked
	k.wake.WakeAll(t)
	k.done.WaitEventKillable(t, func() bool { return k.finished >= round })
}

func (k *khugepaged) loop(t *sim.Task) {
	for {
		for k.finished < k.asked {
			round := k.asked
			for _, mm := range append([]*MM(nil), k.sys.mms...) {
				mm.khugepagedScan(t) // one that dies meanwhile has no users
			}
			k.finished = round
			k.done.WakeAll(t)
		}
		t.Rest(func() { k.wake.WaitEvent(t, func() bool { return k.finished < k.asked }) })
	}
}

// khugepagedScan tries every 2 MiB of the address space that khugepaged may
// collapse.
//
// Kernel: khugepaged_scan_mm_slot, which does not wait for mmap_lock.
func (mm *MM) khugepagedScan(t *sim.Task) {
	c := collapse{mm: mm, khugepaged: true}
	for next, more := uint64(0), true; more; {
		mm.mmapLock.RLock(t)
		c.locked = true
		for v := mm.FindVMA(next); c.locked; v = v.next {
			mm.seeUsers(t)
			if v == nil || mm.users == 0 {
				more = false
				break
			}
			if !v.collapsible(true) {
				continue
			}
			for a := max(hugeCeil(v.Start), next); a+hugePages <= v.End && c.locked; a += hugePages {
				next = a + hugePages
				c.scanPMD(t, v, a)
			}
		}
		if c.locked {
			mm.mmapLock.RUnlock(t)
		}
	}
}

// khugepagedExit waits until khugepaged has done with a dying address space.
//
// Kernel: __khugepaged_exit.
func (mm *MM) khugepagedExit(t *sim.Task) {
	if mm.sys.khugepaged.task != nil {
		mm.mmapLock.Lock(t)
		mm.mmapLock.Unlock(t)
	}
}

// collapsible says whether pages of the VMA may become huge ones, when khugepaged
// wants it also whether the mode allows that.
//
// Kernel: __thp_vma_allowable_orders outside of a page fault.
func (v *VMA) collapsible(khugepaged bool) bool {
	if v.Flags&(VMNoHugePage|vmSpecial) != 0 || hugeCeil(v.Start)+hugePages > v.End || !v.anonymous() {
		return false
	}
	return v.AnonVMA != nil && (!khugepaged || v.thpAllowed())
}

// madviseCollapse makes huge pages of the whole 2 MiB pieces of [lo,hi). Files are
// left as they are (model/FIDELITY.md M-COLLAPSE).
//
// Errors: EINVAL (VMA or pages that cannot be collapsed), ENOMEM (no huge page).
//
// Kernel: madvise_collapse.
//
// Preconditions: mmapLock held for reading; it may be released in between.
func (mm *MM) madviseCollapse(t *sim.Task, v *VMA, lo, hi uint64) errno.Errno {
	if !v.anonymous() {
		return einvalIf(v.Flags&(VMNoHugePage|vmSpecial) != 0 || hugeCeil(v.Start)+hugePages > v.End)
	}
	if !v.collapsible(false) {
		return errno.EINVAL
	}
	c := collapse{mm: mm, locked: true}
	last := scanFail
	first, end := hugeCeil(lo), hugeFloor(hi)
	thps, want := uint64(0), (end-first)/hugePages
	for a := first; a < end; a += hugePages {
		if !c.locked {
			mm.mmapLock.RLock(t)
			c.locked = true
			if v, last = c.revalidate(t, a); last != scanSucceed {
				break
			}
			end = min(end, hugeFloor(v.End))
		}
		r := c.scanPMD(t, v, a)
		if r == scanSucceed || r == scanPMDMapped {
			thps++
			continue
		}
		if last = r; !r.goOn() {
			break
		}
	}
	if !c.locked {
		mm.mmapLock.RLock(t)
	}
	if thps == want {
		return 0
	}
	return last.errno()
}

// goOn says whether MADV_COLLAPSE tries the next 2 MiB after the result.
func (r scanResult) goOn() bool {
	switch r {
	case scanPMDNull, scanPTENonPresent, scanPageRO, scanLackReferencedPage, scanPageCount:
		return true
	}
	return false
}

// errno returns what MADV_COLLAPSE says after the result.
//
// Kernel: madvise_collapse_errno.
func (r scanResult) errno() errno.Errno {
	switch r {
	case scanAllocHugePageFail:
		return errno.ENOMEM
	case scanPageCount:
		return errno.EAGAIN
	}
	return errno.EINVAL
}

// collapse is one attempt after the other to make huge pages in an address space.
//
// Kernel: struct collapse_control.
type collapse struct {
	mm         *MM
	khugepaged bool
	locked     bool // mmapLock is held for reading

	runs []phys.Run // entries of the 2 MiB at hand
}

// revalidate finds the VMA of the 2 MiB at a again after mmapLock was released.
//
// Kernel: hugepage_vma_revalidate.
func (c *collapse) revalidate(t *sim.Task, a uint64) (*VMA, scanResult) {
	c.mm.seeUsers(t)
	if c.mm.users == 0 {
		return nil, scanAnyProcess
	}
	v := c.mm.FindVMA(a)
	switch {
	case v == nil:
		return nil, scanVMANull
	case a < v.Start || a+hugePages > v.End:
		return v, scanAddressRange
	case !v.anonymous() || v.AnonVMA == nil:
		return v, scanPageAnon
	case !v.collapsible(c.khugepaged):
		return v, scanVMACheck
	}
	return v, scanSucceed
}

// findPMD says whether there is a page table at a.
//
// Kernel: find_pmd_or_thp_or_none.
func (c *collapse) findPMD(a uint64) scanResult {
	if c.mm.PTEAt(a).huge() {
		return scanPMDMapped
	}
	switch table, _ := c.mm.tables.Get(a >> pmdShift); {
	case table == tablePTE:
		return scanSucceed
	case c.mm.pudPopulated(a):
		return scanPMDNone
	}
	return scanPMDNull
}

// tally is what the entries of 2 MiB are, in pages.
type tally struct {
	swap, shared, referenced uint64
	writable, foreign        bool // foreign: not anonymous
}

// count reads the entries at a into c.runs.
func (c *collapse) count(a uint64) (n tally) {
	c.runs = c.mm.pt.AppendRuns(c.runs[:0], a, a+hugePages)
	for _, r := range c.runs {
		p := PTE(r.V)
		switch {
		case !p.Present():
			n.swap += r.Len()
			continue
		case p.zero():
			continue
		}
		n.foreign = n.foreign || !p.anon()
		n.writable = n.writable || p.Writable()
		n.shared += c.mm.sys.sharedFrames(r)
		if p&PTEYoung != 0 {
			n.referenced += r.Len()
		}
	}
	return n
}

// sharedFrames returns how many pages of a run map frames that others map, too.
func (sys *System) sharedFrames(r phys.Run) uint64 {
	p := PTE(r.V)
	if r.Stride == 0 {
		return r.Len()
	}
	var k uint64
	for f := range sys.Mem.FrameRuns(p.Frame(), r.Len()) {
		if f.Count > 1 {
			k += f.N
		}
	}
	return k
}

// scanPMD looks at the 2 MiB at a of v and collapses them if that makes sense;
// then mmapLock is released.
//
// Kernel: hpage_collapse_scan_pmd.
func (c *collapse) scanPMD(t *sim.Task, v *VMA, a uint64) scanResult {
	t.Read(&c.mm.ptObj, a, a+hugePages)
	if r := c.findPMD(a); r != scanSucceed {
		return r
	}
	n := c.count(a)
	switch {
	case n.foreign:
		return scanPageAnon
	case c.khugepaged && n.swap > khugepagedMaxPTEsSwap:
		return scanExceedSwapPTE
	case c.khugepaged && n.shared > khugepagedMaxPTEsShared:
		return scanExceedSharedPTE
	case !n.writable:
		return scanPageRO
	case c.khugepaged && (n.referenced == 0 || n.swap > 0 && n.referenced < hugePages/2):
		return scanLackReferencedPage
	}
	r := c.collapseHugePage(t, a, n.swap)
	t.Log(fnCollapse, a<<PageShift, (a+hugePages)<<PageShift, uint64(r))
	return r
}

// collapseHugePage replaces the small pages at a by a huge page with the same
// contents. mmapLock is released.
//
// Kernel: collapse_huge_page.
func (c *collapse) collapseHugePage(t *sim.Task, a, swapped uint64) scanResult {
	mm := c.mm
	mm.mmapLock.RUnlock(t)
	c.locked = false
	pfn, n := mm.sys.allocHuge(t, hugePages)
	if n == 0 {
		return scanAllocHugePageFail
	}
	mm.mmapLock.RLock(t)
	v, r := c.revalidate(t, a)
	if r == scanSucceed {
		r = c.findPMD(a)
	}
	if r == scanSucceed && swapped > 0 {
		r = c.swapIn(t, v, a)
	}
	mm.mmapLock.RUnlock(t)
	if r == scanSucceed {
		mm.mmapLock.Lock(t)
		if v, r = c.revalidate(t, a); r == scanSucceed {
			if r = c.findPMD(a); r == scanSucceed {
				r = c.replacePages(t, v, a, pfn)
			}
		}
		mm.mmapLock.Unlock(t)
	}
	if r != scanSucceed {
		mm.sys.put(pfn, hugePages)
	}
	return r
}

// swapIn brings the pages at a back that are in swap.
//
// Kernel: __collapse_huge_page_swapin.
func (c *collapse) swapIn(t *sim.Task, v *VMA, a uint64) scanResult {
	for i := a; i < a+hugePages; {
		p, n := c.mm.runAt(i, step(t, i, a+hugePages))
		if p.swap() {
			var err errno.Errno
			if n, err = c.mm.doSwapPage(t, v, i, i+n, p, false); err != 0 {
				return scanFail
			}
		}
		i += n // 0: it has changed
	}
	return scanSucceed
}

// replacePages is the collapse itself. The window closes as soon as the page table
// is out of reach: the copying goes on under mmapLock, which keeps everybody out
// who could bring an entry back.
//
// Preconditions: mmapLock held for writing.
//
// Kernel: collapse_huge_page, __collapse_huge_page_isolate and _copy.
func (c *collapse) replacePages(t *sim.Task, v *VMA, a uint64, pfn phys.PFN) scanResult {
	mm, mem := c.mm, c.mm.sys.Mem
	w := mm.openWindow(t, EventClear, a, a+hugePages)
	t.Write(&mm.ptObj, a, a+hugePages)
	n := c.count(a)
	mm.clearPTEs(a, a+hugePages)
	mm.closeWindow(t, w)

	r := scanSucceed
	switch {
	case n.swap > 0:
		r = scanPTENonPresent
	case c.khugepaged && n.shared > khugepagedMaxPTEsShared:
		r = scanExceedSharedPTE
	case !n.writable:
		r = scanPageRO
	case c.khugepaged && n.referenced == 0:
		r = scanLackReferencedPage
	case slices.ContainsFunc(c.runs, mm.sys.anyPinned):
		r = scanPageCount
	}
	t.Write(&mm.ptObj, a, a+hugePages)
	if r != scanSucceed {
		for _, run := range c.runs {
			mm.moveRun(run.Lo, run)
		}
		return r
	}
	for _, run := range c.runs {
		if PTE(run.V).zero() {
			continue
		}
		to, from := pfn+phys.PFN(run.Lo-a), PTE(run.V).Frame()
		mm.rss -= run.Len()
		if run.Stride == 1 {
			mem.Copy(to, from, run.Len())
			mm.sys.putFrames(from, run.Len())
			continue
		}
		for range run.Len() {
			mem.Copy(to, from, 1)
			mm.sys.putFrames(from, 1)
			to++
		}
	}
	mm.sys.setAnon(v, pfn, hugePages)
	mm.setPTEs(a, a+hugePages, protect(v, anonRW|PTEHuge|PTE(pfn), v.Flags))
	mm.rss += hugePages
	mm.sys.Counts.HugeCollapses++
	return scanSucceed
}
