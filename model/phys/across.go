// SPDX-License-Identifier: MIT

package phys

import "slices"

// setSlow is Set for a range that concerns several chunks, or none.
func (m *Map) setSlow(lo, hi, v, stride uint64) {
	m.Clear(lo, hi)
	// Blocks that are dense now are so at the two ends only: Clear has dropped those between. It may have made one, of the
	// block in which it cut a run in two.
	if c := m.find(lo); c >= 0 && m.chunks[c].dense != nil && lo < m.keys[c]+blockPages {
		base := m.keys[c]
		end := min(hi, base+blockPages)
		m.pages += m.chunks[c].write(lo-base, end-base, v, stride)
		m.relax(c)
		lo, v = end, v+(end-lo)*stride
	}
	if c := m.find(hi - 1); lo < hi && c >= 0 && m.chunks[c].dense != nil && hi-1 < m.keys[c]+blockPages {
		base := m.keys[c]
		m.pages += m.chunks[c].write(0, hi-base, v+(base-lo)*stride, stride)
		m.relax(c)
		hi = base
	}
	if lo >= hi {
		return
	}
	m.pages += hi - lo
	m.insert(makeSeg(lo, hi, v, stride))
}

// insert adds a segment over pages that are not set, joining it with the segments beside it. The count of pages is the caller's.
//
// Preconditions: s meets no dense block.
func (m *Map) insert(s seg) {
	hi := s.hi()
	if c := m.find(hi); c >= 0 && m.chunks[c].dense == nil {
		ch := m.chunks[c]
		if k := ch.search(hi); k >= 0 && ch.segs[k].lo == hi {
			if j, ok := join(s, ch.segs[k]); ok {
				s = j
				ch.replace(k, k+1, nil)
				m.rebalance(c, false)
			}
		}
	}
	if c, k := m.pred(s.lo); c >= 0 && m.chunks[c].dense == nil && m.chunks[c].segs[k].hi() == s.lo {
		if j, ok := join(m.chunks[c].segs[k], s); ok {
			m.chunks[c].segs[k] = j
			return
		}
	}
	c := m.find(s.lo)
	if c < 0 || m.chunks[c].dense != nil {
		// Nobody owns this page: the next chunk takes it over, or a new one does.
		c++
		if c < len(m.chunks) && m.chunks[c].dense == nil {
			m.keys[c] = block(s.lo)
		} else {
			m.insertChunk(c, block(s.lo), m.newChunk([]seg{s}))
			return
		}
	}
	ch := m.chunks[c]
	k := ch.search(s.lo) + 1
	ch.replace(k, k, []seg{s})
	m.rebalance(c, k+1 == len(ch.segs))
}

// clearSlow is Clear for a range that concerns several chunks.
func (m *Map) clearSlow(lo, hi uint64) {
	first, _ := m.pred(lo)
	first = max(first, 0)
	var rest seg // what remains, behind hi, of a run that crosses it
	w, r := first, first
	for ; r < len(m.chunks) && (r == first || m.keys[r] < hi); r++ {
		ch := m.chunks[r]
		if ch.dense != nil {
			base := m.keys[r]
			if l, h := max(lo, base), min(hi, base+blockPages); l < h {
				if h-l == blockPages {
					m.pages -= uint64(ch.n)
					m.shelve(ch)
					continue
				}
				m.pages -= ch.erase(l-base, h-base)
			}
		} else if x := m.clearSegs(ch, lo, hi); x.end != 0 {
			rest = x
		}
		if len(ch.segs) > 0 || ch.n > 0 {
			m.keys[w], m.chunks[w] = m.keys[r], ch
			w++
		} else {
			m.shelve(ch)
		}
	}
	m.keys = slices.Delete(m.keys, w, r)
	m.chunks = slices.Delete(m.chunks, w, r)
	if rest.end != 0 {
		m.insert(rest)
	}
	// Of the chunks that are left, at most the two before w were touched, and the one that took the rest.
	for c := min(w, len(m.chunks)-1); c >= max(0, w-2); c-- {
		if m.chunks[c].dense != nil {
			m.relax(c)
		} else {
			m.rebalance(c, false)
		}
	}
}

// clearSegs removes [lo, hi) from ch and returns the remainder of a run that crosses hi, which may belong to a later chunk.
func (m *Map) clearSegs(ch *chunk, lo, hi uint64) (rest seg) {
	a := ch.search(lo)
	if a < 0 || ch.segs[a].hi() <= lo {
		a++
	}
	b := a
	for ; b < len(ch.segs) && ch.segs[b].lo < hi; b++ {
		s := &ch.segs[b]
		m.pages -= min(hi, s.hi()) - max(lo, s.lo)
		if s.hi() > hi {
			rest = s.from(hi)
		}
	}
	if a < b && ch.segs[a].lo < lo {
		ch.segs[a] = ch.segs[a].until(lo)
		a++
	}
	ch.replace(a, b, nil)
	ch.mend(a - 1)
	return rest
}
