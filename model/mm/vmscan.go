// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnShrink  = sim.NewFunc("shrink_node", "target", "reclaimed")
	fnUnmap   = sim.NewFunc("try_to_unmap", "start", "end")
	fnOOM     = sim.NewFunc("out_of_memory", "free")
	fnKswapd  = sim.NewFunc("kswapd", "free")
	fnPageout = sim.NewFunc("reclaim_pages", "start", "end", "pages")
)

// kswapd is the background reclaim task of a machine, and the hand of the scan.
//
// Reclaim walks page tables, address space by address space, and gives every
// page a second chance by its young bit: there is no LRU list (model/FIDELITY.md
// F5).
type kswapd struct {
	sys  *System
	wake sim.WaitQueue
	task *sim.Task
	// mark are the watermarks in pages: kswapd starts below low, stops at high.
	low, high uint64
	// hand is where the scan goes on: the id of an mm and a page in it.
	handMM, handPage uint64
}

func (k *kswapd) init(sys *System) {
	k.sys = sys
	k.low = max(sys.cfg.RAM/128, 16)
	k.high = 2 * k.low
	if sys.cfg.RAM <= 64 {
		k.low, k.high = 4, 8
	}
	k.wake.Init(sys.Sim, "kswapd_wait")
}

// wakeup starts background reclaim.
//
// Kernel: wakeup_kswapd, mm/vmscan.c.
func (k *kswapd) wakeup(t *sim.Task) {
	if k.task == nil {
		k.task = k.sys.Sim.GoDaemon("kswapd0", k.loop)
	}
	k.wake.WakeAll(t)
}

func (k *kswapd) loop(t *sim.Task) {
	for {
		t.Log(fnKswapd, k.sys.Mem.Free(), 0, 0)
		for k.sys.Mem.Free() < k.high && k.sys.shrinkNode(t, k.high-k.sys.Mem.Free()) > 0 {
			t.Point()
		}
		t.Rest(func() { k.wake.Sleep(t) })
	}
}

// allocPages allocates a run of 1..max zeroed frames, reclaiming and killing
// when memory is short.
//
// Errors: ENOMEM when nothing could be freed.
//
// Kernel: __alloc_pages, mm/page_alloc.c.
//
// Simplified: model/FIDELITY.md M-ALLOC.
func (sys *System) allocPages(t *sim.Task, _ *MM, limit uint64) (phys.PFN, uint64, errno.Errno) {
	for {
		if pfn, n := sys.Mem.AllocRun(-1, limit); n > 0 {
			if sys.Mem.Free() < sys.kswapd.low {
				sys.kswapd.wakeup(t)
			}
			return pfn, n, 0
		}
		t.MightSleep("direct reclaim")
		if sys.shrinkNode(t, max(32, min(limit, sys.kswapd.high))) > 0 {
			continue
		}
		t.Log(fnOOM, sys.Mem.Free(), 0, 0)
		if !sys.outOfMemory(t) {
			return 0, 0, errno.ENOMEM
		}
	}
}

// Reclaim frees up to npages pages, as echo to memory.reclaim does; it returns
// the number freed.
func (sys *System) Reclaim(t *sim.Task, npages uint64) uint64 { return sys.shrinkNode(t, npages) }

// shrinkNode reclaims about target pages: the first round over all address
// spaces clears young bits, the second takes what has not been touched since.
//
// Kernel: shrink_node, mm/vmscan.c.
func (sys *System) shrinkNode(t *sim.Task, target uint64) uint64 {
	var got uint64
	for round := 0; round < 3 && got < target; round++ {
		got += sys.shrinkSwapCache(target - got)
		got += sys.shrinkFiles(t, target-got)
		// Once around, from where the hand stands: what was faulted in behind it is
		// the last to be looked at.
		mms := sys.fromHand()
		first := uint64(0)
		if len(mms) > 0 && uint64(mms[0].id) == sys.kswapd.handMM {
			first = sys.kswapd.handPage
		}
		start := first
		for _, mm := range mms {
			got += mm.shrink(t, start, EndOfSpace, target-got)
			start = 0
		}
		if first > 0 {
			got += mms[0].shrink(t, 0, first, target-got)
		}
	}
	t.Log(fnShrink, target, got, 0)
	return got
}

