// SPDX-License-Identifier: MIT

package phys

// Nodes returns the number of NUMA nodes.
func (m *Memory) Nodes() int { return len(m.nodes) }

// NodeOf returns the node that pfn belongs to. Nodes are equal, contiguous slices of the frames, in order; the last has the remainder.
//
// Kernel: pfn_to_nid, include/linux/mmzone.h.
func (m *Memory) NodeOf(pfn PFN) int {
	m.check("NodeOf", pfn, 1)
	if pfn < firstPFN {
		return 0
	}
	return int(min(uint64(pfn-firstPFN)/m.perNode, uint64(len(m.nodes)-1)))
}

// Total returns the number of usable frames: not the zero page.
func (m *Memory) Total() uint64 { return m.pages }

// Free returns the number of free frames.
func (m *Memory) Free() (n uint64) {
	for k := range m.nodes {
		n += m.nodes[k].avail()
	}
	return n
}

// Used returns the number of frames that are allocated.
func (m *Memory) Used() (n uint64) {
	for k := range m.nodes {
		n += m.NodeUsed(k)
	}
	return n
}

// NodeTotal returns the number of usable frames of a node.
func (m *Memory) NodeTotal(node int) uint64 { return m.nodes[node].hi - m.nodes[node].lo }

// NodeFree returns the number of free frames of a node.
func (m *Memory) NodeFree(node int) uint64 { return m.nodes[node].avail() }

// NodeUsed returns the number of frames of a node that are allocated.
func (m *Memory) NodeUsed(node int) uint64 {
	return m.NodeTotal(node) - m.NodeFree(node) - m.nodes[node].lost
}

// AllocRun gives out one contiguous run of 1 to limit free frames, zeroed, each with one holder and a new generation. It takes from node
// alone, or, when node is -1, from the first node that has a free frame. n is 0 when there is none.
// Calls that follow each other get frames that follow each other, as far as what is free allows.
//
// Preconditions: limit > 0; -1 <= node < Nodes().
//
// Kernel: alloc_pages_node, include/linux/gfp.h, with __GFP_ZERO.
func (m *Memory) AllocRun(node int, limit uint64) (pfn PFN, n uint64) {
	first, last := m.nodeSpan(node)
	for k := first; k < last; k++ {
		if lo, got := m.nodes[k].take(limit); got > 0 {
			m.allocated(lo, got)
			return PFN(lo), got
		}
	}
	return 0, 0
}

// AllocAligned gives out exactly n contiguous frames that begin at a multiple of n, as a huge page needs them; see AllocRun for the rest.
// ok is false when no node in question has such a run, which is not to say that it has fewer than n free frames.
//
// Preconditions: n is a power of two; -1 <= node < Nodes().
func (m *Memory) AllocAligned(node int, n uint64) (pfn PFN, ok bool) {
	if n == 0 || n&(n-1) != 0 {
		panic("BUG: AllocAligned: not a power of two")
	}
	first, last := m.nodeSpan(node)
	for k := first; k < last; k++ {
		if lo, ok := m.nodes[k].takeAligned(n, n); ok {
			m.allocated(lo, n)
			return PFN(lo), true
		}
	}
	return 0, false
}

// nodeSpan returns the nodes [first, last) that "node, or -1 for any" means.
func (m *Memory) nodeSpan(node int) (first, last int) {
	if node < 0 {
		return 0, len(m.nodes)
	}
	return node, node + 1
}

// allocated makes n frames that were taken from a pool into allocated ones.
func (m *Memory) allocated(lo, n uint64) {
	for r := range m.words(&m.frames, lo, n) {
		w := word(r.V)
		m.contents.drop(w.content(), r.Len())
		m.frames.Set(r.Lo, r.Hi, uint64(w.allocated()), 0)
	}
}

// giveFrames returns frames to their nodes' pools.
func (m *Memory) giveFrames(lo, hi uint64) {
	for lo < hi {
		p := &m.nodes[m.NodeOf(PFN(lo))]
		end := min(hi, p.hi)
		if m.poisoned.Len() == 0 {
			p.give(lo, end)
		} else {
			m.giveSound(p, lo, end)
		}
		lo = end
	}
}
