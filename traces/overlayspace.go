// SPDX-License-Identifier: MIT

package traces

import (
	"slices"
	"sort"
)

// attr says what is known about anonymous memory. Memory of which nothing is known is not stored at all.
type attr uint8

const (
	attrAnon   attr = 1 << iota // private, anonymous, ordinary pages; set in everything that is stored
	attrRW                      // readable and writable
	attrNoFork                  // MADV_DONTFORK: a child does not get it
	attrKeyed                   // behind a protection key, which the GPU's faults would need too
)

// eligible says whether memory may be registered: every access to it succeeds.
func (a attr) eligible() bool { return a&(attrAnon|attrRW|attrKeyed) == attrAnon|attrRW }

// region is [start,end), bytes, page aligned.
type region struct {
	start, end uint64
	attr       attr
}

// space is what a trace shows of one address space: its private anonymous memory. Files, shared memory, huge pages,
// and what execve and the loader left without a line are holes like unmapped memory, because none of it is picked.
//
// Memory: one region per run of equal pages.
type space struct {
	regions []region // sorted, disjoint, neighbours that touch differ
	scratch []region
	holds   []hold
	brk     uint64 // 0 until the first brk
	pages   uint64 // eligible
	min     uint64 // what is long enough to be picked, bytes
	fits    bool   // something long enough has been there

	area, since uint64 // eligible pages × lines up to line since

	// lost hears of memory that stops being eligible or gives its pages away, before it does.
	lost func(lo, hi uint64)
}

// hold is memory that a call in flight may take away at any moment until its second half.
type hold struct {
	by     *task
	lo, hi uint64
}