// fromHand returns the address spaces, beginning with the one of the hand.
func (sys *System) fromHand() []*MM {
	k := 0
	for i, mm := range sys.mms {
		if uint64(mm.id) >= sys.kswapd.handMM {
			k = i
			break
		}
	}
	return append(append([]*MM(nil), sys.mms[k:]...), sys.mms[:k]...)
}

// shrink scans pages [start,end) of the page table until target pages are freed.
func (mm *MM) shrink(t *sim.Task, start, end, target uint64) uint64 {
	var got uint64
	for i := start; got < target && !mm.exited; {
		r, ok := mm.next(t, i, end)
		if !ok {
			return got
		}
		i = r.Lo
		n := step(t, i, i+min(r.Hi-i, target-got))
		t.Read(&mm.ptObj, i, i+n)
		v := mm.vmaAt(i)
		p, n := mm.runAt(i, n)
		if v == nil || p.none() {
			i += max(n, 1)
			continue
		}
		n = min(n, v.End-i)
		switch {
		case !mm.sys.canReclaim(v, p) || p.ksm():
			// Pages that KSM merged stay (model/FIDELITY.md M-KSM).
			i += n
			continue // the hand stays: these pages were not looked at
		case p.huge():
			n = mm.shrinkHuge(t, v, i, min(r.Hi, v.End), p, &got) - i
		case p&PTEYoung != 0:
			if !t.Preemptive() {
				n = min(r.Hi, v.End) - i
			}
			t.Touch(sim.Access{Object: &mm.ptObj, Lo: i, Hi: i + n, Kind: sim.KindWrite})
			mm.pt.Update(i, i+n, func(e uint64) uint64 { return e &^ uint64(PTEYoung) })
		default:
			n = mm.shrinkRun(t, v, i, n, p, &got)
		}
		i += n
		mm.sys.kswapd.handMM, mm.sys.kswapd.handPage = uint64(mm.id), i
	}
	return got
}

// canReclaim says whether a page could be freed at all, used lately or not.
//
// Kernel: can_reclaim_anon_pages, mm/vmscan.c; the unevictable list.
func (sys *System) canReclaim(v *VMA, p PTE) bool {
	switch {
	case !p.Present() || p.zero() || v.Flags&VMLocked != 0:
		return false
	case p.anon() && p&(PTELazyFree|PTEDirty) != PTELazyFree, !p.anon() && v.File != nil && v.File.Shmem:
		return sys.Mem.SwapFree() > 0
	}
	return true
}

// shrinkRun reclaims a run of old pages and returns how many it looked at.
func (mm *MM) shrinkRun(t *sim.Task, v *VMA, lo, n uint64, p PTE, got *uint64) uint64 {
	if mm.watched(t, lo, lo+n) {
		n = 1
	}
	done := mm.unmapRun(t, v, lo, n, p)
	*got += done
	return max(done, 1)
}

// unmapRun takes up to n pages, all with the entry p, away from every page table
// that maps them and frees them: anonymous pages go to swap. It returns the
// number of pages freed.
//
// Kernel: try_to_unmap and pageout, mm/rmap.c and mm/vmscan.c.
//
// Simplified: model/FIDELITY.md M-UNMAP.
func (mm *MM) unmapRun(t *sim.Task, v *VMA, lo, n uint64, p PTE) uint64 {
	if !p.anon() {
		return mm.unmapFileRun(t, v, lo, n, p)
	}
	if n = mm.sys.unpinned(p, n); n == 0 {
		return 0
	}
	if p&(PTELazyFree|PTEDirty) == PTELazyFree {
		return mm.replaceMapped(t, lo, n, p, 0)
	}
	if slot, cached := mm.sys.cachedSlot(p.Frame()); cached {
		return mm.unmapCached(t, v, lo, p, slot)
	}
	if v.familyWatched() {
		n = min(n, 1)
	}
	if f := folioOf(v, lo, p); mm.sys.seenElsewhere(t, &f, v) {
		return mm.unmapVisited(t, &f)
	}
	if run := mm.sys.runWithCount(p.Frame(), n, 1); run > 0 {
		slot, m := mm.sys.Mem.SwapAlloc(run)
		if m == 0 {
			return 0
		}
		done := mm.replaceMapped(t, lo, m, p, PTESwap|PTE(slot))
		if done < m {
			mm.sys.Mem.SwapPut(slot+done, m-done)
		}
		mm.sys.Counts.PagesSwapOut += done
		return done
	}
	return mm.unmapSharedPage(t, v, lo, p)
}

