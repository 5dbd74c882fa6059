// SPDX-License-Identifier: MIT

package phys

import "math/bits"

// blockPages is the size and the alignment of a block, in pages: that of a PMD, so that what is huge in a page table is whole here.
const blockPages = 512

// sparseTurns is the number of turns at or below which a dense block goes back to runs: far enough below denseSegs that a block does
// not swing between the two forms.
const sparseTurns = 32

func (ch *chunk) has(o uint64) bool { return ch.index[o>>6]>>(o&63)&1 != 0 }

// turn reports whether page o, which is present, cannot be in one run with the two pages before it.
func (ch *chunk) turn(o uint64) bool {
	if o == 0 || !ch.has(o-1) {
		return true
	}
	d := ch.dense[o] - ch.dense[o-1]
	if d > 1 {
		return true
	}
	if o == 1 || !ch.has(o-2) {
		return false
	}
	before := ch.dense[o-1] - ch.dense[o-2]
	return before <= 1 && before != d
}

// turnsIn counts the turns of pages [l, h). The turns of a whole block are an upper bound of its runs, and unlike the runs
// they can be counted anew where something changed: a page has a say in its own turn and in the next two.
func (ch *chunk) turnsIn(l, h uint64) (n uint16) {
	for o := l; o < h; o++ {
		if ch.has(o) && ch.turn(o) {
			n++
		}
	}
	return n
}

// write gives pages [l, h) of the block the values v, v+stride, … and returns how many of them are new.
func (ch *chunk) write(l, h, v, stride uint64) (added uint64) {
	e := min(h+2, blockPages)
	before := ch.turnsIn(l, e)
	for o := l; o < h; o++ {
		ch.dense[o] = v
		v += stride
	}
	for o := l; o < h; o = o&^63 + 64 {
		mask := wordMask(o, h)
		added += uint64(bits.OnesCount64(mask &^ ch.index[o>>6]))
		ch.index[o>>6] |= mask
	}
	ch.n += uint16(added)
	ch.turns += ch.turnsIn(l, e) - before
	return added
}

// erase unsets pages [l, h) of the block and returns how many were set.
func (ch *chunk) erase(l, h uint64) (gone uint64) {
	e := min(h+2, blockPages)
	before := ch.turnsIn(l, e)
	for o := l; o < h; o = o&^63 + 64 {
		mask := wordMask(o, h)
		gone += uint64(bits.OnesCount64(mask & ch.index[o>>6]))
		ch.index[o>>6] &^= mask
	}
	ch.n -= uint16(gone)
	ch.turns += ch.turnsIn(l, e) - before
	return gone
}

// wordMask returns the bits of [o, h) that lie in o's word.
func wordMask(o, h uint64) uint64 {
	mask := ^uint64(0) << (o & 63)
	if end := o&^63 + 64; h < end {
		mask &= ^uint64(0) >> (end - h)
	}
	return mask
}

// nextSet returns the first page at or after o that is present, or blockPages.
func (ch *chunk) nextSet(o uint64) uint64 {
	for ; o < blockPages; o = o&^63 + 64 {
		if w := ch.index[o>>6] >> (o & 63); w != 0 {
			return o + uint64(bits.TrailingZeros64(w))
		}
	}
	return blockPages
}

// piece returns the end of the longest run that begins at page o, at most h.
//
// Preconditions: page o is present; o < h.
func (ch *chunk) piece(o, h uint64) (end, stride uint64) {
	e := o + 1
	if e >= h || !ch.has(e) || ch.dense[e]-ch.dense[o] > 1 {
		return e, 0
	}
	stride = ch.dense[e] - ch.dense[o]
	for e++; e < h && ch.has(e) && ch.dense[e]-ch.dense[e-1] == stride; e++ {
	}
	return e, stride
}

// densify turns the block whose segments are [start, end) of chunk c into a dense chunk. What is left and right of it in c
// becomes chunks of its own.
func (m *Map) densify(c, start, end int) {
	ch := m.chunks[c]
	base := block(ch.segs[start].lo)
	d := &chunk{dense: m.spare}
	if m.spare = nil; d.dense == nil {
		d.dense = new([blockPages]uint64)
	}
	for k := start; k < end; k++ {
		s := &ch.segs[k]
		d.write(s.lo-base, min(s.hi(), base+blockPages)-base, s.v, s.stride())
	}
	var rest seg
	if s := &ch.segs[end-1]; s.hi() > base+blockPages {
		rest = s.from(base + blockPages)
	}
	m.cutBefore(c, start, base, d)
	var right *chunk
	if end < len(ch.segs) {
		right = m.newChunk(ch.segs[end:])
	}
	at := c
	if start == 0 {
		m.keys[c], m.chunks[c] = base, d
	} else {
		ch.segs = ch.segs[:start]
		ch.mend(start - 1)
		at = c + 1
		m.insertChunk(at, base, d)
	}
	if right != nil {
		m.insertChunk(at+1, base+blockPages, right)
	}
	if rest.end != 0 {
		m.insert(rest)
	}
	if right != nil && len(right.segs) < fewSegs {
		m.joinNeighbour(at + 1)
	}
	if start > 0 && start < fewSegs {
		m.joinNeighbour(c)
	}
}

// cutBefore moves to d the pages that the segment before (c, start) has in d's block, which begins at base.
func (m *Map) cutBefore(c, start int, base uint64, d *chunk) {
	if start == 0 {
		if c == 0 || m.chunks[c-1].dense != nil {
			return
		}
		c--
		start = len(m.chunks[c].segs)
	}
	ch := m.chunks[c]
	p := &ch.segs[start-1]
	if p.hi() <= base {
		return
	}
	x := p.from(base)
	d.write(0, x.hi()-base, x.v, x.stride())
	*p = p.until(base)
	if start == len(ch.segs) {
		ch.mend(start - 1)
	}
}

// relax drops the dense chunk c if nothing is left in it, and turns it back into segments if its pages have come to share.
func (m *Map) relax(c int) {
	ch := m.chunks[c]
	if ch.n == 0 {
		m.dropChunk(c)
		return
	}
	if ch.turns > sparseTurns {
		return
	}
	base := m.keys[c]
	segs := m.cut[:0]
	for o := ch.nextSet(0); o < blockPages; {
		e, stride := ch.piece(o, blockPages)
		segs = append(segs, makeSeg(base+o, base+e, ch.dense[o], stride))
		o = ch.nextSet(e)
	}
	m.cut = segs
	m.spare, ch.dense, ch.n, ch.turns = ch.dense, nil, 0, 0
	ch.replace(0, 0, segs)
	m.joinRight(c)
	if c > 0 && m.joinRight(c-1) {
		return
	}
	m.joinNeighbour(c)
}