func pageUp(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// pageSize is that of x86-64, bytes.
const pageSize = 4096

// find returns the index of the first region that ends behind addr.
func (s *space) find(addr uint64) int {
	return sort.Search(len(s.regions), func(i int) bool { return s.regions[i].end > addr })
}

// edit gives all that is stored in [lo,hi) the attributes that change returns; 0 forgets it.
func (s *space) edit(lo, hi uint64, change func(attr) attr) {
	if lo >= hi {
		return
	}
	j := s.find(lo)
	i, out := s.begin(j)
	for ; j < len(s.regions) && s.regions[j].start < hi; j++ {
		r := s.regions[j]
		from, to := max(lo, r.start), min(hi, r.end)
		now := change(r.attr)
		if r.attr.eligible() && !now.eligible() && s.lost != nil {
			s.lost(from, to)
		}
		out = appendRegion(out, region{r.start, from, r.attr})
		out = appendRegion(out, region{from, to, now})
		out = appendRegion(out, region{to, r.end, r.attr})
	}
	s.replace(i, j, out)
}

// put stores [lo,hi) with attribute a in place of all that was there.
func (s *space) put(lo, hi uint64, a attr) {
	s.forget(lo, hi)
	if lo >= hi || a == 0 {
		return
	}
	j := s.find(lo)
	i, out := s.begin(j)
	s.replace(i, j, appendRegion(out, region{lo, hi, a}))
	s.notice(lo)
}

// forget drops all that is stored in [lo,hi).
func (s *space) forget(lo, hi uint64) { s.edit(lo, hi, func(attr) attr { return 0 }) }

// appendRegion appends r unless it is empty or nothing is known of it, joined to the last one if they are alike.
func appendRegion(to []region, r region) []region {
	if r.start >= r.end || r.attr == 0 {
		return to
	}
	if n := len(to); n > 0 && to[n-1].end == r.start && to[n-1].attr == r.attr {
		to[n-1].end = r.end
		return to
	}
	return append(to, r)
}

// begin starts the list of what is to replace the regions from j on: with the one before, which may grow by it.
func (s *space) begin(j int) (i int, out []region) {
	if j == 0 {
		return 0, s.scratch[:0]
	}
	return j - 1, append(s.scratch[:0], s.regions[j-1])
}

// replace puts with in place of regions[i:j], joined to the one behind, and keeps the count of pages.
func (s *space) replace(i, j int, with []region) {
	if j < len(s.regions) {
		with = appendRegion(with, s.regions[j])
		j++
	}
	for _, r := range s.regions[i:j] {
		s.pages -= r.eligiblePages()
	}
	for _, r := range with {
		s.pages += r.eligiblePages()
	}
	s.regions = slices.Replace(s.regions, i, j, with...)
	s.scratch = with[:0]
}

func (r region) eligiblePages() uint64 {
	if !r.attr.eligible() {
		return 0
	}
	return (r.end - r.start) / pageSize
}

// at returns the attributes of the page at addr, 0 if nothing is known of it.
func (s *space) at(addr uint64) attr {
	if i := s.find(addr); i < len(s.regions) && s.regions[i].start <= addr {
		return s.regions[i].attr
	}
	return 0
}

// notice remembers that memory long enough to be picked has been there.
func (s *space) notice(addr uint64) {
	s.fits = s.fits || s.at(addr).eligible() && s.runAround(addr) >= s.min
}

// runAround returns how many bytes of eligible memory lie around addr without a hole.
func (s *space) runAround(addr uint64) uint64 {
	i := s.find(addr)
	j := i + 1
	for i > 0 && s.regions[i-1].end == s.regions[i].start && s.regions[i-1].attr.eligible() {
		i--
	}
	for j < len(s.regions) && s.regions[j-1].end == s.regions[j].start && s.regions[j].attr.eligible() {
		j++
	}
	return s.regions[j-1].end - s.regions[i].start
}

// protect is mprotect. A key is -1 if the call leaves it alone.
func (s *space) protect(lo, hi, prot, key uint64) {
	const readWrite = 3
	s.edit(lo, hi, func(a attr) attr {
		a &^= attrRW
		if prot&readWrite == readWrite {
			a |= attrRW
		}
		switch key {
		case ^uint64(0):
		case 0:
			a &^= attrKeyed
		default:
			a |= attrKeyed
		}
		return a
	})
	s.notice(lo)
}

// move is mremap of [from,from+size) to [to,to+newSize). With keep the old place stays mapped, without its pages.
func (s *space) move(from, size, to, newSize uint64, keep bool) {
	last := s.at(from + size - 1)
	if size == 0 {
		last = 0
	}
	if from == to {
		s.forget(from+newSize, from+size)
		s.put(from+size, from+newSize, last)
		return
	}
	var moved []region
	for i := s.find(from); i < len(s.regions) && s.regions[i].start < from+size; i++ {
		r := s.regions[i]
		moved = append(moved, region{max(r.start, from), min(r.end, from+size), r.attr})
	}
	s.forget(from, from+size)
	s.forget(to, to+newSize)
	for _, r := range moved {
		if keep {
			s.put(r.start, r.end, r.attr)
		}
		s.put(r.start-from+to, min(r.end-from, newSize)+to, r.attr)
	}
	if newSize > size {
		s.put(to+size, to+newSize, last)
	}
}

// setBreak is brk with its result. The first one shows where the heap is, not what of it is mapped.
func (s *space) setBreak(brk uint64) {
	old := s.brk
	s.brk = brk
	switch {
	case old == 0:
	case brk > old:
		s.put(pageUp(old), pageUp(brk), attrAnon|attrRW)
	default:
		s.forget(pageUp(brk), pageUp(old))
	}
}

// fork returns the child's copy.
func (s *space) fork(now uint64) *space {
	child := &space{brk: s.brk, since: now, min: s.min}
	for _, r := range s.regions {
		if r.attr&attrNoFork == 0 {
			child.put(r.start, r.end, r.attr)
		}
	}
	return child
}

// hold notes that by's call in flight may take [lo,hi) away: for whoever uses it, it is gone now.
func (s *space) hold(by *task, lo, hi uint64) {
	if lo >= hi {
		return
	}
	s.holds = append(s.holds, hold{by, lo, hi})
	if s.lost != nil {
		s.lost(lo, hi)
	}
}

// unhold ends the holds of a task whose call returned.
func (s *space) unhold(by *task) {
	s.holds = slices.DeleteFunc(s.holds, func(h hold) bool { return h.by == by })
}

// pass counts what is eligible up to line now.
func (s *space) pass(now uint64) uint64 {
	s.area += s.pages * (now - s.since)
	s.since = now
	return s.area
}