// runWithCount returns how many frames from pfn on, at most n, have exactly
// count references.
func (sys *System) runWithCount(pfn phys.PFN, n uint64, count uint32) uint64 {
	sys.counted(pfn, n, sim.KindRead)
	var k uint64
	for r := range sys.Mem.FrameRuns(pfn, n) {
		if r.Count != count {
			break
		}
		k += r.N
	}
	return k
}

// replaceMapped puts entry q (0: none) in the place of p for n pages and drops
// the frames, in one CLEAR window. What goes to swap is read once nobody can write
// it any more. It returns 0 if the entries changed before the window was open.
func (mm *MM) replaceMapped(t *sim.Task, lo, n uint64, p, q PTE) uint64 {
	var w *NotifierRange
	if mm.watched(t, lo, lo+n) {
		w = mm.openWindow(t, EventClear, lo, lo+n)
	}
	t.Write(&mm.ptObj, lo, lo+n)
	done := uint64(0)
	if c, m := mm.runAt(lo, n); c == p && m == n {
		done = n
		if q.none() {
			mm.clearPTEs(lo, lo+n)
		} else {
			// Not before: until now the page could be written.
			mm.sys.Mem.SwapOutCopy(q.Slot(), p.Frame(), n)
			mm.setPTEs(lo, lo+n, q)
			mm.swapents += n
		}
		mm.sys.putFrames(p.Frame(), n)
		mm.rss -= n
		t.Log(fnUnmap, lo<<PageShift, (lo+n)<<PageShift, 0)
	}
	mm.closeWindow(t, w)
	return done
}

// unmapSharedPage swaps one anonymous page out of every address space of its
// family.
//
// Kernel: rmap_walk_anon, mm/rmap.c.
func (mm *MM) unmapSharedPage(t *sim.Task, v *VMA, vpn uint64, p PTE) uint64 {
	mem := mm.sys.Mem
	if w, at := mm.hugeSharer(v, vpn, p); w != nil {
		freed, _ := w.mm.unmapHuge(t, w, at, w.mm.PTEAt(at))
		return min(freed, 1)
	}
	idx := v.pgoff(vpn)
	family := append([]*VMA(nil), v.AnonVMA.vmas...)
	for _, w := range family {
		if _, q := w.mapsAnon(idx, p.Frame()); !q.none() && w.Flags&VMLocked != 0 {
			return 0
		}
	}
	slot, n := mem.SwapAlloc(1)
	if n == 0 {
		return 0
	}
	var freed uint64
	for _, w := range family {
		at, q := w.mapsAnon(idx, p.Frame())
		if q.none() || freed > 0 && q.Writable() {
			continue // who has become the last one writes in place: what the slot has is not its own
		}
		mem.SwapGet(slot, 1)
		if w.mm.replaceMapped(t, at, 1, q, PTESwap|PTE(slot)) == 0 {
			mem.SwapPut(slot, 1)
			continue
		}
		freed = 1
		mm.sys.Counts.PagesSwapOut++
	}
	mm.sys.putSlots(slot, 1)
	return freed
}

