// SPDX-License-Identifier: MIT

package mm

import (
	"math/bits"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Modes of a memory policy, and flags that go with a mode.
//
// Kernel: include/uapi/linux/mempolicy.h.
const (
	MpolDefault = iota
	MpolPreferred
	MpolBind
	MpolInterleave
	MpolLocal
	MpolPreferredMany
	MpolWeightedInterleave
	mpolMax

	MpolNUMABalancing = 1 << 13
	MpolRelativeNodes = 1 << 14
	MpolStaticNodes   = 1 << 15
	mpolModeFlags     = MpolNUMABalancing | MpolRelativeNodes | MpolStaticNodes
)

// Flags of mbind and move_pages.
const (
	MpolMFStrict  = 1
	MpolMFMove    = 2
	MpolMFMoveAll = 4
	mpolMFValid   = MpolMFStrict | MpolMFMove | MpolMFMoveAll
)

// mempolicy says on which nodes pages of a VMA are allocated. The zero value is
// the default: node 0, where every task runs, and then the others.
//
// Kernel: struct mempolicy, include/linux/mempolicy.h.
type mempolicy struct {
	mode  uint8
	flags uint16
	nodes uint64 // a bit for each node that is there
}

// policyID stands for a policy of the machine: equal policies have the equal one,
// and the default has 0.
type policyID uint32

// policyOf returns the number of a policy.
func (sys *System) policyOf(p mempolicy) policyID {
	for i := range sys.policies {
		if sys.policies[i] == p {
			return policyID(i)
		}
	}
	sys.policies = append(sys.policies, p)
	return policyID(len(sys.policies) - 1)
}

// memPolicy returns the policy of a VMA.
func (v *VMA) memPolicy() mempolicy { return v.mm.sys.policies[v.policy] }

// interleaveShift is the size of a piece that interleaving puts on one node:
// 2 MiB, so that interleaved memory is still made of long runs (model/FIDELITY.md
// M-POLICY).
const interleaveShift = pmdShift

// place returns the node to begin with for page index idx, which nodes may be
// used, and how many of n pages from there on get the same answer.
//
// Kernel: policy_nodemask, mm/mempolicy.c.
func (p mempolicy) place(idx, n uint64, all uint64) (first int, allowed, pages uint64) {
	switch p.mode {
	case MpolBind:
		return bits.TrailingZeros64(p.nodes), p.nodes, n
	case MpolPreferred, MpolPreferredMany:
		return bits.TrailingZeros64(p.nodes), all, n
	case MpolInterleave, MpolWeightedInterleave:
		k := idx >> interleaveShift
		return nthBit(p.nodes, k), all, min(n, (k+1)<<interleaveShift-idx)
	}
	return 0, all, n
}

// nthBit returns the k-th set bit of mask, counted from 0, round at the end.
func nthBit(mask, k uint64) int {
	for k %= uint64(bits.OnesCount64(mask)); k > 0; k-- {
		mask &= mask - 1
	}
	return bits.TrailingZeros64(mask)
}

// online returns the mask of the nodes that there are; at most 64 count.
func (sys *System) online() uint64 {
	if n := sys.Mem.Nodes(); n < 64 {
		return 1<<n - 1
	}
	return ^uint64(0)
}

// vmaAllocPages allocates a run of 1..limit zeroed frames for page vpn of a VMA,
// on the nodes of its policy.
//
// Errors: ENOMEM when nothing could be freed.
//
// Kernel: vma_alloc_folio, mm/mempolicy.c.
func (mm *MM) vmaAllocPages(t *sim.Task, v *VMA, vpn, limit uint64) (phys.PFN, uint64, errno.Errno) {
	pfn, n, err := mm.allocForVMA(t, v, vpn, limit)
	mm.sys.small(pfn, n)
	return pfn, n, err
}

func (mm *MM) allocForVMA(t *sim.Task, v *VMA, vpn, limit uint64) (phys.PFN, uint64, errno.Errno) {
	if v.policy == 0 {
		return mm.sys.allocPages(t, mm, limit)
	}
	if pfn, n := mm.allocByPolicy(t, v.memPolicy(), v.pgoff(vpn), limit); n > 0 {
		return pfn, n, 0
	}
	if mm.sys.shrinkNode(t, max(32, min(limit, mm.sys.kswapd.high))) > 0 {
		if pfn, n := mm.allocByPolicy(t, v.memPolicy(), v.pgoff(vpn), limit); n > 0 {
			return pfn, n, 0
		}
	}
	// Rather from a node that the policy forbids than a kill for want of the one
	// (model/FIDELITY.md M-POLICY).
	return mm.sys.allocPages(t, mm, limit)
}

// allocByPolicy takes free frames of the first node of the policy that has some.
func (mm *MM) allocByPolicy(t *sim.Task, p mempolicy, idx, limit uint64) (phys.PFN, uint64) {
	mem := mm.sys.Mem
	first, allowed, limit := p.place(idx, limit, mm.sys.online())
	if p.mode == MpolPreferredMany {
		if pfn, n := mm.allocByPolicy(t, mempolicy{mode: MpolBind, nodes: p.nodes}, idx, limit); n > 0 {
			return pfn, n
		}
	}
	pfn, n := mem.AllocRun(first, limit)
	for k := 0; n == 0 && k < mem.Nodes(); k++ {
		if allowed>>k&1 != 0 {
			pfn, n = mem.AllocRun(k, limit)
		}
	}
	if n > 0 && mem.Free() < mm.sys.kswapd.low {
		mm.sys.kswapd.wakeup(t)
	}
	return pfn, n
}

// NodeMask is a set of nodes as user space gives it, 64 nodes a word.
type NodeMask []uint64

// getNodes returns the mask without the bits that maxnode cuts off.
//
// Errors: EINVAL for a maxnode beyond a page, or a node that no kernel can have.
//
// Kernel: get_nodes, mm/mempolicy.c.
func getNodes(mask NodeMask, maxnode uint64) (NodeMask, errno.Errno) {
	const maxNumNodes = 1024
	maxnode--
	if maxnode == 0 || len(mask) == 0 {
		return nil, 0
	}
	if maxnode > PageSize*8 {
		return nil, errno.EINVAL
	}
	var out NodeMask
	for i, w := range mask {
		if left := maxnode - min(maxnode, uint64(i)*64); left < 64 {
			w &= 1<<left - 1
		}
		if w != 0 && i >= maxNumNodes/64 {
			return nil, errno.EINVAL
		}
		out = append(out, w)
	}
	return out, 0
}

func (m NodeMask) empty() bool {
	for _, w := range m {
		if w != 0 {
			return false
		}
	}
	return true
}

// existing returns the nodes of the mask that there are; with relative its n-th
// bit means the n-th of them, round at the end.
//
// Kernel: mpol_set_nodemask.
func (sys *System) existing(m NodeMask, relative bool) uint64 {
	if len(m) == 0 {
		return 0
	}
	if !relative {
		return m[0] & sys.online()
	}
	var out uint64
	for i, w := range m {
		for ; w != 0; w &= w - 1 {
			out |= 1 << ((i*64 + bits.TrailingZeros64(w)) % min(sys.Mem.Nodes(), 64))
		}
	}
	return out
}

// mpolNew makes a policy of what mbind was given.
//
// Errors: EINVAL.
//
// Kernel: sanitize_mpol_flags, mpol_new and mpol_set_nodemask, mm/mempolicy.c.
func (sys *System) mpolNew(mode uint32, mask NodeMask) (mempolicy, errno.Errno) {
	flags := mode & mpolModeFlags
	mode &^= mpolModeFlags
	const placed = MpolStaticNodes | MpolRelativeNodes
	bad := mode >= mpolMax || flags&placed == placed ||
		flags&MpolNUMABalancing != 0 && mode != MpolBind && mode != MpolPreferredMany
	none := mask.empty()
	switch {
	case mode == MpolDefault:
		return mempolicy{}, einvalIf(bad || !none)
	case mode == MpolPreferred && none:
		return mempolicy{mode: MpolLocal}, einvalIf(bad || flags&placed != 0)
	case mode == MpolLocal:
		return mempolicy{mode: MpolLocal}, einvalIf(bad || !none || flags&placed != 0)
	}
	nodes := sys.existing(mask, flags&MpolRelativeNodes != 0)
	if mode == MpolPreferred {
		nodes &= -nodes
	}
	return mempolicy{uint8(mode), uint16(flags), nodes}, einvalIf(bad || nodes == 0)
}
