// SPDX-License-Identifier: MIT

package mm

// Digest hashes what decides what the address space does next: VMAs, page
// tables, and the notifiers' seqs relative to the mm's own. Seqs and generations
// only count up, and which frame or slot is behind a page decides nothing: both
// are left out, so that a loop that allocates comes back to an equal digest.
func (mm *MM) Digest() uint64 {
	h := fold(uint64(mm.id), mm.tables.Digest())
	var flags PTE
	next := uint64(0)
	for it := mm.pt.Iter(0, EndOfSpace); it.Next(); next = it.Run.Hi {
		if f := PTE(it.Run.V).flags(); f != flags || it.Run.Lo != next {
			h = fold(h, it.Run.Lo)
			h = fold(h, uint64(f))
			flags = f
		}
	}
	h = fold(h, next)
	h = fold(h, uint64(mm.users)<<32|uint64(mm.count))
	h = fold(h, mm.brk)
	h = fold(h, uint64(mm.oom.tries))
	mm.vmas.Ascend(func(v *VMA) bool {
		h = fold(h, v.Start)
		h = fold(h, v.End)
		h = fold(h, uint64(v.Flags))
		h = fold(h, v.policy.nodes^uint64(v.policy.mode)<<32)
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
