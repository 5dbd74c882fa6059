// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Pinned pages keep their frames, whatever happens to the page table: reclaim,
// migration, NUMA hints, KSM and collapse leave anonymous ones alone, and fork gives
// the child copies at once. Pages of files may lose their entries; the frame stays
// in the page cache.
//
//	vmscan.go, huge_reclaim.go   reclaim         migrate.go   by the count
//	ksm.go  khugepaged.go  numa_balancing.go     fork.go

var fnPin = sim.NewFunc("pin_user_pages_fast", "start", "end", "errno")

// PinUserPages faults in the CPU pages [lo,hi) for writing and takes a reference on
// each that no other part of the kernel can take away. It returns their frames by
// CPU page.
//
// Errors: EFAULT where nothing is mapped or writing is not allowed. Nothing is
// pinned then.
//
// Kernel: pin_user_pages_fast with FOLL_WRITE and FOLL_LONGTERM, mm/gup.c.
func (mm *MM) PinUserPages(t *sim.Task, lo, hi uint64) ([]phys.Run, errno.Errno) {
	var runs []phys.Run
	err := errno.Errno(0)
	mm.mmapLock.RLock(t)
	for at := lo; at < hi && err == 0; {
		v := mm.vmaAt(at)
		if v == nil || v.Flags&(VMIO|VMPFNMap) != 0 || v.Flags&VMWrite == 0 {
			err = errno.EFAULT
			break
		}
		end := min(hi, v.End)
		n := max(step(t, at, end), mm.pmdRest(at, end))
		t.Read(&mm.ptObj, at, at+n)
		p, n := mm.runAt(at, n)
		if !p.Accessible() || !p.Writable() {
			if mm.handleMMFaultRange(t, v, at, at+n, true) != 0 {
				err = errno.EFAULT
			}
			continue // look again
		}
		mm.sys.pin(p.Frame(), n)
		runs = append(runs, phys.Run{Lo: at, Hi: at + n, V: uint64(p.Frame()), Stride: 1})
		at += n
	}
	mm.mmapLock.RUnlock(t)
	t.Log(fnPin, lo<<PageShift, hi<<PageShift, uint64(err))
	if err != 0 {
		mm.sys.UnpinUserPages(runs)
		return nil, err
	}
	return runs, 0
}

// UnpinUserPages gives up what PinUserPages returned.
//
// Kernel: unpin_user_pages, mm/gup.c.
func (sys *System) UnpinUserPages(runs []phys.Run) {
	for _, r := range runs {
		sys.addPins(r.V, r.Len(), -1)
		sys.put(phys.PFN(r.V), r.Len())
	}
}

func (sys *System) pin(pfn phys.PFN, n uint64) {
	sys.get(pfn, n)
	sys.addPins(uint64(pfn), n, 1)
}

// addPins adds to the pin counts of n frames.
func (sys *System) addPins(pfn, n uint64, by int) {
	for at, end := pfn, pfn+n; at < end; {
		count, hi := sys.pinsAt(at, end)
		if count += uint64(by); count == 0 {
			sys.pins.Clear(at, hi)
		} else {
			sys.pins.Set(at, hi, count, 0)
		}
		at = hi
	}
}

// pinsAt returns the pin count of a frame, and the end of the frames up to limit
// that have the same.
func (sys *System) pinsAt(pfn, limit uint64) (count, hi uint64) {
	r, ok := sys.pins.Next(pfn)
	switch {
	case !ok || r.Lo >= limit:
		return 0, limit
	case r.Lo > pfn:
		return 0, r.Lo
	}
	return r.V, min(r.Hi, limit)
}

// unpinned returns how many frames from that of p on, at most n, nobody has pinned
// before the first that somebody has.
//
// Kernel: folio_maybe_dma_pinned, include/linux/mm.h.
func (sys *System) unpinned(p PTE, n uint64) uint64 {
	if sys.pins.Len() == 0 {
		return n
	}
	pfn := uint64(p.Frame())
	count, hi := sys.pinsAt(pfn, pfn+n)
	if count != 0 {
		return 0
	}
	return hi - pfn
}

// pinnedAlike returns how many frames from that of p on, at most n, are pinned as
// often as the first.
func (sys *System) pinnedAlike(p PTE, n uint64) uint64 {
	if sys.pins.Len() == 0 || !p.Present() || p.zero() {
		return n
	}
	pfn := uint64(p.Frame())
	_, hi := sys.pinsAt(pfn, pfn+n)
	return hi - pfn
}

// anyPinned says whether any frame of a run of entries is pinned.
func (sys *System) anyPinned(r phys.Run) bool {
	p := PTE(r.V)
	if sys.pins.Len() == 0 || !p.Present() || p.zero() {
		return false
	}
	n := r.Len()
	if r.Stride == 0 {
		n = 1
	}
	return sys.unpinned(p, n) < n
}

// pinnedRun returns how many of n pages from page at on, all with the entry p,
// fork treats alike, and whether it has to copy them because somebody has pinned
// them. A huge page is pinned with any of its pages.
//
// Kernel: folio_try_dup_anon_rmap_pte, include/linux/rmap.h.
func (mm *MM) pinnedRun(v *VMA, at, n uint64, p PTE) (k uint64, pinned bool) {
	if mm.sys.pins.Len() == 0 || !p.Present() || !p.anon() || p.zero() || !v.cow() {
		return n, false
	}
	if p.huge() {
		n = min(n, mm.pmdRest(at, at+n))
		return n, mm.sys.unpinned(p, n) < n
	}
	return mm.sys.pinnedAlike(p, n), mm.sys.unpinned(p, 1) == 0
}

// copyPinned is copyPTEs for n pages from lo on that are pinned: the parent keeps
// them, and the child gets copies at once.
//
// Kernel: copy_present_page, mm/memory.c.
func (mm *MM) copyPinned(t *sim.Task, child *MM, v *VMA, lo, n uint64, p PTE) {
	for at := lo; at < lo+n; {
		pfn, k, err := mm.vmaAllocPages(t, v, at, lo+n-at)
		if err != 0 {
			return // the child finds no page there (model/FIDELITY.md M-PIN)
		}
		mm.sys.Mem.Copy(pfn, p.Frame()+phys.PFN(at-lo), k)
		child.setPTEs(at, at+k, protect(v, anonRW|PTE(pfn), v.Flags))
		child.rss += k
		at += k
	}
}
