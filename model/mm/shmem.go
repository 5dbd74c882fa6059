// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnShmemOut = sim.NewFunc("shmem_writepage", "start", "end")
	fnShmemIn  = sim.NewFunc("shmem_swapin_folio", "start", "end")
	fnDrop     = sim.NewFunc("__remove_mapping", "start", "end")
)

// shmemSwapin brings n pages of the file, the swap slots from slot on, back into
// the frames from pfn on. The caller enters them into the page cache.
//
// Kernel: shmem_swapin_folio, mm/shmem.c.
func (sys *System) shmemSwapin(t *sim.Task, f *File, off, n uint64, pfn phys.PFN, slot uint64) {
	sys.Mem.SwapInCopy(pfn, slot, n)
	sys.Mem.SwapPut(slot, n)
	sys.Counts.PagesSwapIn += n
	t.Log(fnShmemIn, off<<PageShift, (off+n)<<PageShift, 0)
}

// dropCached frees up to n pages of the page cache from off on, the frames from
// pfn on, that nobody maps: those of shmem go to swap, others to the disk when
// they are dirty. It returns the number freed.
//
// Kernel: pageout and __remove_mapping, mm/vmscan.c; shmem_writepage, mm/shmem.c.
func (sys *System) dropCached(t *sim.Task, f *File, off, n uint64, pfn phys.PFN) uint64 {
	t.Write(&f.obj, off, off+n)
	e, n := f.cached(off, n)
	if e.none() || e.swap() || e.Frame() != pfn || e&pgWriteback != 0 {
		return 0
	}
	if n = sys.runWithCount(pfn, n, 1); n == 0 {
		return 0
	}
	if f.Shmem {
		return sys.shmemWritepage(t, f, off, n, pfn)
	}
	if e&pgDirty != 0 {
		f.onDisk(sys).Write(off, pfn, n)
	}
	f.cache.Clear(off, off+n)
	sys.put(pfn, n)
	t.Log(fnDrop, off<<PageShift, (off+n)<<PageShift, 0)
	return n
}

// shmemWritepage moves up to n pages that nobody maps to swap: the page cache
// keeps the slots in their place.
//
// Kernel: shmem_writepage, mm/shmem.c.
func (sys *System) shmemWritepage(t *sim.Task, f *File, off, n uint64, pfn phys.PFN) uint64 {
	slot, n := sys.Mem.SwapAlloc(n)
	if n == 0 {
		return 0
	}
	sys.Mem.SwapOutCopy(slot, pfn, n)
	f.cache.Set(off, off+n, uint64(PTESwap|PTE(slot)), 1)
	sys.put(pfn, n)
	sys.Counts.PagesSwapOut += n
	t.Log(fnShmemOut, off<<PageShift, (off+n)<<PageShift, 0)
	return n
}

// shrinkFiles frees up to target pages of page caches that nobody maps. They have
// no second chance (model/FIDELITY.md F5).
func (sys *System) shrinkFiles(t *sim.Task, target uint64) uint64 {
	var got uint64
	for k := 0; k < len(sys.files) && got < target; k++ {
		if f := sys.files[k]; f.cache.Len() > 0 && (!f.Shmem || sys.Mem.SwapFree() > 0) {
			f.Ref()
			got += sys.shrinkFile(t, f, target-got)
			sys.Unref(f)
		}
	}
	return got
}

func (sys *System) shrinkFile(t *sim.Task, f *File, target uint64) uint64 {
	var got uint64
	for i := uint64(0); got < target; {
		r, ok := f.cache.Next(i)
		if !ok {
			break
		}
		i = r.Lo
		e, n := PTE(r.V), r.Hi-i
		if !e.swap() {
			free := sys.runWithCount(e.Frame(), n, 1)
			if free == 0 {
				n = sys.runMapped(e.Frame(), n)
			} else {
				n = step(t, i, i+min(free, target-got))
				got += sys.dropCached(t, f, i, n, e.Frame())
			}
		}
		i += n
	}
	return got
}

// runMapped returns how many frames from pfn on, at most n, have more holders than
// the page cache.
func (sys *System) runMapped(pfn phys.PFN, n uint64) uint64 {
	var k uint64
	for r := range sys.Mem.FrameRuns(pfn, n) {
		if r.Count == 1 {
			break
		}
		k += r.N
	}
	return k
}
