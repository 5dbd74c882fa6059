// SPDX-License-Identifier: MIT

package phys

import "slices"

// rebalance restores the limits of chunk c, which are the number of its segments from above and below. atEnd says that the last change
// was at its end: then pages are probably being set in ascending order, and a full chunk is best cut near its end.
func (m *Map) rebalance(c int, atEnd bool) {
	switch n := len(m.chunks[c].segs); {
	case n == 0:
		m.dropChunk(c)
	case n > maxSegs:
		m.split(c, atEnd)
	case n < fewSegs:
		m.joinNeighbour(c)
	}
}

func (m *Map) dropChunk(c int) {
	m.shelve(m.chunks[c])
	m.keys = slices.Delete(m.keys, c, c+1)
	m.chunks = slices.Delete(m.chunks, c, c+1)
}

func (m *Map) insertChunk(c int, key uint64, ch *chunk) {
	m.keys = slices.Insert(m.keys, c, key)
	m.chunks = slices.Insert(m.chunks, c, ch)
}

// split makes room in a full chunk: a block that has most of the segments becomes dense, else the chunk is cut between two
// blocks. So a block's segments are always in one chunk, and their number is known where it matters.
func (m *Map) split(c int, atEnd bool) {
	segs := m.chunks[c].segs
	want := len(segs) / 2
	if atEnd {
		want = len(segs)
	}
	cut, start := 0, 0 // the best cut so far; the first segment of the current block
	for k := 1; k <= len(segs); k++ {
		if k < len(segs) && block(segs[k].lo) == block(segs[k-1].lo) {
			continue
		}
		if k-start >= denseSegs {
			m.densify(c, start, k)
			return
		}
		// Two segments may have come at once: what stays must not be over the limit either.
		if k < len(segs) && k <= maxSegs && (cut == 0 || distance(k, want) < distance(cut, want)) {
			cut = k
		}
		start = k
	}
	right := m.newChunk(segs[cut:])
	m.chunks[c].segs = segs[:cut]
	m.insertChunk(c+1, block(right.segs[0].lo), right)
}

func distance(a, b int) int { return max(a-b, b-a) }

// block returns the first page of i's block.
func block(i uint64) uint64 { return i &^ (blockPages - 1) }

// joinNeighbour joins chunk c, which has few segments, with one beside it, so that chunks stay worth their overhead.
func (m *Map) joinNeighbour(c int) {
	for _, left := range [2]int{c - 1, c} {
		if left < 0 || left+1 >= len(m.chunks) {
			continue
		}
		a, b := m.chunks[left], m.chunks[left+1]
		if a.dense != nil || b.dense != nil || len(a.segs)+len(b.segs) > maxSegs*3/4 {
			continue
		}
		rest := b.segs
		if last := len(a.segs) - 1; a.segs[last].hi() == rest[0].lo {
			if j, ok := join(a.segs[last], rest[0]); ok {
				a.segs[last] = j
				rest = rest[1:]
			}
		}
		a.replace(len(a.segs), len(a.segs), rest)
		m.dropChunk(left + 1)
		return
	}
}

// joinRight lets the last segment of chunk c take over the first of the next chunk if that continues it. It reports whether the next chunk
// is gone with that.
func (m *Map) joinRight(c int) (gone bool) {
	if c+1 >= len(m.chunks) {
		return false
	}
	a, b := m.chunks[c], m.chunks[c+1]
	if a.dense != nil || b.dense != nil || a.segs[len(a.segs)-1].hi() != b.segs[0].lo {
		return false
	}
	j, ok := join(a.segs[len(a.segs)-1], b.segs[0])
	if !ok {
		return false
	}
	a.segs[len(a.segs)-1] = j
	b.replace(0, 1, nil)
	if len(b.segs) == 0 {
		m.dropChunk(c + 1)
		return true
	}
	return false
}
