// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnTruncate = sim.NewFunc("truncate_setsize", "old", "new")
	fnPunch    = sim.NewFunc("truncate_pagecache_range", "start", "end")
)

const (
	maxFileBytes = 1<<63 - 1
	// maxFilePages is the page behind the last one of any file.
	maxFilePages = (maxFileBytes + 1) >> PageShift
)

// Size returns the length of the file in bytes, if it is known.
func (f *File) Size() (size uint64, known bool) { return f.size, f.sized }

// SetSize makes the length of a new file known.
func (f *File) SetSize(size uint64) { f.size, f.sized = size, true }

// endPage returns the page behind the last one that can be faulted in.
//
// Kernel: DIV_ROUND_UP(i_size, PAGE_SIZE) in filemap_fault.
func (f *File) endPage() uint64 {
	if !f.sized {
		return maxFilePages
	}
	return pageAlign(f.size) >> PageShift
}

// Truncate gives the file the length size (bytes). What lies behind leaves every
// mapping, private copies too: a touch is SIGBUS from then on.
//
// Where the length was not known before, it stays so unless learn is set, and
// pages behind size are dropped as if the file had been longer.
//
// Errors: EINVAL for a length below 0.
//
// Kernel: do_truncate, fs/open.c; shmem_setattr, mm/shmem.c; truncate_setsize,
// mm/truncate.c.
func (sys *System) Truncate(t *sim.Task, f *File, size uint64, learn bool) errno.Errno {
	if size > maxFileBytes {
		return errno.EINVAL
	}
	f.inode.Lock(t)
	t.Write(&f.obj, 0, maxFilePages)
	old := f.size
	if !f.sized {
		old = maxFileBytes
	}
	if f.sized || learn {
		f.SetSize(size)
	}
	t.Log(fnTruncate, old, size, 0)
	if hole := pageAlign(size); old > size {
		if old > hole {
			sys.unmapMappingRange(t, f, hole>>PageShift, maxFilePages, true)
		}
		sys.truncateInodePages(t, f, size, maxFilePages<<PageShift)
		if old > hole {
			// Private copies may have been made meanwhile.
			sys.unmapMappingRange(t, f, hole>>PageShift, maxFilePages, true)
		}
	}
	f.inode.Unlock(t)
	return 0
}

// Fallocate changes the room of [off,off+n) (bytes) of the file. A hole
// (FallocPunchHole) reads as zeroes, in every mapping that has no private copy.
// Without it the file gets long enough, unless FallocKeepSize is set; pages are
// allocated when they are touched (model/FIDELITY.md M-FALLOCATE).
//
// Errors: EINVAL, EFBIG, EOPNOTSUPP for what shmem cannot do.
//
// Kernel: vfs_fallocate, fs/open.c; shmem_fallocate, mm/shmem.c.
func (sys *System) Fallocate(t *sim.Task, f *File, mode uint32, off, n uint64) errno.Errno {
	switch {
	case off > maxFileBytes || n > maxFileBytes || n == 0:
		return errno.EINVAL
	case mode&^(FallocKeepSize|FallocPunchHole) != 0, mode == FallocPunchHole:
		return errno.EOPNOTSUPP
	case off+n > maxFileBytes:
		return errno.EFBIG
	}
	f.inode.Lock(t)
	if mode&FallocPunchHole != 0 {
		sys.punchHole(t, f, off, off+n)
	} else if mode&FallocKeepSize == 0 && f.sized && off+n > f.size {
		t.Write(&f.obj, 0, maxFilePages)
		t.Log(fnTruncate, f.size, off+n, 0)
		f.size = off + n
	}
	f.inode.Unlock(t)
	return 0
}

// punchHole makes bytes [lo,hi) zeroes: one CLEAR window for each VMA over the
// whole pages, and the rest in place.
//
// Kernel: truncate_pagecache_range, mm/truncate.c.
//
// Preconditions: inode is held.
//
// Simplified: model/FIDELITY.md M-REMOVE.
func (sys *System) punchHole(t *sim.Task, f *File, lo, hi uint64) {
	t.Log(fnPunch, lo, hi, 0)
	if a, b := pageAlign(lo)>>PageShift, hi>>PageShift; a < b {
		sys.unmapMappingRange(t, f, a, b, false)
	}
	sys.truncateInodePages(t, f, lo, hi)
}

// truncateInodePages makes bytes [lo,hi) of the file zeroes in page cache and
// disk: whole pages go, the rest is overwritten.
//
// Kernel: truncate_inode_pages_range, mm/truncate.c; shmem_undo_range,
// mm/shmem.c.
//
// Preconditions: inode is held.
func (sys *System) truncateInodePages(t *sim.Task, f *File, lo, hi uint64) {
	first, last := lo>>PageShift, hi>>PageShift
	head, tail := pageOffset(lo), pageOffset(hi)
	switch {
	case first == last:
		sys.zeroPart(t, f, first, head, tail)
		return
	case head != 0:
		sys.zeroPart(t, f, first, head, PageSize)
		first++
	}
	sys.removeCached(t, f, first, last)
	if tail != 0 {
		sys.zeroPart(t, f, last, 0, tail)
	}
}

