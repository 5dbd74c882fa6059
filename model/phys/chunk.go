// SPDX-License-Identifier: MIT

package phys

// Why not a B-tree: a comparator called through a closure costs more than the whole look-up here. Two levels of sorted arrays
// (keys of chunks, segments of a chunk) are searched in place, and a million runs need about ten thousand chunks.
const (
	maxSegs   = 126 // segments of a chunk between two calls; a splice adds at most two more
	denseSegs = 96  // segments that begin in one block, at which the block becomes dense when its chunk is full
	fewSegs   = 16  // segments below which a chunk tries to join a neighbour
)

// seg is a Run in 24 bytes.
type seg struct {
	lo  uint64
	end uint64 // the run's Hi<<1 | Stride
	v   uint64
}

func makeSeg(lo, hi, v, stride uint64) seg {
	if hi == lo+1 {
		stride = 0
	}
	return seg{lo, hi<<1 | stride, v}
}

func (s *seg) hi() uint64          { return s.end >> 1 }
func (s *seg) stride() uint64      { return s.end & 1 }
func (s *seg) at(i uint64) uint64  { return s.v + (i-s.lo)&-(s.end&1) }
func (s *seg) run() Run            { return Run{s.lo, s.hi(), s.v, s.stride()} }
func (s *seg) from(lo uint64) seg  { return makeSeg(lo, s.hi(), s.at(lo), s.stride()) }
func (s *seg) until(hi uint64) seg { return makeSeg(s.lo, hi, s.v, s.stride()) }

// join returns a and b as one segment, if b continues a. One page alone has whichever stride suits.
//
// Preconditions: a ends where b begins.
func join(a, b seg) (seg, bool) {
	la, lb := a.hi()-a.lo, b.hi()-b.lo
	stride := a.stride()
	if la == 1 {
		if stride = b.stride(); lb == 1 {
			stride = b.v - a.v
		}
	}
	if stride > 1 || b.v != a.v+la*stride || lb > 1 && b.stride() != stride {
		return a, false
	}
	return seg{a.lo, b.hi()<<1 | stride, a.v}, true
}

// chunk is one part of a Map: segments, or (dense != nil) a block of pages with a value each.
//
// Segments are sorted, do not overlap, and no segment continues the one before it. A chunk is never empty.
type chunk struct {
	segs []seg

	// index is, in a dense chunk, a bit per page that is present. Else it is the lo of every strideth segment: one line of
	// cache that saves most of the lines of a binary search. Entries beyond the segments are stale.
	index [blockPages / 64]uint64

	// The fields below are in use when dense is not nil; see dense.go.
	dense *[blockPages]uint64
	n     uint16 // pages present
	turns uint16 // see (*chunk).turnsIn

	last uint16 // the segment that search found last; a guess
}

// strideSegs is the number of segments per entry of a chunk's index.
const strideSegs = 16

// newChunk returns a chunk of a copy of segs, with room for more.
func (m *Map) newChunk(segs []seg) *chunk {
	ch := m.idle
	if m.idle = nil; ch == nil {
		ch = &chunk{}
	}
	ch.replace(0, 0, segs)
	return ch
}

// shelve keeps a chunk that is no longer in use for newChunk.
func (m *Map) shelve(ch *chunk) {
	if ch.dense != nil {
		m.spare = ch.dense
	}
	*ch = chunk{segs: ch.segs[:0]}
	m.idle = ch
}

// search returns the last segment that begins at or before i, or -1.
func (ch *chunk) search(i uint64) int {
	n := len(ch.segs)
	if n == 0 || ch.index[0] > i {
		return -1
	}
	// Where it was, or one further: who goes through a map asks for run after run.
	if k := int(ch.last); k < n && ch.segs[k].lo <= i {
		if k+1 == n || i < ch.segs[k+1].lo {
			return k
		}
		if k++; k+1 == n || i < ch.segs[k+1].lo {
			ch.last = uint16(k)
			return k
		}
	}
	base := 0
	if n > strideSegs {
		for g := (n + strideSegs - 1) / strideSegs; g > 1; {
			half := g >> 1
			if ch.index[(base+half)&7] <= i {
				base += half
			}
			g -= half
		}
		base *= strideSegs
		n = min(n-base, strideSegs)
	}
	for n > 1 {
		half := n >> 1
		if ch.segs[base+half].lo <= i {
			base += half
		}
		n -= half
	}
	ch.last = uint16(base)
	return base
}