// mapsAnon returns the page of the VMA that maps frame pfn as page idx of its
// family, and its entry, 0 when it does not.
func (v *VMA) mapsAnon(idx uint64, pfn phys.PFN) (vpn uint64, p PTE) {
	if v.AnonVMA == nil || idx < v.Pgoff || idx >= v.Pgoff+v.Len() {
		return 0, 0
	}
	vpn = v.Start + (idx - v.Pgoff)
	if p = v.mm.PTEAt(vpn); !p.Present() || p.Frame() != pfn {
		return 0, 0
	}
	return vpn, p
}

// unmapFileRun is unmapRun for file pages.
func (mm *MM) unmapFileRun(t *sim.Task, v *VMA, lo, n uint64, p PTE) uint64 {
	if v.anonymous() {
		return 0
	}
	return mm.reclaimFilePages(t, v, lo, n, p)
}

// pageOutRange reclaims the pages of [lo,hi) that only this address space maps.
//
// Kernel: madvise_pageout_page_range, mm/madvise.c.
func (mm *MM) pageOutRange(t *sim.Task, v *VMA, lo, hi uint64) {
	var done uint64
	for i := lo; i < hi; {
		r, ok := mm.next(t, i, hi)
		if !ok {
			break
		}
		i = r.Lo
		n := step(t, i, min(r.Hi, hi))
		t.Read(&mm.ptObj, i, i+n)
		p, n := mm.runAt(i, n)
		if !p.Present() || p.zero() {
			i += n
			continue
		}
		if p.huge() {
			i = mm.pageOutHuge(t, v, i, hi, p, &done)
			continue
		}
		if mm.watched(t, i, i+n) {
			n = 1
		}
		var k uint64
		holders := uint32(1)
		if !p.anon() {
			holders = 2 // the page cache is one
		} else if _, cached := mm.sys.cachedSlot(p.Frame()); cached {
			n, holders = 1, 2 // the swap cache is one
		}
		if mm.sys.runWithCount(p.Frame(), n, holders) > 0 {
			k = mm.unmapRun(t, v, i, n, p)
		}
		done += k
		i += max(k, 1)
	}
	t.Log(fnPageout, lo<<PageShift, hi<<PageShift, done)
}

// deactivateRange makes the pages of [lo,hi) the next ones to be reclaimed.
//
// Kernel: madvise_cold, mm/madvise.c.
func (mm *MM) deactivateRange(t *sim.Task, v *VMA, lo, hi uint64) {
	if lo, hi = mm.trimHuge(t, v, lo, hi); lo == hi {
		return
	}
	t.Write(&mm.ptObj, lo, hi)
	mm.pt.Update(lo, hi, func(e uint64) uint64 { return e &^ uint64(PTEYoung) })
}

// lazyFreeRange marks the pages of [lo,hi) as droppable while they stay clean,
// and drops what is in swap, in one CLEAR window.
//
// Kernel: madvise_free_single_vma, mm/madvise.c.
func (mm *MM) lazyFreeRange(t *sim.Task, v *VMA, lo, hi uint64) {
	w := mm.openWindow(t, EventClear, lo, hi)
	lo, hi = mm.trimHuge(t, v, lo, hi)
	t.Write(&mm.ptObj, lo, hi)
	for _, run := range mm.pt.AppendRuns(nil, lo, hi) {
		for i := run.Lo; i < run.Hi; {
			p, n := mm.runAt(i, run.Hi-i)
			switch {
			case p.swap():
				mm.dropPTEs(i, i+n, p)
			case !p.Present():
			case p.anon():
				if mm.sys.Mem.Frame(p.Frame()).Count == 2 {
					mm.sys.folioFreeSwap(p.Frame())
				}
				if p.huge() {
					n = mm.lazyFreeHuge(i, n, p)
				} else if k := mm.sys.runWithCount(p.Frame(), n, 1); k > 0 {
					n = k
					mm.pt.Update(i, i+n, func(e uint64) uint64 {
						return e&^uint64(PTEDirty|PTEYoung) | uint64(PTELazyFree)
					})
				} else {
					n = 1
				}
			}
			i += n
		}
	}
	mm.closeWindow(t, w)
}
