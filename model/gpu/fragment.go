// SPDX-License-Identifier: MIT

package gpu

import (
	"math/bits"

	"github.com/kfdsim/kfdsim/model/phys"
)

const (
	// maxFragment is the largest fragment that the entry's field can say.
	maxFragment = 31
	// levelBits is the number of address bits that one level of tables resolves.
	levelBits = 9
	// topShift is the address shift of the topmost level (PDB2).
	topShift = 3 * levelBits
)

// fragment returns the fragment of an update of [lo,hi) to consecutive frames at
// lo, and where the part that can use it ends: the largest power of two that the
// alignment of lo and the length allow. The frames' own alignment does not
// matter.
//
// Kernel: amdgpu_vm_pte_fragment, drivers/gpu/drm/amd/amdgpu/amdgpu_vm_pt.c.
func fragment(lo, hi uint64) (frag uint, end uint64) {
	frag = uint(min(bits.TrailingZeros64(lo), bits.Len64(hi-lo)-1))
	if frag >= maxFragment {
		return maxFragment, hi &^ (1<<maxFragment - 1)
	}
	return frag, lo + 1<<frag
}

// leafShift returns the log2 of the pages that one table word covers when an
// entry has the fragment: from 2 MiB on a directory entry is the leaf.
func leafShift(frag uint) uint { return min(frag/levelBits*levelBits, topShift) }

// update writes entries for consecutive GPU pages from what comes in pieces. It
// holds back the last consecutive frames, because more may follow.
type update struct {
	vm    *VM
	flags PTE
	page  uint64 // the next one to write
	frame uint64 // of page, when something is held back
	n     uint64 // pages held back
}

// add appends the frames of r.
func (u *update) add(r phys.Run) {
	frame, n := r.V&frameMask, r.Len()
	if n == 1 || r.Stride == 1 {
		u.follow(frame, n)
		return
	}
	// One page many times (the zero page): nothing inside continues anything, but
	// its ends may.
	u.follow(frame, 1)
	u.flush()
	if n -= 2; n > 0 {
		u.same(frame, n)
	}
	u.follow(frame, 1)
}

// follow appends n consecutive frames.
func (u *update) follow(frame, n uint64) {
	if u.n > 0 && frame == u.frame+u.n {
		u.n += n
		return
	}
	u.flush()
	u.frame, u.n = frame, n
}

// flush writes what was held back, cut into fragments.
func (u *update) flush() {
	c, x := &u.vm.dev.Counts, &u.vm.table
	if u.n > 0 {
		x.setGens(u.vm.dev.mem, u.page, u.frame, u.n)
	}
	for u.n > 0 {
		frag, end := fragment(u.page, u.page+u.n)
		if u.vm.dev.pageAtATime {
			frag, end = 0, u.page+1
		}
		n := end - u.page
		x.ptes.Set(u.page, end, uint64(u.flags)|uint64(frag)<<fragShift|u.frame, 1)
		c.Fragments += n >> frag
		c.EntriesWritten += n >> leafShift(frag)
		u.page, u.frame, u.n = end, u.frame+n, u.n-n
	}
}

// same writes n entries for one frame.
func (u *update) same(frame, n uint64) {
	c, x, end := &u.vm.dev.Counts, &u.vm.table, u.page+n
	x.ptes.Set(u.page, end, uint64(u.flags)|frame, 0)
	x.gens.Set(u.page, end, uint64(u.vm.dev.mem.Gen(phys.PFN(frame))), 0)
	c.Fragments += n
	c.EntriesWritten += n
	u.page = end
}

// setGens notes the present generations of n consecutive frames beside the pages
// from page on.
func (x *translations) setGens(mem *phys.Memory, page, frame, n uint64) {
	if n == 1 {
		x.gens.Set(page, page+1, uint64(mem.Gen(phys.PFN(frame))), 0)
		return
	}
	for r := range mem.FrameRuns(phys.PFN(frame), n) {
		p := page + uint64(r.PFN) - frame
		x.gens.Set(p, p+r.N, uint64(r.Gen), 0)
	}
}
