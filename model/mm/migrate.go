// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnTryToMigrate  = sim.NewFunc("try_to_migrate_one", "start", "end")
	fnMigrateFolio  = sim.NewFunc("migrate_folio_move", "src", "dst", "pages")
	fnRemoveMigrate = sim.NewFunc("remove_migration_pte", "start", "pfn")
)

// isolated are n pages that somebody is about to migrate: consecutive frames,
// found at consecutive pages of one VMA. Each frame has a reference of its own
// meanwhile, and nobody else can isolate it.
//
// Kernel: a list of isolated folios.
type isolated struct {
	folio
	mm     *MM
	vpn, n uint64
}

// isolateFolios takes up to n pages for migration, those from page vpn of a VMA on
// whose entries continue p, and returns how many: 0 when somebody else migrates
// the first.
//
// Kernel: folio_isolate_lru, mm/vmscan.c.
func (sys *System) isolateFolios(v *VMA, vpn, n uint64, p PTE) (isolated, bool) {
	it := isolated{folioOf(v, vpn, p), v.mm, vpn, n}
	pfn := uint64(it.pfn)
	if r, ok := sys.isolated.Next(pfn); ok && r.Lo < pfn+n {
		if r.Lo == pfn {
			return isolated{}, false
		}
		it.n = r.Lo - pfn
	}
	sys.isolated.Set(pfn, pfn+it.n, 0, 0)
	sys.get(it.pfn, it.n)
	return it, true
}

// putback lets go of the first k isolated pages, wherever they are now.
//
// Kernel: putback_movable_pages, mm/migrate.c.
func (sys *System) putback(it *isolated, k uint64) {
	pfn := uint64(it.pfn)
	sys.isolated.Clear(pfn, pfn+k)
	sys.putFrames(it.pfn, k)
	it.pfn += phys.PFN(k)
	it.index += k
	it.vpn += k
	it.n -= k
}

// migrateTarget gives out between 1 and limit frames for copies of the page and
// those that follow it; n is 0 when there are none.
type migrateTarget func(f *folio, limit uint64) (pfn phys.PFN, n uint64)

// onNode takes frames of one node alone.
//
// Kernel: alloc_migration_target with __GFP_THISNODE.
func (sys *System) onNode(node int) migrateTarget {
	return func(_ *folio, limit uint64) (phys.PFN, uint64) { return sys.Mem.AllocRun(node, limit) }
}

// migratePages moves isolated pages to other frames and lets go of all of them.
// It returns how many stay where they were.
//
// Errors: ENOMEM when target had no frame; the pages from there on stay.
//
// One page is done before the next begins, and a huge page is split first
// (model/FIDELITY.md M-MIGRATE).
//
// Kernel: migrate_pages, mm/migrate.c.
func (sys *System) migratePages(t *sim.Task, list []isolated, target migrateTarget) (failed uint64, err errno.Errno) {
	for i := range list {
		it := &list[i]
		for it.n > 0 {
			k, moved := uint64(1), false
			if err == 0 {
				k, moved, err = sys.migrateSome(t, it, target)
			}
			if !moved {
				failed += k
			}
			sys.putback(it, k)
		}
	}
	return failed, err
}

// migrateSome moves the first pages of it: one, or as many as nobody can watch
// going. It returns how many it dealt with.
func (sys *System) migrateSome(t *sim.Task, it *isolated, target migrateTarget) (k uint64, moved bool, err errno.Errno) {
	if v := it.mm.vmaAt(it.vpn); v != nil && it.mm.PTEAt(it.vpn).huge() {
		it.mm.splitFolio(t, v, it.vpn&^(hugePages-1))
	}
	if free := it.mm.unwatched(t, it.vpn, it.n); free > 0 {
		if k = sys.migrateRun(t, it, free, target); k > 0 {
			return k, true, 0
		}
	}
	moved, err = sys.migrateFolio(t, &it.folio, target)
	return 1, moved, err
}

