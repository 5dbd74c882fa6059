// SPDX-License-Identifier: MIT

package phys

import "fmt"

// Poison takes a frame out of use: it stays with its holders, and is never given out again once the last of them has let go.
//
// Preconditions: the frame is allocated, and not the zero page.
//
// Kernel: SetPageHWPoison, and free_pages_prepare, which keeps such a page off the free lists.
func (m *Memory) Poison(pfn PFN) {
	m.checkWritable("Poison", pfn, 1)
	if m.word(pfn).count() == 0 {
		panic(fmt.Sprintf("BUG: Poison(pfn %#x): frame is free", uint64(pfn)))
	}
	m.poisoned.Set(uint64(pfn), uint64(pfn)+1, 0, 0)
}

// Unpoison undoes Poison while the frame still has a holder.
func (m *Memory) Unpoison(pfn PFN) {
	if m.word(pfn).count() == 0 {
		panic(fmt.Sprintf("BUG: Unpoison(pfn %#x): frame is gone", uint64(pfn)))
	}
	m.poisoned.Clear(uint64(pfn), uint64(pfn)+1)
}

// Lost returns the number of frames that are out of use for good: neither free nor used.
func (m *Memory) Lost() (n uint64) {
	for k := range m.nodes {
		n += m.nodes[k].lost
	}
	return n
}

// giveSound gives back those of the frames [lo, hi) that are not poisoned.
func (m *Memory) giveSound(p *pool, lo, hi uint64) {
	for it := m.poisoned.Iter(lo, hi); it.Next(); {
		if lo < it.Run.Lo {
			p.give(lo, it.Run.Lo)
		}
		lo = it.Run.Hi
		p.lost += it.Run.Len()
	}
	if lo < hi {
		p.give(lo, hi)
	}
}
