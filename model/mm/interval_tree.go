// SPDX-License-Identifier: MIT

package mm

// intervalTree holds the interval notifiers of an mm, ordered by start.
//
// It is two levels of sorted arrays: chunks of up to chunkSize intervals, and
// over them the first start, the largest end, and the largest end so far of each
// chunk. A stab is two binary searches plus the hits, and touches few cache
// lines at any size; a balanced tree with a pointer per interval misses the
// cache once a level. Intervals may overlap and repeat; equal starts keep the
// order of insertion.
//
// Kernel: struct interval_tree_node, include/linux/interval_tree.h.
type intervalTree struct {
	chunks []*itChunk
	first  []uint64 // start of the first interval of each chunk
	maxEnd []uint64 // largest end in each chunk
	prefix []uint64 // largest end in this and all earlier chunks; never decreases
	n      int
}

const chunkSize = 64

type itChunk struct {
	n     int
	start [chunkSize]uint64
	end   [chunkSize]uint64
	item  [chunkSize]*IntervalNotifier
}

// upperBound returns the number of elements of a that are <= x.
func upperBound(a []uint64, x uint64) int {
	lo, hi := 0, len(a)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if a[m] <= x {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// insert adds an interval.
func (it *intervalTree) insert(n *IntervalNotifier) {
	it.n++
	if len(it.chunks) == 0 {
		it.chunks = append(it.chunks, &itChunk{})
		it.first = append(it.first, n.Start)
		it.maxEnd = append(it.maxEnd, 0)
		it.prefix = append(it.prefix, 0)
	}
	c := upperBound(it.first, n.Start) - 1
	if c < 0 {
		c = 0
	}
	if it.chunks[c].n == chunkSize {
		it.split(c)
		if n.Start >= it.first[c+1] {
			c++
		}
	}
	ch := it.chunks[c]
	i := upperBound(ch.start[:ch.n], n.Start)
	copy(ch.start[i+1:ch.n+1], ch.start[i:ch.n])
	copy(ch.end[i+1:ch.n+1], ch.end[i:ch.n])
	copy(ch.item[i+1:ch.n+1], ch.item[i:ch.n])
	ch.start[i], ch.end[i], ch.item[i] = n.Start, n.End, n
	ch.n++
	it.refresh(c)
}

// split moves the upper half of chunk c into a new one after it.
func (it *intervalTree) split(c int) {
	old, right := it.chunks[c], &itChunk{}
	h := old.n / 2
	right.n = copy(right.start[:], old.start[h:old.n])
	copy(right.end[:], old.end[h:old.n])
	copy(right.item[:], old.item[h:old.n])
	clear(old.item[h:old.n])
	old.n = h
	it.chunks = append(it.chunks, nil)
	copy(it.chunks[c+2:], it.chunks[c+1:])
	it.chunks[c+1] = right
	it.first = insertAt(it.first, c+1, right.start[0])
	it.maxEnd = insertAt(it.maxEnd, c+1, 0)
	it.prefix = insertAt(it.prefix, c+1, 0)
	it.recompute(c)
	it.recompute(c + 1)
	it.reprefix(c)
}

func insertAt(a []uint64, i int, x uint64) []uint64 {
	a = append(a, 0)
	copy(a[i+1:], a[i:])
	a[i] = x
	return a
}

func deleteAt(a []uint64, i int) []uint64 { return append(a[:i], a[i+1:]...) }

// recompute derives the first start and the largest end of chunk c.
func (it *intervalTree) recompute(c int) {
	ch := it.chunks[c]
	it.first[c] = ch.start[0]
	m := uint64(0)
	for _, e := range ch.end[:ch.n] {
		m = max(m, e)
	}
	it.maxEnd[c] = m
}

// reprefix repairs prefix from chunk c on, as far as it is wrong.
func (it *intervalTree) reprefix(c int) {
	p := uint64(0)
	if c > 0 {
		p = it.prefix[c-1]
	}
	for i := c; i < len(it.chunks); i++ {
		p = max(p, it.maxEnd[i])
		if i > c+1 && it.prefix[i] == p {
			return
		}
		it.prefix[i] = p
	}
}

func (it *intervalTree) refresh(c int) {
	it.recompute(c)
	it.reprefix(c)
}

// remove takes an interval out; it returns false when it is not there.
func (it *intervalTree) remove(n *IntervalNotifier) bool {
	for c := max(upperBound(it.first, n.Start)-1, 0); c >= 0 && c < len(it.chunks); c-- {
		ch := it.chunks[c]
		for i := upperBound(ch.start[:ch.n], n.Start) - 1; i >= 0 && ch.start[i] == n.Start; i-- {
			if ch.item[i] == n {
				it.removeAt(c, i)
				return true
			}
		}
		if ch.n > 0 && ch.start[0] < n.Start {
			break
		}
	}
	return false
}

func (it *intervalTree) removeAt(c, i int) {
	ch := it.chunks[c]
	copy(ch.start[i:], ch.start[i+1:ch.n])
	copy(ch.end[i:], ch.end[i+1:ch.n])
	copy(ch.item[i:], ch.item[i+1:ch.n])
	ch.n--
	ch.item[ch.n] = nil
	it.n--
	if ch.n > 0 {
		it.refresh(c)
		return
	}
	it.chunks = append(it.chunks[:c], it.chunks[c+1:]...)
	it.first = deleteAt(it.first, c)
	it.maxEnd = deleteAt(it.maxEnd, c)
	it.prefix = deleteAt(it.prefix, c)
	it.reprefix(c)
}

// overlaps says whether any interval overlaps [lo,hi).
func (it *intervalTree) overlaps(lo, hi uint64) bool {
	found := false
	it.visit(lo, hi, func(*IntervalNotifier) bool {
		found = true
		return false
	})
	return found
}

// appendOverlaps appends every interval that overlaps [lo,hi) to dst, in order.
func (it *intervalTree) appendOverlaps(dst []*IntervalNotifier, lo, hi uint64) []*IntervalNotifier {
	it.visit(lo, hi, func(n *IntervalNotifier) bool {
		dst = append(dst, n)
		return true
	})
	return dst
}

// visit calls f for every interval that overlaps [lo,hi), in order, until f
// returns false.
func (it *intervalTree) visit(lo, hi uint64, f func(*IntervalNotifier) bool) {
	if hi == 0 {
		return
	}
	last := upperBound(it.first, hi-1)
	for c := upperBound(it.prefix, lo); c < last; c++ {
		if it.maxEnd[c] <= lo {
			continue
		}
		ch := it.chunks[c]
		k := ch.n
		if ch.start[k-1] >= hi {
			k = upperBound(ch.start[:k], hi-1)
		}
		for i := 0; i < k; i++ {
			if ch.end[i] > lo && !f(ch.item[i]) {
				return
			}
		}
	}
}
