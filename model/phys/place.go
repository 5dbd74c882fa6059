// SPDX-License-Identifier: MIT

package phys

import "fmt"

// AllocAt gives out exactly the frames [pfn, pfn+n), or none when one of them is not free; see AllocRun for the rest.
//
// Preconditions: n > 0; they are all of one node.
//
// Kernel: compaction_alloc, mm/compaction.c, which takes the frames that its free scanner has found.
func (m *Memory) AllocAt(pfn PFN, n uint64) bool {
	m.check("AllocAt", pfn, n)
	k := m.NodeOf(pfn)
	if pfn < firstPFN || !m.nodes[k].takeAt(uint64(pfn), uint64(pfn)+n) {
		return false
	}
	m.allocated(uint64(pfn), n)
	return true
}

// NodeStart returns the first frame of a node.
func (m *Memory) NodeStart(node int) PFN { return PFN(m.nodes[node].lo) }

// NodeRun returns the node of pfn and how many of n frames from there on belong to it, too.
func (m *Memory) NodeRun(pfn PFN, n uint64) (node int, k uint64) {
	node = m.NodeOf(pfn)
	return node, min(n, m.nodes[node].hi-uint64(pfn))
}

// AppendFree appends the runs of free frames of a node to dst, in ascending order.
func (m *Memory) AppendFree(dst []Run, node int) []Run {
	p := &m.nodes[node]
	p.gather()
	return p.free.AppendRuns(dst, p.lo, p.hi)
}

// GetMany adds count holders to one frame.
//
// Preconditions: it is allocated, and not the zero page.
func (m *Memory) GetMany(pfn PFN, count uint32) {
	m.checkWritable("GetMany", pfn, 1)
	w := m.word(pfn)
	if c := w.count(); c == 0 || c > countMax-count {
		panic(fmt.Sprintf("BUG: GetMany(pfn %#x, %d): count is %d", uint64(pfn), count, c))
	}
	m.frames.Set(uint64(pfn), uint64(pfn)+1, uint64(w)+uint64(count)<<countShift, 0)
}

// ContentRun returns a hash of the bytes of pfn, as ContentDigest of one frame, and how many of n frames from there on have the same bytes.
//
// Preconditions: n > 0.
func (m *Memory) ContentRun(pfn PFN, n uint64) (digest, same uint64) {
	m.check("ContentRun", pfn, n)
	lo, hi := uint64(pfn), uint64(pfn)+n
	t, at := contentRun(&m.frames, lo, hi)
	for at < hi {
		u, end := contentRun(&m.frames, at, hi)
		if u != t {
			break
		}
		at = end
	}
	return mix(mix(hashSeed, m.contents.hash(t)), 1), at - lo
}
