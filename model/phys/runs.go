// SPDX-License-Identifier: MIT

package phys

import (
	"fmt"
	"math/bits"
)

// MaxPage bounds the keys of a Map: they are in [0, MaxPage). A 64-bit address space has 2^52 pages of 4 KiB.
const MaxPage = 1 << 62

// batchRuns is how many runs are copied at a time where runs are changed while they are walked.
const batchRuns = 64

// Run is a stretch of pages [Lo, Hi) whose values are equal (Stride 0) or count upwards (Stride 1): page i has the value
// V + (i-Lo)*Stride. So consecutive PFNs in the low bits of a page-table entry are one run. A run of one page has Stride 0.
type Run struct {
	Lo, Hi uint64 // pages, half-open
	V      uint64 // the value of page Lo
	Stride uint64 // 0 or 1
}

// Len is the number of pages in r.
func (r Run) Len() uint64 { return r.Hi - r.Lo }

// At returns the value of page i.
//
// Preconditions: r.Lo <= i < r.Hi.
func (r Run) At(i uint64) uint64 { return r.V + (i-r.Lo)*r.Stride }

// Clip returns the part of r in [lo, hi), which is empty (Lo >= Hi) when they do not meet.
func (r Run) Clip(lo, hi uint64) Run {
	if lo > r.Lo {
		r.V += (lo - r.Lo) * r.Stride
		r.Lo = lo
	}
	r.Hi = min(r.Hi, hi)
	if r.Hi == r.Lo+1 {
		r.Stride = 0
	}
	return r
}

// Map is an ordered map from page index to a 64-bit word, stored as runs. The zero Map is empty and ready.
//
// What it shows (Next, Iter, Runs, Digest) depends on its contents alone, never on the calls that built it: runs are cut
// greedily from the left, so 5 5 6 is [5 5][6]. What it stores may be cut elsewhere; see chunk.go and dense.go for the two
// forms. Memory is 24 bytes per run (with the slack of arrays that grow, up to 45), or, for a block of 512 pages that would have
// many runs, 8.3 bytes per page of the block, whether set or not.
//
// Guarded by the caller; Get and the like move a cache, so even readers exclude each other.
type Map struct {
	// keys[c] is the first page that chunks[c] is responsible for: ascending, multiples of blockPages. Chunk c owns every
	// run that begins in [keys[c], keys[c+1]); the run itself may reach beyond. A dense chunk owns blockPages pages exactly.
	keys   []uint64
	chunks []*chunk

	hint  int    // the chunk found last
	pages uint64 // number of pages set

	// Kept for reuse, so that a map that swings back and forth does not allocate.
	spare *[blockPages]uint64 // the array of the block that was dense last
	idle  *chunk              // the chunk that was dropped last, without segments
	runs  []Run               // for Update
	cut   []seg               // for a block on its way back to segments
}

// Len returns the number of pages set.
func (m *Map) Len() uint64 { return m.pages }

// find returns the last chunk whose key is at or below i, or -1.
func (m *Map) find(i uint64) int {
	n := len(m.keys)
	if h := m.hint; h < n && m.keys[h] <= i {
		if h+1 == n || i < m.keys[h+1] {
			return h
		}
		if h++; h+1 == n || i < m.keys[h+1] {
			m.hint = h
			return h
		}
	}
	if n == 0 || m.keys[0] > i {
		return -1
	}
	base := 0
	for n > 1 {
		half := n >> 1
		_, below := bits.Sub64(i, m.keys[base+half], 0)
		base += half & (int(below) - 1) // no branch: which way to go is a coin's toss, and the keys are in the cache
		n -= half
	}
	m.hint = base
	return base
}

// pred returns the last segment or dense chunk that begins at or before i: chunk c, and segment k of it (0 when dense);
// c is -1 when there is none.
func (m *Map) pred(i uint64) (c, k int) {
	c = m.find(i)
	if c < 0 || m.chunks[c].dense != nil {
		return c, 0
	}
	if k = m.chunks[c].search(i); k >= 0 {
		return c, k
	}
	// A chunk's first run may begin after its key. What covers i then is the end of the chunk before.
	if c--; c < 0 {
		return -1, 0
	}
	return c, max(0, len(m.chunks[c].segs)-1)
}

// Get returns the value of page i, and whether it is set.
func (m *Map) Get(i uint64) (v uint64, ok bool) {
	c, k := m.pred(i)
	if c < 0 {
		return 0, false
	}
	ch := m.chunks[c]
	if ch.dense != nil {
		o := i - m.keys[c]
		if o >= blockPages || !ch.has(o) {
			return 0, false
		}
		return ch.dense[o], true
	}
	s := &ch.segs[k]
	if i >= s.hi() {
		return 0, false
	}
	return s.at(i), true
}

// Set gives the pages of [lo, hi) the values v, v+stride, v+2*stride, …; what was there is overwritten. An empty range is no change.
//
// Preconditions:
//   - hi <= MaxPage
//   - stride is 0 or 1
func (m *Map) Set(lo, hi, v, stride uint64) {
	if lo >= hi {
		return
	}
	if hi > MaxPage || stride > 1 {
		panic(fmt.Sprintf("BUG: Map.Set([%#x,%#x), stride %d): out of range", lo, hi, stride))
	}
	c := m.find(lo)
	if c >= 0 {
		ch := m.chunks[c]
		if ch.dense != nil {
			base := m.keys[c]
			if hi <= base+blockPages && hi-lo < blockPages {
				m.pages += ch.write(lo-base, hi-base, v, stride)
				m.relax(c)
				return
			}
		} else if m.within(c, lo, hi) {
			m.splice(c, lo, hi, makeSeg(lo, hi, v, stride), true)
			return
		}
	}
	m.setSlow(lo, hi, v, stride)
}

// Clear unsets the pages of [lo, hi).
func (m *Map) Clear(lo, hi uint64) {
	if lo >= hi || m.pages == 0 {
		return
	}
	c := m.find(lo)
	if c >= 0 {
		ch := m.chunks[c]
		if ch.dense != nil {
			base := m.keys[c]
			if hi <= base+blockPages && hi-lo < blockPages {
				m.pages -= ch.erase(lo-base, hi-base)
				m.relax(c)
				return
			}
		} else if m.within(c, lo, hi) {
			m.splice(c, lo, hi, seg{}, false)
			return
		}
	}
	m.clearSlow(lo, hi)
}

// Update replaces the value v of every page of [lo, hi) that is set by f(v). f is called once per run (or more finely), with
// the value of its first page, and the change holds for the whole run; so f must be pure, must not touch m, and must leave alone the
// low bits that a stride counts through: f(v+k) = f(v)+k within a run.
func (m *Map) Update(lo, hi uint64, f func(v uint64) uint64) {
	if hi-lo == 1 {
		if v, ok := m.Get(lo); ok {
			if w := f(v); w != v {
				m.Set(lo, hi, w, 0)
			}
		}
		return
	}
	// In batches, because what is walked must not change, and a copy of everything might be larger than the map.
	for lo < hi {
		m.runs = m.runs[:0]
		for it := m.Iter(lo, hi); len(m.runs) < batchRuns && it.Next(); {
			m.runs = append(m.runs, it.Run)
		}
		if len(m.runs) == 0 {
			return
		}
		for _, r := range m.runs {
			if w := f(r.V); w != r.V {
				m.Set(r.Lo, r.Hi, w, r.Stride)
			}
		}
		lo = m.runs[len(m.runs)-1].Hi
	}
}

// Reset empties the map and lets go of its memory.
func (m *Map) Reset() { *m = Map{} }
