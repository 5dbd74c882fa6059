// SPDX-License-Identifier: MIT

package mm

import "github.com/kfdsim/kfdsim/model/phys"

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
	h = fold(h, sys.pins.Len())
	for _, mm := range sys.mms {
		h = fold(h, mm.digest(mm.pt.Shape(keep)))
	}
	for _, f := range sys.files {
		h = fold(h, f.cache.Shape(keep))
	}
	return fold(h, sys.swapCache.frames.Len())
}

// State hashes everything that decides what the machine's memory does next, with
// names in place of the numbers of frames and swap slots. What counts up and what
// only speeds a search up is left out.
func (sys *System) State(n *phys.Names) uint64 {
	h := fold(sys.kswapd.handMM, sys.kswapd.handPage)
	h = fold(h, sys.Mem.Free())
	h = fold(h, sys.Mem.SwapFree())
	h = fold(h, sys.pins.Digest())
	entry := func(_, v uint64) uint64 { return uint64(PTE(v).flags()) ^ nameOf(n, PTE(v)) }
	for _, mm := range sys.mms {
		h = fold(h, mm.digest(n.Map(&mm.pt, entry)))
		h = fold(h, mm.lockedVM<<1)
		h = fold(h, mm.startBrk)
		if mm.defLocked {
			h = fold(h, 1)
		}
	}
	cached := func(_, v uint64) uint64 {
		if p := PTE(v); !p.swap() {
			return uint64(p.flags()) ^ n.Frame(p.Frame())
		}
		return uint64(PTE(v).flags()) ^ n.Slot(PTE(v).Slot())
	}
	for _, f := range sys.files {
		h = fold(h, n.Map(&f.cache, cached))
		h = fold(h, f.size)
		h = fold(h, uint64(f.refs))
	}
	return h
}

// nameOf is the name of what an entry points to, 0 if that is nothing.
func nameOf(n *phys.Names, p PTE) uint64 {
	switch {
	case p.swap():
		return n.Slot(p.Slot())
	case p.zero() || p.poison() || !p.Present() && !p.migration():
		return 0
	}
	return n.Frame(p.Frame())
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
