// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnSoftOffline   = sim.NewFunc("soft_offline_page", "pfn", "addr")
	fnMemoryFailure = sim.NewFunc("memory_failure", "pfn", "addr")
)

// madviseInjectError takes the frames of pages [lo,hi) out of use: with
// MadvSoftOffline the pages move to others first, with MadvHWPoison they are lost.
// The signals of the latter are not there: an access fails.
//
// Errors: EFAULT where no access is possible, EIO and EBUSY for the zero page and
// pages that cannot be freed of their users.
//
// Kernel: madvise_inject_error, mm/madvise.c.
func (mm *MM) madviseInjectError(t *sim.Task, lo, hi uint64, advice int) errno.Errno {
	for ; lo < hi; lo++ {
		f, err := mm.getUserPage(t, lo)
		if err != 0 {
			return err
		}
		if advice == MadvSoftOffline {
			t.Log(fnSoftOffline, uint64(f.pfn), lo<<PageShift, 0)
			err = mm.sys.softOfflinePage(t, f)
		} else {
			t.Log(fnMemoryFailure, uint64(f.pfn), lo<<PageShift, 0)
			err = mm.sys.memoryFailure(t, f)
		}
		if err != 0 {
			return err
		}
	}
	return 0
}

// getUserPage faults a page in for reading and isolates it: it belongs to nobody
// else's migration until putback. The zero page is returned as it is, and not
// isolated; one that somebody migrates has n 0.
//
// Errors: EFAULT.
//
// Kernel: get_user_pages_fast, mm/gup.c.
func (mm *MM) getUserPage(t *sim.Task, vpn uint64) (isolated, errno.Errno) {
	mm.mmapLock.RLock(t)
	defer mm.mmapLock.RUnlock(t)
	for {
		if err := mm.madvisePopulate(t, vpn, vpn+1, false); err != 0 {
			return isolated{}, errno.EFAULT
		}
		t.Read(&mm.ptObj, vpn, vpn+1)
		p := mm.PTEAt(vpn)
		switch {
		case !p.Accessible():
			continue // it went again
		case p.zero():
			return isolated{folio: folio{pfn: phys.ZeroPFN}}, 0
		}
		it, _ := mm.sys.isolateFolios(mm.vmaAt(vpn), vpn, 1, p)
		return it, 0
	}
}

// softOfflinePage moves a page to another frame and takes its own out of use.
//
// Errors: EIO for the zero page, EBUSY when the page cannot be moved.
//
// Kernel: soft_offline_page, mm/memory-failure.c.
func (sys *System) softOfflinePage(t *sim.Task, it isolated) errno.Errno {
	switch {
	case it.pfn == phys.ZeroPFN:
		return errno.EIO
	case it.n == 0:
		return errno.EBUSY
	}
	near := sys.Mem.NodeOf(it.pfn)
	sys.Mem.Poison(it.pfn)
	moved, _ := sys.migrateFolio(t, &it.folio, func(_ *folio, limit uint64) (phys.PFN, uint64) {
		if pfn, n := sys.Mem.AllocRun(near, limit); n > 0 {
			return pfn, n
		}
		return sys.Mem.AllocRun(-1, limit)
	})
	if !moved {
		sys.Mem.Unpoison(it.pfn)
	}
	sys.putback(&it, 1)
	if !moved {
		return errno.EBUSY
	}
	return 0
}

// memoryFailure takes the frame of a page out of use, with what is in it: every
// entry that maps it becomes a poison entry, in a CLEAR window of its own. Pages
// of a file that is not shmem are read again (model/FIDELITY.md M-POISON).
//
// Errors: EBUSY for the zero page and for a page that is being migrated.
//
// Kernel: memory_failure and hwpoison_user_mappings, mm/memory-failure.c.
func (sys *System) memoryFailure(t *sim.Task, it isolated) errno.Errno {
	if it.n == 0 {
		return errno.EBUSY
	}
	mem, f := sys.Mem, &it.folio
	mem.Poison(f.pfn)
	if slot, ok := sys.cachedSlot(f.pfn); ok {
		sys.deleteFromSwapCache(slot, f.pfn)
	} else if sys.cacheRefs(f) > 0 {
		f.file.cache.Clear(f.index, f.index+1)
		sys.put(f.pfn, 1)
	}
	for {
		mappings := sys.rmapWalk(f, PTE.maps)
		if len(mappings) == 0 {
			break
		}
		for _, m := range mappings {
			m.v.mm.unmapPoisoned(t, m.vpn, f)
		}
	}
	sys.putback(&it, 1)
	return 0
}

// unmapPoisoned replaces one mapping of a broken page.
//
// Kernel: try_to_unmap_one with TTU_HWPOISON, mm/rmap.c.
func (mm *MM) unmapPoisoned(t *sim.Task, vpn uint64, f *folio) {
	var w *NotifierRange
	if mm.watched(t, vpn, vpn+1) {
		w = mm.openWindow(t, EventClear, vpn, vpn+1)
	}
	t.Write(&mm.ptObj, vpn, vpn+1)
	if mm.PTEAt(vpn).maps(f.pfn) {
		if f.file != nil && !f.file.Shmem {
			mm.clearPTEs(vpn, vpn+1)
		} else {
			mm.setPTEs(vpn, vpn+1, PTEPoison|PTE(f.pfn))
		}
		mm.sys.put(f.pfn, 1)
		mm.rss--
		t.Log(fnUnmap, vpn<<PageShift, (vpn+1)<<PageShift, 0)
	}
	mm.closeWindow(t, w)
}