// within reports whether changing [lo, hi) concerns the segments of chunk c alone, including a neighbour that the new run might join.
func (m *Map) within(c int, lo, hi uint64) bool {
	if c+1 < len(m.keys) && hi >= m.keys[c+1] {
		return false
	}
	if c == 0 || m.chunks[c].index[0] < lo {
		return true
	}
	before := m.chunks[c-1]
	return before.dense != nil || before.segs[len(before.segs)-1].hi() < lo
}

// splice replaces what chunk c holds of [lo, hi) by s (when put), or by nothing.
//
// Preconditions: m.within(c, lo, hi).
func (m *Map) splice(c int, lo, hi uint64, s seg, put bool) {
	ch := m.chunks[c]
	segs := ch.segs
	a := ch.search(lo)
	if a < 0 || segs[a].hi() < lo {
		a++
	}
	b := a
	for b < len(segs) && segs[b].lo <= hi {
		b++
	}
	var out [3]seg
	n := 0
	var gone uint64
	for k := a; k < b; k++ {
		if l, h := max(lo, segs[k].lo), min(hi, segs[k].hi()); l < h {
			gone += h - l
		}
	}
	push := func(x seg) {
		if n > 0 && out[n-1].hi() == x.lo {
			if j, ok := join(out[n-1], x); ok {
				out[n-1] = j
				return
			}
		}
		out[n] = x
		n++
	}
	if a < b && segs[a].lo < lo {
		push(segs[a].until(min(lo, segs[a].hi())))
	}
	if put {
		push(s)
		m.pages += hi - lo
	}
	if a < b && segs[b-1].hi() > hi {
		push(segs[b-1].from(max(hi, segs[b-1].lo)))
	}
	m.pages -= gone
	// What was cut down to one page has a free stride now and may continue, or be continued by, what it could not before.
	if n > 0 && a > 0 && segs[a-1].hi() == out[0].lo {
		if j, ok := join(segs[a-1], out[0]); ok {
			out[0] = j
			a--
		}
	}
	if n > 0 && b < len(segs) && out[n-1].hi() == segs[b].lo {
		if j, ok := join(out[n-1], segs[b]); ok {
			out[n-1] = j
			b++
		}
	}
	ch.replace(a, b, out[:n])
	m.rebalance(c, b == len(segs))
}

// replace puts with in the place of segments [a, b).
func (ch *chunk) replace(a, b int, with []seg) {
	old := len(ch.segs)
	grow := len(with) - (b - a)
	if old+grow > cap(ch.segs) {
		// Not append's doubling: a chunk's segments have a ceiling.
		bigger := make([]seg, old, min(max(8, (old+grow)*3/2), maxSegs+2))
		copy(bigger, ch.segs)
		ch.segs = bigger
	}
	if grow > 0 {
		ch.segs = ch.segs[:old+grow]
	}
	if grow != 0 {
		copy(ch.segs[b+grow:], ch.segs[b:old])
		ch.segs = ch.segs[:old+grow]
	}
	copy(ch.segs[a:], with)
	stop := len(ch.segs)
	if grow == 0 {
		stop = a + len(with)
	}
	for k := (a + strideSegs - 1) &^ (strideSegs - 1); k < stop; k += strideSegs {
		ch.index[k/strideSegs] = ch.segs[k].lo
	}
}

// mend joins segment k with the one before it if it continues that, as it may after it was cut down to one page.
func (ch *chunk) mend(k int) {
	if k < 1 || ch.segs[k-1].hi() != ch.segs[k].lo {
		return
	}
	if j, ok := join(ch.segs[k-1], ch.segs[k]); ok {
		ch.segs[k-1] = j
		ch.replace(k, k+1, nil)
	}
}
