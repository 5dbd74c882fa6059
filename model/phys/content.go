// SPDX-License-Identifier: MIT

package phys

import "fmt"

// ByteRun is N equal bytes.
type ByteRun struct {
	Byte byte   `json:"byte"`
	N    uint64 `json:"n"` // bytes
}

// Fill sets every byte of n frames from pfn on. Whether they are allocated does not matter: a stale GPU may write to what was freed.
//
// Preconditions: not the zero page.
func (m *Memory) Fill(pfn PFN, n uint64, b byte) {
	m.checkWritable("Fill", pfn, n)
	m.setContent(uint64(pfn), n, token(b))
}

// Write sets n bytes, beginning off bytes into the frame pfn and going on through the frames that follow it.
//
// Preconditions: not the zero page.
func (m *Memory) Write(pfn PFN, off, n uint64, b byte) {
	pfn, off = pfn+PFN(off/PageSize), off%PageSize
	if n == 0 {
		return
	}
	m.checkWritable("Write", pfn, pagesOf(off, n))
	if off > 0 || n < PageSize {
		head := min(n, PageSize-off)
		m.writePart(pfn, off, off+head, b)
		if n -= head; n == 0 {
			return
		}
		pfn++
	}
	if whole := n / PageSize; whole > 0 {
		m.setContent(uint64(pfn), whole, token(b))
		pfn += PFN(whole)
	}
	if tail := n % PageSize; tail > 0 {
		m.writePart(pfn, 0, tail, b)
	}
}

// pagesOf returns how many pages n bytes touch that begin off (below PageSize) bytes into one.
func pagesOf(off, n uint64) uint64 {
	return n/PageSize + (off+n%PageSize+PageSize-1)/PageSize
}

// writePart sets the bytes [from, to) of one frame.
func (m *Memory) writePart(pfn PFN, from, to uint64, b byte) {
	w := m.word(pfn)
	old := w.content()
	t := m.contents.overlay(old, from, to, b)
	if t == old {
		return
	}
	m.contents.hold(t, 1)
	m.contents.drop(old, 1)
	m.frames.Set(uint64(pfn), uint64(pfn)+1, uint64(w.withContent(t)), 0)
}

// setContent gives n frames the bytes of t.
func (m *Memory) setContent(lo, n uint64, t token) {
	m.contents.hold(t, n)
	for r := range m.words(&m.frames, lo, n) {
		w := word(r.V)
		m.contents.drop(w.content(), r.Len())
		if w.content() != t {
			m.frames.Set(r.Lo, r.Hi, uint64(w.withContent(t)), 0)
		}
	}
}

// AppendBytes appends n bytes, from off bytes into the frame pfn on and through the frames that follow it, to dst. Equal neighbours merge,
// also with the last run of dst. A frame that was never given out is zeroes; one that was freed has what was left in it.
func (m *Memory) AppendBytes(dst []ByteRun, pfn PFN, off, n uint64) []ByteRun {
	if n == 0 {
		return dst
	}
	pfn, off = pfn+PFN(off/PageSize), off%PageSize
	m.check("AppendBytes", pfn, pagesOf(off, n))
	at := uint64(pfn)*PageSize + off // bytes
	end := at + n
	for g := gaps(&m.frames, uint64(pfn), (end+PageSize-1)/PageSize); g.next(); {
		t := word(g.v).content()
		for at < g.hi*PageSize && at < end {
			stop := min(end, g.hi*PageSize)
			if t >= firstMixed {
				stop = min(end, (at/PageSize+1)*PageSize)
			}
			dst = m.contents.appendPage(dst, t, at%PageSize, stop-at)
			at = stop
		}
	}
	return dst
}

// appendPage appends n bytes of a page of content t, beginning at off; a page that is one byte throughout may be repeated.
func (c *contents) appendPage(dst []ByteRun, t token, off, n uint64) []ByteRun {
	if t < firstMixed {
		return appendByteRun(dst, byte(t), n)
	}
	end := off + n
	for _, s := range c.entry(t).spans {
		if stop := min(s.end(), end); stop > off {
			dst = appendByteRun(dst, s.byte(), stop-off)
			off = stop
		}
	}
	return dst
}

func appendByteRun(dst []ByteRun, b byte, n uint64) []ByteRun {
	if last := len(dst) - 1; last >= 0 && dst[last].Byte == b {
		dst[last].N += n
		return dst
	}
	return append(dst, ByteRun{b, n})
}

// Copy gives n frames from dst on the bytes of those from src on.
//
// Preconditions: dst is not the zero page; the two do not overlap, unless they are the same.
//
// Kernel: copy_highpage, include/linux/highmem.h.
func (m *Memory) Copy(dst, src PFN, n uint64) {
	m.checkWritable("Copy", dst, n)
	m.check("Copy", src, n)
	if dst < src+PFN(n) && src < dst+PFN(n) && dst != src {
		panic(fmt.Sprintf("BUG: Copy(pfn %#x, pfn %#x, %d frames): they overlap", uint64(dst), uint64(src), n))
	}
	if n == 1 {
		m.setContent(uint64(dst), 1, m.word(src).content())
		return
	}
	for lo, hi := uint64(src), uint64(src)+n; lo < hi; {
		t, end := contentRun(&m.frames, lo, hi)
		m.setContent(uint64(dst)+lo-uint64(src), end-lo, t)
		lo = end
	}
}

// contentRun returns the content of page lo of a map of words, and where it ends, at most hi. It asks the map anew each time, so that it
// may change in between.
func contentRun(of *Map, lo, hi uint64) (t token, end uint64) {
	g := gaps(of, lo, hi)
	g.next()
	return word(g.v).content(), g.hi
}

// SameContent reports whether two frames have the same bytes. It does not look at them.
func (m *Memory) SameContent(a, b PFN) bool {
	m.check("SameContent", a, 1)
	m.check("SameContent", b, 1)
	return m.word(a).content() == m.word(b).content()
}

// ContentDigest returns a hash of the bytes of n frames from pfn on. Equal bytes have the equal digest, on any Memory and however they came about.
func (m *Memory) ContentDigest(pfn PFN, n uint64) uint64 {
	m.check("ContentDigest", pfn, n)
	h, same := uint64(hashSeed), uint64(0)
	cur := token(0)
	for g := gaps(&m.frames, uint64(pfn), uint64(pfn)+n); g.next(); {
		if t := word(g.v).content(); t != cur && same > 0 {
			h = mix(mix(h, m.contents.hash(cur)), same)
			cur, same = t, 0
		} else {
			cur = t
		}
		same += g.hi - g.lo
	}
	if same > 0 {
		h = mix(mix(h, m.contents.hash(cur)), same)
	}
	return h
}
