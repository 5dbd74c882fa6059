// SPDX-License-Identifier: MIT

package mm

// Digest hashes what decides what the address space does next: VMAs, page
// tables, and the notifiers' seqs relative to the mm's own. Seqs and generations
// themselves only count up and are left out.
func (mm *MM) Digest() uint64 { return mm.digest(mm.pt.Digest()) }

// Shape hashes all address spaces, page caches and the hand of reclaim like
// Digest, but for the numbers of frames and swap slots: states that differ in
// these alone go on alike.
func (sys *System) Shape() uint64 {
	const keep = ^uint64(pteFrameMask)
	h := fold(sys.kswapd.handMM, sys.kswapd.handPage)
	for _, mm := range sys.mms {
		h = fold(h, mm.digest(mm.pt.Shape(keep)))
	}
	for _, f := range sys.files {
		h = fold(h, f.cache.Shape(keep))
	}
	return fold(h, sys.swapCache.frames.Len())
}

// digest is Digest for a page table that is hashed already.
func (mm *MM) digest(pt uint64) uint64 {
	h := fold(uint64(mm.id), pt)
	h = fold(h, mm.tables.Digest())
	h = fold(h, mm.puds.Digest())
	h = fold(h, uint64(mm.users)<<32|uint64(mm.count))
	h = fold(h, mm.brk)
	h = fold(h, uint64(mm.oom.tries))
	mm.vmas.Ascend(func(v *VMA) bool {
		h = fold(h, v.Start)
		h = fold(h, v.End)
		h = fold(h, uint64(v.Flags)|uint64(v.policy)<<32)
		return true
	})
	if s := mm.subs; s != nil {
		h = fold(h, uint64(s.active)<<1|s.seq&1)
		h = fold(h, uint64(len(s.deferred)))
		s.tree.visit(0, EndOfSpace, func(n *IntervalNotifier) bool {
			h = fold(h, n.Start)
			if n.seq == s.seq {
				h = fold(h, 1)
			}
			return true
		})
	}
	return h
}

func fold(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>32
}
