// SPDX-License-Identifier: MIT

package phys

import "fmt"

// Disk is what a file system keeps of one file: the bytes of the pages that were written to it. It has no size and is never full.
//
// Guarded like the Memory whose contents it shares.
type Disk struct {
	m     *Memory
	pages Map // word of every page that was written, with a content only
}

// NewDisk returns a disk with nothing on it.
func (m *Memory) NewDisk() *Disk { return &Disk{m: m} }

// onDisk is the word of a page on a disk: allocated, so that zeroes can be told from nothing.
func onDisk(t token) uint64 { return uint64(makeWord(t, 0, 1)) }

// Write gives n pages from page off on the bytes of the frames from pfn on.
func (d *Disk) Write(off uint64, pfn PFN, n uint64) {
	d.m.check("Disk.Write", pfn, n)
	for lo, hi := uint64(pfn), uint64(pfn)+n; lo < hi; {
		t, end := contentRun(&d.m.frames, lo, hi)
		d.set(off+lo-uint64(pfn), end-lo, t)
		lo = end
	}
}

// Zero gives n pages from page off on zeroes.
func (d *Disk) Zero(off, n uint64) { d.set(off, n, 0) }

// Read gives the frames from pfn on the bytes of n pages from page off on, and those that were never written the byte fill.
//
// Preconditions: not the zero page.
func (d *Disk) Read(pfn PFN, off, n uint64, fill byte) {
	d.m.checkWritable("Disk.Read", pfn, n)
	for g := gaps(&d.pages, off, off+n); g.next(); {
		t := token(fill)
		if g.v != 0 {
			t = word(g.v).content()
		}
		d.m.setContent(uint64(pfn)+g.lo-off, g.hi-g.lo, t)
	}
}

// Forget makes the disk empty.
func (d *Disk) Forget() {
	for it := d.pages.Iter(0, MaxPage); it.Next(); {
		d.m.contents.drop(word(it.Run.V).content(), it.Run.Len())
	}
	d.pages.Reset()
}

// set gives n pages from page off on the bytes of t.
func (d *Disk) set(off, n uint64, t token) {
	if off+n < off || off+n > MaxPage {
		panic(fmt.Sprintf("BUG: Disk.set(page %#x, %d pages): out of range", off, n))
	}
	d.m.contents.hold(t, n)
	for it := d.pages.Iter(off, off+n); it.Next(); {
		d.m.contents.drop(word(it.Run.V).content(), it.Run.Len())
	}
	d.pages.Set(off, off+n, onDisk(t), 0)
}