// unwatched returns how many of n pages from lo on nobody can watch changing: no
// notifier is there, and no other task can come between.
func (mm *MM) unwatched(t *sim.Task, lo, n uint64) uint64 {
	if t.Preemptive() {
		return 0
	}
	if mm.subs != nil {
		mm.subs.tree.visit(lo, lo+n, func(w *IntervalNotifier) bool {
			n = max(w.Start, lo) - lo // the first in order of starts
			return false
		})
	}
	return n
}

// migrateRun moves up to k pages that are mapped in one place, and that nobody
// can watch, in one step. It returns their number.
func (sys *System) migrateRun(t *sim.Task, it *isolated, k uint64, target migrateTarget) uint64 {
	mem, v := sys.Mem, it.mm.vmaAt(it.vpn)
	if v == nil {
		return 0
	}
	p, k := it.mm.runAt(it.vpn, min(k, v.End-it.vpn))
	if v.familyWatched() {
		k = min(k, 1)
	}
	if !p.maps(it.pfn) || sys.seenElsewhere(t, &it.folio, v) {
		return 0
	}
	cached := uint64(0)
	if it.file != nil {
		r, ok := it.file.cache.Next(it.index)
		if !ok || r.Lo != it.index || r.V != uint64(it.pfn) || r.Len() > 1 && r.Stride != 1 {
			return 0
		}
		k, cached = min(k, r.Len()), 1
	}
	if k = sys.runWithCount(it.pfn, k, uint32(2+cached)); k == 0 {
		return 0
	}
	dst, k := target(&it.folio, k)
	if k == 0 {
		return 0
	}
	mem.Copy(dst, it.pfn, k)
	sys.moveAnon(dst, it.pfn, k)
	if cached > 0 {
		sys.get(dst, k)
		it.file.cache.Set(it.index, it.index+k, uint64(dst), 1)
		sys.put(it.pfn, k)
	}
	it.mm.setPTEs(it.vpn, it.vpn+k, remapped(v, p, dst))
	sys.put(it.pfn, k)
	sys.Counts.PagesMigrated += k
	t.Log(fnMigrateFolio, uint64(it.pfn), uint64(dst), k)
	return k
}

// migrateRetries is how often a page that somebody uses is tried.
//
// Kernel: NR_MAX_MIGRATE_PAGES_RETRY, mm/migrate.c.
const migrateRetries = 10

// migrateFolio moves one page to another frame, wherever it is mapped: migration
// entries take its place in one CLEAR window for each mapping, then it is copied,
// and then the entries become pages again.
//
// Errors: ENOMEM when target had no frame.
//
// Preconditions: the page is isolated.
//
// Kernel: migrate_folio_unmap and migrate_folio_move, mm/migrate.c.
func (sys *System) migrateFolio(t *sim.Task, f *folio, target migrateTarget) (bool, errno.Errno) {
	dst, n := target(f, 1)
	if n == 0 {
		return false, errno.ENOMEM
	}
	for range migrateRetries {
		sys.tryToMigrate(t, f)
		t.Read(&sys.MemObj, uint64(f.pfn), uint64(f.pfn)+1)
		to := dst
		done := sys.moveFolio(t, f, dst)
		if !done {
			to = f.pfn
		}
		sys.removeMigrationPTEs(t, f, to)
		if done {
			sys.putFrames(dst, 1)
			return true, 0
		}
		t.Point()
	}
	sys.put(dst, 1)
	return false, 0
}