// zeroPart makes the bytes [from,to) of page off zeroes, in place. A page of shmem
// that is not there is zeroes anyway.
//
// Kernel: truncate_inode_partial_folio, mm/truncate.c; shmem_get_partial_folio,
// mm/shmem.c.
func (sys *System) zeroPart(t *sim.Task, f *File, off, from, to uint64) {
	for from < to {
		t.Read(&f.obj, off, off+1)
		if e, _ := f.cached(off, 1); e.none() && f.Shmem {
			return
		}
		pfn, _, err := sys.filemapGetPages(t, nil, f, off, 1)
		if err != 0 {
			return // behind the end, or no memory to read it into
		}
		t.Write(&sys.MemObj, uint64(pfn), uint64(pfn)+1)
		if f.caches(off, 1, pfn) {
			sys.Mem.Write(pfn, from, to-from, 0)
			f.markDirty(off, 1)
			return
		}
	}
}

// removeCached takes pages [off,end) out of the page cache. One that a task has
// mapped again meanwhile is unmapped first.
//
// Kernel: truncate_inode_folio, mm/truncate.c.
func (sys *System) removeCached(t *sim.Task, f *File, off, end uint64) {
	for i := off; i < end; {
		r, ok := f.cache.Next(i)
		if !ok || r.Lo >= end {
			break
		}
		i = r.Lo
		n := step(t, i, min(r.Hi, end))
		t.Write(&f.obj, i, i+n)
		e, n := f.cached(i, n)
		switch {
		case e.none():
		case e.swap():
			f.cache.Clear(i, i+n)
			sys.Mem.SwapPut(e.Slot(), n)
		default:
			if n = sys.runWithCount(e.Frame(), n, 1); n == 0 {
				sys.unmapFolio(t, f, i, e.Frame())
				continue
			}
			f.cache.Clear(i, i+n)
			sys.put(e.Frame(), n)
		}
		i += n
	}
	if !f.Shmem {
		f.onDisk(sys).Zero(off, end-off)
	}
}

// unmapFolio unmaps one page, and waits for whoever else holds it.
//
// Kernel: unmap_mapping_folio, mm/memory.c.
//
// Simplified: model/FIDELITY.md M-PUNCH.
func (sys *System) unmapFolio(t *sim.Task, f *File, off uint64, pfn phys.PFN) {
	sys.unmapMappingRange(t, f, off, off+1, false)
	if f.caches(off, 1, pfn) && sys.runWithCount(pfn, 1, 1) == 0 {
		f.settle.SleepUntil(t, sys.Sim.Now()+sim.Microsecond)
	}
}

// onDisk returns what write-back has left of the file, made when first needed.
func (f *File) onDisk(sys *System) *phys.Disk {
	if f.disk == nil {
		f.disk = sys.Mem.NewDisk()
	}
	return f.disk
}

// fsyncRange writes the dirty pages of [off,end) of the file back. They are
// read-only afterwards, until the next write; there is nothing to do for shmem.
//
// Kernel: vfs_fsync_range, fs/sync.c; write_cache_pages, mm/page-writeback.c.
func (sys *System) fsyncRange(t *sim.Task, f *File, off, end uint64) {
	for i := off; i < end && !f.Shmem; {
		r, ok := f.cache.Next(i)
		if !ok || r.Lo >= end {
			return
		}
		i = r.Lo
		n := min(r.Hi, end) - i
		if f.watched(t, i, i+n) {
			n = 1
		}
		t.Write(&f.obj, i, i+n)
		e, n := f.cached(i, n)
		if e&pgDirty != 0 {
			sys.writePages(t, f, i, n, e.Frame())
		}
		i += n
	}
}

// watched says whether work on pages [off,end) of the file can be seen page by
// page.
func (f *File) watched(t *sim.Task, off, end uint64) bool {
	for _, v := range f.mappings {
		if lo, hi := v.shows(f, off, end); lo < hi && v.mm.watched(t, lo, hi) {
			return true
		}
	}
	return false
}

// writePages writes n dirty pages from off on, the frames from pfn on, to the
// disk. They count as clean before their mappings become read-only: what is
// written in between is written to the disk now, what comes later makes them
// dirty again.
//
// Kernel: folio_clear_dirty_for_io, mm/page-writeback.c.
func (sys *System) writePages(t *sim.Task, f *File, off, n uint64, pfn phys.PFN) {
	f.cache.Update(off, off+n, func(e uint64) uint64 { return e&^uint64(pgDirty) | uint64(pgWriteback) })
	sys.mkclean(t, f, off, n)
	t.Write(&f.obj, off, off+n)
	for n > 0 {
		e, k := f.cached(off, n)
		if e.Frame() == pfn && e&pgWriteback != 0 && !e.swap() {
			f.onDisk(sys).Write(off, pfn, k)
			f.cache.Update(off, off+k, func(e uint64) uint64 { return e &^ uint64(pgWriteback) })
		}
		off, pfn, n = off+k, pfn+phys.PFN(k), n-k
	}
}
