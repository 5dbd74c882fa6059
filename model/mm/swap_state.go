// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// swapCache holds the frames of swap slots that several page tables name: the
// first who faults reads the slot, the others find the frame here. A slot with one
// user never gets here, as with a swap device that answers at once
// (SWP_SYNCHRONOUS_IO). It holds a reference of each frame and of each slot.
//
// Kernel: swapper_spaces, mm/swap_state.c.
//
// Simplified: model/FIDELITY.md F4.
type swapCache struct {
	frames phys.Map // by slot
	slots  phys.Map // by frame
}

// cachedSlot returns the slot of a frame that is in the swap cache.
//
// Kernel: folio_test_swapcache.
func (sys *System) cachedSlot(pfn phys.PFN) (slot uint64, ok bool) {
	if sys.swapCache.slots.Len() == 0 {
		return 0, false
	}
	return sys.swapCache.slots.Get(uint64(pfn))
}

// addToSwapCache makes a frame the one of its slot.
//
// Kernel: add_to_swap_cache.
func (sys *System) addToSwapCache(slot uint64, pfn phys.PFN) {
	sys.get(pfn, 1)
	sys.Mem.SwapGet(slot, 1)
	sys.swapCache.frames.Set(slot, slot+1, uint64(pfn), 0)
	sys.swapCache.slots.Set(uint64(pfn), uint64(pfn)+1, slot, 0)
}

// deleteFromSwapCache takes a frame out of the cache.
//
// Kernel: delete_from_swap_cache.
func (sys *System) deleteFromSwapCache(slot uint64, pfn phys.PFN) {
	sys.swapCache.frames.Clear(slot, slot+1)
	sys.swapCache.slots.Clear(uint64(pfn), uint64(pfn)+1)
	sys.Mem.SwapPut(slot, 1)
	sys.put(pfn, 1)
}

// folioFreeSwap takes a frame out of the cache if no page table names its slot any
// more, and says whether it did.
//
// Kernel: folio_free_swap, mm/swapfile.c.
func (sys *System) folioFreeSwap(pfn phys.PFN) bool {
	slot, ok := sys.cachedSlot(pfn)
	if !ok || sys.Mem.SwapCount(slot) > 1 {
		return false
	}
	sys.deleteFromSwapCache(slot, pfn)
	return true
}

// putFrames drops the references of n page table entries that are gone, or those of
// who held frames meanwhile. A cached frame that nobody maps and whose slot nobody
// names goes with them.
//
// Kernel: free_swap_cache, mm/swap_state.c.
func (sys *System) putFrames(pfn phys.PFN, n uint64) {
	if sys.swapCache.slots.Len() > 0 {
		for _, r := range sys.swapCache.slots.AppendRuns(nil, uint64(pfn), uint64(pfn)+n) {
			for f := r.Lo; f < r.Hi; f++ {
				if sys.Mem.Frame(phys.PFN(f)).Count == 2 {
					sys.folioFreeSwap(phys.PFN(f))
				}
			}
		}
	}
	sys.put(pfn, n)
}

// putSlots drops the references of n swap entries that are gone, as putFrames.
//
// Kernel: free_swap_and_cache_nr, mm/swapfile.c.
func (sys *System) putSlots(slot, n uint64) {
	sys.Mem.SwapPut(slot, n)
	if sys.swapCache.frames.Len() == 0 {
		return
	}
	for _, r := range sys.swapCache.frames.AppendRuns(nil, slot, slot+n) {
		for s := r.Lo; s < r.Hi; s++ {
			if pfn := phys.PFN(r.At(s)); sys.Mem.Frame(pfn).Count == 1 {
				sys.folioFreeSwap(pfn)
			}
		}
	}
}

// shrinkSwapCache frees frames of the cache that nobody maps; their slots keep what
// is in them. It returns how many it freed.
func (sys *System) shrinkSwapCache(target uint64) (freed uint64) {
	for _, r := range sys.swapCache.frames.AppendRuns(nil, 0, ^uint64(0)) {
		for s := r.Lo; s < r.Hi && freed < target; s++ {
			if pfn := phys.PFN(r.At(s)); sys.Mem.Frame(pfn).Count == 1 {
				sys.deleteFromSwapCache(s, pfn)
				freed++
			}
		}
	}
	return freed
}

// swapinShared brings one page back whose slot others name too, or whose frame is in
// the cache. It is mapped read-only, unless this is a write and nobody else is left;
// otherwise a write goes on to do_wp_page, which copies the page.
//
// Kernel: do_swap_page with a folio of the swap cache, mm/memory.c.
func (mm *MM) swapinShared(t *sim.Task, v *VMA, vpn uint64, p PTE, write bool) (uint64, errno.Errno) {
	sys, mem, slot := mm.sys, mm.sys.Mem, p.Slot()
	fresh, n, err := mm.vmaAllocPages(t, v, vpn, 1)
	if err != 0 {
		return 0, err
	}
	t.Write(&mm.ptObj, vpn, vpn+1)
	if mm.PTEAt(vpn) != p {
		sys.put(fresh, n)
		return 0, 0
	}
	pfn := fresh
	if c, ok := sys.swapCache.frames.Get(slot); ok {
		sys.put(fresh, n)
		pfn = phys.PFN(c)
		sys.get(pfn, 1)
	} else {
		mem.SwapInCopy(pfn, slot, 1)
		sys.addToSwapCache(slot, pfn)
		sys.clearAnon(pfn)
		sys.Counts.PagesSwapIn++
	}
	mem.SwapPut(slot, 1)
	e := PTEPresent | PTEYoung | PTEAnon | PTE(pfn)
	if (write || v.Flags&VMLocked != 0) && mem.Frame(pfn).Count == 2 {
		sys.folioFreeSwap(pfn)
	}
	_, cached := sys.cachedSlot(pfn)
	alone := !cached && mem.Frame(pfn).Count == 1
	if alone {
		e |= PTEExclusive
		if v.Flags&VMWrite != 0 {
			e |= PTEWrite
		}
		if write {
			e |= PTEDirty
		}
	}
	mm.setPTEs(vpn, vpn+1, e)
	mm.rss++
	mm.swapents--
	sys.Counts.PagesFaulted++
	t.Log(fnSwapIn, vpn<<PageShift, (vpn+1)<<PageShift, 0)
	if write && !alone {
		return 0, 0 // do_wp_page is next
	}
	return 1, 0
}

// unmapCached takes a frame of the swap cache away from every page table that maps
// it: they name its slot again.
func (mm *MM) unmapCached(t *sim.Task, v *VMA, vpn uint64, p PTE, slot uint64) uint64 {
	sys, f := mm.sys, folioOf(v, vpn, p)
	for _, m := range sys.rmapWalk(&f, PTE.maps) {
		if now, ok := sys.cachedSlot(p.Frame()); !ok || now != slot {
			return 0 // who was the last to map it has taken it
		}
		q := m.v.mm.PTEAt(m.vpn)
		if m.v.Flags&VMLocked != 0 || !q.maps(p.Frame()) {
			continue
		}
		sys.Mem.SwapGet(slot, 1)
		if m.v.mm.replaceMapped(t, m.vpn, 1, q, PTESwap|PTE(slot)) == 0 {
			sys.putSlots(slot, 1) // the page may have moved, and gone while the slot was held
			continue
		}
		sys.Counts.PagesSwapOut++
	}
	if now, ok := sys.cachedSlot(p.Frame()); !ok || now != slot || sys.Mem.Frame(p.Frame()).Count > 1 {
		return 0
	}
	sys.deleteFromSwapCache(slot, p.Frame())
	return 1
}