// tryToMigrate puts migration entries in the place of a page.
//
// Kernel: try_to_migrate, mm/rmap.c.
func (sys *System) tryToMigrate(t *sim.Task, f *folio) {
	visits := sys.rmapVisits(f)
	for i, m := range visits {
		mm := m.v.mm
		if i > 0 && len(sys.rmapWalk(f, PTE.maps)) == 0 {
			break
		}
		if mm.PTEAt(m.vpn).huge() {
			mm.splitHugePMD(t, hugeFloor(m.vpn)) // a part of it moves
		}
		var w *NotifierRange
		if mm.watched(t, m.vpn, m.vpn+1) {
			w = mm.openWindow(t, EventClear, m.vpn, m.vpn+1)
		}
		t.Write(&mm.ptObj, m.vpn, m.vpn+1)
		if p := mm.PTEAt(m.vpn); p.maps(f.pfn) {
			mm.setPTEs(m.vpn, m.vpn+1, p&^(PTEPresent|PTEProtNone)|PTEMigration)
			sys.put(f.pfn, 1)
			t.Log(fnTryToMigrate, m.vpn<<PageShift, (m.vpn+1)<<PageShift, 0)
		}
		mm.closeWindow(t, w)
	}
}

// moveFolio copies a page that only its migrator and the page cache hold, and
// gives the copy its place in the cache. It has no scheduling point.
//
// Kernel: folio_migrate_mapping and folio_migrate_copy, mm/migrate.c.
func (sys *System) moveFolio(t *sim.Task, f *folio, dst phys.PFN) bool {
	mem, cached := sys.Mem, sys.cacheRefs(f)
	sys.counted(f.pfn, 1, sim.KindRead)
	if uint64(mem.Frame(f.pfn).Count) != 1+cached {
		return false
	}
	mem.Copy(dst, f.pfn, 1)
	sys.moveAnon(dst, f.pfn, 1)
	if slot, ok := sys.cachedSlot(f.pfn); ok {
		sys.addToSwapCache(slot, dst)
		sys.swapCache.slots.Clear(uint64(f.pfn), uint64(f.pfn)+1)
		mem.SwapPut(slot, 1)
		sys.put(f.pfn, 1)
	} else if cached > 0 {
		sys.get(dst, 1)
		e, _ := f.file.cache.Get(f.index)
		f.file.cache.Set(f.index, f.index+1, uint64(PTE(e).flags())|uint64(dst), 0)
		sys.put(f.pfn, 1)
	}
	sys.Counts.PagesMigrated++
	t.Log(fnMigrateFolio, uint64(f.pfn), uint64(dst), 1)
	return true
}

// removeMigrationPTEs turns every migration entry of a page into one that maps
// the frame to, also those that fork or mremap have made meanwhile, and wakes who
// waits for them.
//
// Kernel: remove_migration_ptes, mm/migrate.c.
func (sys *System) removeMigrationPTEs(t *sim.Task, f *folio, to phys.PFN) {
	for {
		left := sys.rmapWalk(f, PTE.awaits)
		if len(left) == 0 {
			break
		}
		for _, m := range left {
			mm := m.v.mm
			t.Write(&mm.ptObj, m.vpn, m.vpn+1)
			if p := mm.PTEAt(m.vpn); p.awaits(f.pfn) {
				v := m.v
				if now := mm.vmaAt(m.vpn); now != nil {
					v = now // it was cut or merged
				}
				sys.get(to, 1)
				mm.setPTEs(m.vpn, m.vpn+1, remapped(v, p, to))
				t.Log(fnRemoveMigrate, m.vpn<<PageShift, uint64(to), 0)
			}
		}
	}
	sys.migrated.WakeAll(t)
}

// remapped returns the entry for the frame pfn with the flags of p, as the VMA
// allows now.
//
// Kernel: remove_migration_pte, mm/migrate.c.
func remapped(v *VMA, p PTE, pfn phys.PFN) PTE {
	p = p.flags()&^(PTEMigration|PTEProtNone) | PTEPresent | PTE(pfn)
	if v.Flags&VMWrite == 0 {
		p &^= PTEWrite
	}
	if v.Flags&vmAccess == 0 {
		p |= PTEProtNone
	}
	return p
}

// migrationWait sleeps until some page has been migrated; the caller looks again.
//
// Kernel: migration_entry_wait, mm/migrate.c.
func (sys *System) migrationWait(t *sim.Task) { sys.migrated.Sleep(t) }
