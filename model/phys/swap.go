// SPDX-License-Identifier: MIT

package phys

import "fmt"

// A swap slot has a word like a frame's, without a generation: who holds a slot has a swap entry in a page table, and no device ever
// sees one. A slot that is not in use has no word. Slot 0 is never given out, as in a real swap area, whose header is there.

// SwapTotal returns the number of swap slots.
func (m *Memory) SwapTotal() uint64 { return m.swapFree.hi - m.swapFree.lo }

// SwapFree returns the number of swap slots that are free.
func (m *Memory) SwapFree() uint64 { return m.swapFree.avail() }

// SwapUsed returns the number of swap slots in use.
func (m *Memory) SwapUsed() uint64 { return m.SwapTotal() - m.SwapFree() }

// SwapAlloc gives out one contiguous run of 1 to limit free slots, each with one holder and zeroes in it. n is 0 when there is none.
//
// Preconditions: limit > 0.
//
// Kernel: folio_alloc_swap, mm/swap_slots.c.
func (m *Memory) SwapAlloc(limit uint64) (slot, n uint64) {
	if slot, n = m.swapFree.take(limit); n > 0 {
		m.slots.Set(slot, slot+n, uint64(makeWord(0, 0, 1)), 0)
	}
	return slot, n
}

// SwapGet adds a holder to each of n slots.
//
// Preconditions: they are in use.
//
// Kernel: swap_duplicate, mm/swapfile.c.
func (m *Memory) SwapGet(slot, n uint64) {
	m.checkSwap("SwapGet", slot, n)
	for r := range m.words(&m.slots, slot, n) {
		w := word(r.V)
		if c := w.count(); c == 0 || c == countMax {
			panic(fmt.Sprintf("BUG: SwapGet(slot %#x): count is %d", r.Lo, c))
		}
		m.slots.Set(r.Lo, r.Hi, uint64(w+1<<countShift), 0)
	}
}

// SwapPut takes a holder from each of n slots, and frees those that have none left. It returns the number freed.
//
// Preconditions: they are in use.
//
// Kernel: swap_free_nr, mm/swapfile.c.
func (m *Memory) SwapPut(slot, n uint64) (freed uint64) {
	m.checkSwap("SwapPut", slot, n)
	for r := range m.words(&m.slots, slot, n) {
		w := word(r.V)
		switch w.count() {
		case 0:
			panic(fmt.Sprintf("BUG: SwapPut(slot %#x): slot is free", r.Lo))
		case 1:
			m.contents.drop(w.content(), r.Len())
			m.slots.Clear(r.Lo, r.Hi)
			m.swapFree.give(r.Lo, r.Hi)
			freed += r.Len()
		default:
			m.slots.Set(r.Lo, r.Hi, uint64(w-1<<countShift), 0)
		}
	}
	return freed
}

// SwapCount returns the number of holders of a slot; 0 when it is free.
//
// Kernel: swp_swapcount, mm/swapfile.c.
func (m *Memory) SwapCount(slot uint64) uint32 {
	m.checkSwap("SwapCount", slot, 1)
	v, _ := m.slots.Get(slot)
	return word(v).count()
}

// SwapSingle returns how many slots from slot on, at most n, have exactly one holder.
//
// Preconditions: they are in use.
func (m *Memory) SwapSingle(slot, n uint64) (k uint64) {
	m.checkSwap("SwapSingle", slot, n)
	for r := range m.words(&m.slots, slot, n) {
		if word(r.V).count() != 1 {
			break
		}
		k += r.Len()
	}
	return k
}

// SwapOutCopy gives n slots the bytes of the frames from pfn on.
//
// Preconditions: the slots are in use.
func (m *Memory) SwapOutCopy(slot uint64, pfn PFN, n uint64) {
	m.check("SwapOutCopy", pfn, n)
	m.checkSwap("SwapOutCopy", slot, n)
	for lo, hi := uint64(pfn), uint64(pfn)+n; lo < hi; {
		t, end := contentRun(&m.frames, lo, hi)
		m.setSlots(slot+lo-uint64(pfn), end-lo, t)
		lo = end
	}
}

// setSlots gives n slots the bytes of t.
func (m *Memory) setSlots(slot, n uint64, t token) {
	m.contents.hold(t, n)
	for r := range m.words(&m.slots, slot, n) {
		w := word(r.V)
		if w.count() == 0 {
			panic(fmt.Sprintf("BUG: SwapOutCopy(slot %#x): slot is free", r.Lo))
		}
		m.contents.drop(w.content(), r.Len())
		m.slots.Set(r.Lo, r.Hi, uint64(w.withContent(t)), 0)
	}
}

// SwapInCopy gives n frames from pfn on the bytes of the slots.
//
// Preconditions: the slots are in use; not the zero page.
func (m *Memory) SwapInCopy(pfn PFN, slot, n uint64) {
	m.checkWritable("SwapInCopy", pfn, n)
	m.checkSwap("SwapInCopy", slot, n)
	for lo, hi := slot, slot+n; lo < hi; {
		if m.SwapCount(lo) == 0 {
			panic(fmt.Sprintf("BUG: SwapInCopy(slot %#x): slot is free", lo))
		}
		t, end := contentRun(&m.slots, lo, hi)
		m.setContent(uint64(pfn)+lo-slot, end-lo, t)
		lo = end
	}
}

func (m *Memory) checkSwap(what string, slot, n uint64) {
	if top := m.swapFree.hi; slot < m.swapFree.lo || n > top || slot > top-n {
		panic(fmt.Sprintf("BUG: %s(slot %#x, %d slots): not in the swap area", what, slot, n))
	}
}
