// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// NewFile makes a file whose pages all show one byte, derived from its path: the
// contents of a file are unknown, only who shares them matters.
func (sys *System) NewFile(path string, shmem bool) *File {
	f := &File{Path: path, Shmem: shmem}
	if !shmem {
		for i := 0; i < len(path); i++ {
			f.Fill = f.Fill*31 + path[i]
		}
	}
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
		sys.Mem.Put(PTE(r.V).Frame(), r.Hi-r.Lo)
	}
	f.cache.Clear(0, ^uint64(0))
}

// CachedPages returns the number of pages in the page cache of the file.
func (f *File) CachedPages() uint64 { return f.cache.Len() }

// doFault maps file pages: the cached page itself, or for a write to a private
// mapping a copy of it.
//
// Kernel: do_fault, mm/memory.c.
func (mm *MM) doFault(t *sim.Task, v *VMA, lo, hi uint64, write bool) (uint64, errno.Errno) {
	pfn, n, err := mm.sys.filemapGetPages(t, mm, v.File, v.pgoff(lo), hi-lo)
	if err != 0 {
		return 0, err
	}
	if write && v.private() {
		return mm.doCowFault(t, v, lo, n, pfn)
	}
	t.Write(&mm.ptObj, lo, lo+n)
	if !mm.pt.Empty(lo, lo+n) {
		return 0, 0
	}
	e := filePTE | PTE(pfn)
	if write {
		e |= sharedBits
	}
	mm.sys.Mem.Get(pfn, n)
	mm.setPTEs(lo, lo+n, e)
	mm.rss += n
	mm.faulted(t, lo, lo+n, 0)
	return n, 0
}

// doCowFault gives a private mapping its own copy of n file pages.
//
// Kernel: do_cow_fault.
func (mm *MM) doCowFault(t *sim.Task, v *VMA, lo, n uint64, src phys.PFN) (uint64, errno.Errno) {
	v.anonVMAPrepare()
	pfn, n, err := mm.sys.allocPages(t, mm, n)
	if err != 0 {
		return 0, err
	}
	t.Write(&mm.ptObj, lo, lo+n)
	if !mm.pt.Empty(lo, lo+n) {
		mm.sys.Mem.Put(pfn, n)
		return 0, 0
	}
	mm.sys.Mem.Copy(pfn, src, n)
	mm.setPTEs(lo, lo+n, anonRW|PTE(pfn))
	mm.rss += n
	mm.faulted(t, lo, lo+n, 1)
	return n, 0
}

// filemapGetPages returns a run of up to n consecutive cached frames of the file
// from page offset off on, reading them in when they are missing.
//
// Kernel: filemap_fault, mm/filemap.c.
func (sys *System) filemapGetPages(t *sim.Task, mm *MM, f *File, off, n uint64) (phys.PFN, uint64, errno.Errno) {
	if r, ok := f.cache.Next(off); ok && r.Lo < off+n {
		if r.Lo == off {
			return PTE(r.V).Frame(), min(n, r.Hi-off), 0
		}
		n = r.Lo - off
	}
	pfn, n, err := sys.allocPages(t, mm, n)
	if err != 0 {
		return 0, 0, err
	}
	if !f.cache.Empty(off, off+n) {
		sys.Mem.Put(pfn, n)
		return sys.filemapGetPages(t, mm, f, off, n)
	}
	sys.Mem.Fill(pfn, n, f.Fill)
	f.cache.Set(off, off+n, uint64(pfn), 1)
	return pfn, n, 0
}
