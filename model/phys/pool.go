// SPDX-License-Identifier: MIT

package phys

// pool knows which numbers of [lo, hi) are free: the frames of a node, or the slots of a swap area.
//
// It gives numbers out next-fit: upwards from the last one given, round to the start at the end. So neighbours in time are
// neighbours in number as long as there is fresh room, which keeps runs long, and what was freed is used again after
// everything else.
type pool struct {
	lo, hi uint64

	// [next, end) is the free run that is being given out. It is not in free.
	next, end uint64

	free Map // the other free numbers, all of value 0

	lost uint64 // numbers that were given out and never come back
}

func newPool(lo, hi uint64) pool { return pool{lo: lo, hi: hi, next: lo, end: hi} }

// avail is the count of free numbers.
func (p *pool) avail() uint64 { return p.end - p.next + p.free.Len() }

// take gives out one run of 1 to n numbers; its length is 0 when none is left.
//
// Preconditions: n > 0.
func (p *pool) take(n uint64) (lo, got uint64) {
	if p.next == p.end && !p.refill() {
		return 0, 0
	}
	lo, got = p.next, min(n, p.end-p.next)
	p.next += got
	return lo, got
}

// refill makes the next free run the one that is given out.
func (p *pool) refill() bool {
	r, ok := p.free.Next(p.next)
	if !ok {
		if r, ok = p.free.Next(p.lo); !ok {
			return false
		}
	}
	p.free.Clear(r.Lo, r.Hi)
	p.next, p.end = r.Lo, r.Hi
	return true
}

// takeAligned gives out exactly n numbers that begin at a multiple of align, or none. It searches upwards from where take is, and round,
// but does not move take.
//
// Preconditions: n > 0; align is a power of two.
func (p *pool) takeAligned(n, align uint64) (lo uint64, ok bool) {
	p.gather()
	for _, from := range [2]uint64{p.next, p.lo} {
		for it := p.free.Iter(from, p.hi); it.Next(); {
			if lo = alignUp(it.Run.Lo, align); lo+n <= it.Run.Hi {
				p.free.Clear(lo, lo+n)
				return lo, true
			}
		}
	}
	return 0, false
}

// gather puts all that is free into one map, so that no run is seen in two parts. The next take goes on at next again.
func (p *pool) gather() {
	if p.next < p.end {
		p.free.Set(p.next, p.end, 0, 0)
		p.end = p.next
	}
}

// takeAt gives out exactly [lo, hi), or nothing when any of it is not free.
//
// Preconditions: lo < hi.
func (p *pool) takeAt(lo, hi uint64) bool {
	p.gather()
	if r, ok := p.free.Next(lo); !ok || r.Lo > lo || r.Hi < hi {
		return false
	}
	p.free.Clear(lo, hi)
	return true
}

// give takes the numbers of [lo, hi) back.
//
// Preconditions: they were given out.
func (p *pool) give(lo, hi uint64) { p.free.Set(lo, hi, 0, 0) }

func alignUp(x, align uint64) uint64 { return (x + align - 1) &^ (align - 1) }
