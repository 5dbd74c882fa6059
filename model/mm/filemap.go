// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Flags of an entry of a page cache, in the place of a PTE's. An entry without
// PTESwap names a frame.
const (
	pgDirty     = PTEDirty // the frame has what the disk has not; not used for shmem
	pgWriteback = PTEYoung // it is being written
)

// NewFile makes a file of unknown size whose pages all show one byte, derived
// from its path: the contents of a file are unknown, only who shares them
// matters. Those of shmem are zeroes.
//
// Simplified: model/FIDELITY.md M-FILE.
func (sys *System) NewFile(path string, shmem bool) *File {
	f := &File{Path: path, Shmem: shmem}
	if !shmem {
		for i := 0; i < len(path); i++ {
			f.Fill = f.Fill*31 + path[i]
		}
	}
	f.obj.Init(sys.Sim, "page cache")
	f.inode.Init(sys.Sim, classInode)
	f.settle.Init(sys.Sim, "folio_wait")
	sys.files = append(sys.files, f)
	return f
}

// Ref takes a reference (an open descriptor, a mapping).
func (f *File) Ref() { f.refs++ }

// Unref drops a reference; the last one gives the cached pages back.
func (sys *System) Unref(f *File) {
	f.refs--
	if f.refs > 0 {
		return
	}
	for _, r := range f.cache.AppendRuns(nil, 0, ^uint64(0)) {
		if e := PTE(r.V); e.swap() {
			sys.Mem.SwapPut(e.Slot(), r.Len())
		} else {
			sys.put(e.Frame(), r.Len())
		}
	}
	f.cache.Clear(0, ^uint64(0))
	if f.disk != nil {
		f.disk.Forget()
	}
	for i, x := range sys.files {
		if x == f {
			sys.files = append(sys.files[:i], sys.files[i+1:]...)
			break
		}
	}
}

// CachedPages returns the number of pages in the page cache of the file, those in
// swap included.
func (f *File) CachedPages() uint64 { return f.cache.Len() }

// cached returns the entry of page off in the page cache, and how many pages from
// there on, at most n, continue it; an entry of 0 stands for pages that are not
// there.
func (f *File) cached(off, n uint64) (PTE, uint64) {
	r, ok := f.cache.Next(off)
	switch {
	case !ok || r.Lo >= off+n:
		return 0, n
	case r.Lo > off:
		return 0, r.Lo - off
	}
	return PTE(r.V), min(n, r.Hi-off)
}

// caches says whether n pages from off on are the frames from pfn on.
func (f *File) caches(off, n uint64, pfn phys.PFN) bool {
	for n > 0 {
		e, k := f.cached(off, n)
		if e.none() || e.swap() || e.Frame() != pfn {
			return false
		}
		off, pfn, n = off+k, pfn+phys.PFN(k), n-k
	}
	return true
}

// markDirty notes that pages are about to be written through a shared mapping.
//
// Kernel: fault_dirty_shared_page, mm/memory.c.
func (f *File) markDirty(off, n uint64) {
	if !f.Shmem {
		f.cache.Update(off, off+n, func(e uint64) uint64 { return e | uint64(pgDirty) })
	}
}

// doFault maps file pages: the cached page itself, or for a write to a private
// mapping a copy of it.
//
// Errors: EFAULT (SIGBUS) beyond the end of the file, ENOMEM.
//
// Kernel: do_fault, mm/memory.c.
func (mm *MM) doFault(t *sim.Task, v *VMA, lo, hi uint64, write bool) (uint64, errno.Errno) {
	f, off := v.File, v.pgoff(lo)
	if write && v.private() {
		v.anonVMAPrepare() // also where the file has ended
	}
	pfn, n, err := mm.sys.filemapGetPages(t, mm, f, off, hi-lo)
	if err != 0 {
		return 0, err
	}
	// Held, so that nobody migrates or frees them before they are mapped.
	mm.sys.get(pfn, n)
	if write && v.private() {
		done, err := mm.doCowFault(t, v, lo, n, pfn)
		mm.sys.put(pfn, n)
		return done, err
	}
	t.Write(&mm.ptObj, lo, lo+n)
	switch {
	case !mm.pt.Empty(lo, lo+n) || !f.caches(off, n, pfn):
		mm.sys.put(pfn, n)
		return 0, 0
	case mm.oom.unstable && v.private():
		mm.sys.put(pfn, n)
		return 0, errno.EFAULT
	}
	e := filePTE | PTE(pfn)
	if write {
		e |= sharedBits
		f.markDirty(off, n)
	}
	mm.setPTEs(lo, lo+n, e)
	mm.rss += n
	mm.faulted(t, lo, lo+n, 0)
	return n, 0
}

// doCowFault gives a private mapping its own copy of n file pages.
//
// Kernel: do_cow_fault.
func (mm *MM) doCowFault(t *sim.Task, v *VMA, lo, n uint64, src phys.PFN) (uint64, errno.Errno) {
	f, off := v.File, v.pgoff(lo)
	pfn, n, err := mm.vmaAllocPages(t, v, lo, n)
	if err != 0 {
		return 0, err
	}
	t.Write(&mm.ptObj, lo, lo+n)
	switch {
	case !mm.pt.Empty(lo, lo+n) || !f.caches(off, n, src):
		mm.sys.put(pfn, n)
		return 0, 0
	case mm.oom.unstable:
		mm.sys.put(pfn, n)
		return 0, errno.EFAULT
	}
	mm.sys.Mem.Copy(pfn, src, n)
	mm.sys.setAnon(v, pfn, n)
	mm.setPTEs(lo, lo+n, anonRW|PTE(pfn))
	mm.rss += n
	mm.faulted(t, lo, lo+n, 1)
	return n, 0
}

// filemapGetPages returns a run of up to n consecutive cached frames of the file
// from page offset off on, reading them in when they are missing. It holds no
// reference on them: the caller looks again before it maps them.
//
// Errors: EFAULT beyond the end of the file, ENOMEM.
//
// Kernel: filemap_fault, mm/filemap.c, and shmem_get_folio_gfp, mm/shmem.c.
func (sys *System) filemapGetPages(t *sim.Task, mm *MM, f *File, off, n uint64) (phys.PFN, uint64, errno.Errno) {
	for {
		t.Read(&f.obj, off, off+n)
		end := f.endPage()
		if off >= end {
			return 0, 0, errno.EFAULT
		}
		e, k := f.cached(off, min(n, end-off))
		if !e.none() && !e.swap() {
			return e.Frame(), k, 0
		}
		pfn, k, err := sys.allocPages(t, mm, k)
		if err != 0 {
			return 0, 0, err
		}
		if now, m := f.cached(off, k); now != e || m < k || off+k > f.endPage() {
			sys.put(pfn, k) // another task was faster
			continue
		}
		switch {
		case e.swap():
			sys.shmemSwapin(t, f, off, k, pfn, e.Slot())
		case f.disk != nil:
			f.disk.Read(pfn, off, k, f.Fill)
		default:
			sys.Mem.Fill(pfn, k, f.Fill)
		}
		f.cache.Set(off, off+k, uint64(pfn), 1)
		return pfn, k, 0
	}
}
