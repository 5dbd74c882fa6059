// SPDX-License-Identifier: MIT

package phys

import "iter"

// Iter walks the runs of a part of a Map in ascending order, without allocating:
//
//	for it := m.Iter(lo, hi); it.Next(); {
//		… it.Run …
//	}
//
// The map must not change while it is walked. To change what is found, copy it first (AppendRuns), or begin a new Iter after each change.
type Iter struct {
	// Run is the current run, clipped to the walked range, as long as can be seen from its left end.
	Run Run

	m      *Map
	at, hi uint64 // what is left to walk
	c, k   int    // the chunk, and the segment or the page in it, that comes next
	ahead  Run    // already read from the map, when it is not empty
}

// Iter returns an Iter over the pages of [lo, hi).
func (m *Map) Iter(lo, hi uint64) Iter {
	it := Iter{m: m, at: lo, hi: hi}
	if lo >= hi {
		it.c = len(m.chunks)
		return it
	}
	it.c, it.k = m.pred(lo)
	if it.c < 0 {
		it.c = 0
	} else if m.chunks[it.c].dense != nil {
		it.k = int(min(lo-m.keys[it.c], blockPages))
	}
	return it
}

// stored returns the next run as it is stored, clipped; an empty one at the end.
func (it *Iter) stored() Run {
	for ; it.c < len(it.m.chunks); it.c, it.k = it.c+1, 0 {
		ch := it.m.chunks[it.c]
		if ch.dense == nil {
			for it.k < len(ch.segs) {
				s := &ch.segs[it.k]
				if s.lo >= it.hi {
					it.c = len(it.m.chunks)
					return Run{}
				}
				it.k++
				if s.hi() > it.at {
					return s.run().Clip(it.at, it.hi)
				}
			}
			continue
		}
		base := it.m.keys[it.c]
		if base >= it.hi {
			it.c = len(it.m.chunks)
			return Run{}
		}
		h := min(it.hi-base, blockPages)
		if o := ch.nextSet(uint64(it.k)); o < h {
			e, stride := ch.piece(o, h)
			it.k = int(e)
			return Run{base + o, base + e, ch.dense[o], stride}
		}
	}
	return Run{}
}

// Next moves to the next run and reports whether there is one.
func (it *Iter) Next() bool {
	r := it.ahead
	if r.Lo >= r.Hi {
		if r = it.stored(); r.Lo >= r.Hi {
			return false
		}
	}
	for {
		n := it.stored()
		if n.Lo != r.Hi || n.Lo >= n.Hi {
			it.ahead = n
			break
		}
		stride := r.Stride
		if r.Len() == 1 {
			stride = n.V - r.V
		}
		if stride > 1 || n.V != r.V+r.Len()*stride {
			it.ahead = n
			break
		}
		r.Stride = stride
		if n.Len() > 1 && n.Stride != stride {
			// Its first page belongs to r, the rest does not: a single page has no stride of its own.
			r.Hi++
			it.ahead = n.Clip(n.Lo+1, n.Hi)
			break
		}
		r.Hi = n.Hi
	}
	it.Run = r
	return true
}

// Runs ranges over the runs of [lo, hi), clipped, in ascending order; see Iter. With a function of its own: m.Runs(lo, hi)(yield).
func (m *Map) Runs(lo, hi uint64) iter.Seq[Run] {
	return func(yield func(Run) bool) {
		for it := m.Iter(lo, hi); it.Next(); {
			if !yield(it.Run) {
				return
			}
		}
	}
}

// AppendRuns appends the runs of [lo, hi) to dst: for callers that change the map while they go through them.
func (m *Map) AppendRuns(dst []Run, lo, hi uint64) []Run {
	for it := m.Iter(lo, hi); it.Next(); {
		dst = append(dst, it.Run)
	}
	return dst
}

// Next returns the first run at or after page i: its part from i on, when i itself is set.
func (m *Map) Next(i uint64) (Run, bool) {
	it := m.Iter(i, MaxPage)
	ok := it.Next()
	return it.Run, ok
}

// NextGap returns the first range [lo, hi) of unset pages at or after page i; its part from i on, when i itself is unset.
// After the last page that is set, hi is MaxPage.
func (m *Map) NextGap(i uint64) (lo, hi uint64) {
	for it := m.Iter(i, MaxPage); ; {
		r := it.stored()
		if r.Lo >= r.Hi {
			return i, MaxPage
		}
		if r.Lo > i {
			return i, r.Lo
		}
		i = r.Hi
	}
}

// Empty reports whether no page of [lo, hi) is set.
func (m *Map) Empty(lo, hi uint64) bool {
	it := m.Iter(lo, hi)
	r := it.stored()
	return r.Lo >= r.Hi
}

// NumRuns returns the number of runs of the whole map, which it walks.
func (m *Map) NumRuns() (n int) {
	for it := m.Iter(0, MaxPage); it.Next(); {
		n++
	}
	return n
}
