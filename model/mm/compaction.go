// SPDX-License-Identifier: MIT

package mm

import (
	"slices"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var fnCompact = sim.NewFunc("compact_node", "node", "moved")

// pageblock is the frames that the two scanners go through at a time, counted
// from the start of the node.
//
// Kernel: pageblock_nr_pages.
const pageblock = 1 << pmdShift

// Compact moves pages together on every node, as echo to compact_memory does: the
// migrate scanner takes pages from the bottom up, the free scanner finds frames
// for them from the top down, in blocks that are not all free, until they meet.
// Only pages that a process maps move (model/FIDELITY.md M-COMPACT).
//
// Kernel: compact_nodes, mm/compaction.c.
func (sys *System) Compact(t *sim.Task) {
	for node := range sys.Mem.Nodes() {
		c := compactNode{sys: sys, start: uint64(sys.Mem.NodeStart(node))}
		c.findFree(node)
		if len(c.free) > 0 {
			c.findPages(node)
		}
		for i := range c.pages {
			c.compactRun(t, &c.pages[i])
		}
		t.Log(fnCompact, uint64(node), c.moved, 0)
	}
}

// compactNode is the compaction of one node.
//
// Kernel: struct compact_control, mm/internal.h.
type compactNode struct {
	sys   *System
	start uint64 // first frame of the node
	// free are the frames to move to, in the order in which they are used; pages
	// are what is mapped, by frame.
	free  []phys.Run
	pages []mappedRun
	moved uint64
}

// mappedRun are consecutive frames that consecutive pages map.
type mappedRun struct {
	pfn, n uint64
	mm     *MM
	vpn    uint64
}

func (c *compactNode) block(pfn uint64) uint64 { return (pfn - c.start) / pageblock }

// findFree lists the free frames of the blocks that are partly in use, from the
// highest block down.
//
// Kernel: isolate_freepages and suitable_migration_target, mm/compaction.c.
func (c *compactNode) findFree(node int) {
	var part []phys.Run
	for _, r := range c.sys.Mem.AppendFree(nil, node) {
		for lo := r.Lo; lo < r.Hi; {
			end := c.start + (c.block(lo)+1)*pageblock
			switch {
			case (lo-c.start)%pageblock != 0 || end > r.Hi:
				part = append(part, phys.Run{Lo: lo, Hi: min(end, r.Hi)})
				lo = min(end, r.Hi)
			default:
				lo += (r.Hi - lo) / pageblock * pageblock // whole blocks stay whole
			}
		}
	}
	for i := len(part); i > 0; {
		first := i - 1
		for first > 0 && c.block(part[first-1].Lo) == c.block(part[i-1].Lo) {
			first--
		}
		c.free = append(c.free, part[first:i]...)
		i = first
	}
}

// findPages lists what is mapped of the node.
//
// Kernel: isolate_migratepages, mm/compaction.c.
func (c *compactNode) findPages(node int) {
	mem := c.sys.Mem
	for _, mm := range c.sys.mms {
		for it := mm.pt.Iter(0, EndOfSpace); it.Next(); {
			p, n, vpn := PTE(it.Run.V), it.Run.Len(), it.Run.Lo
			if !p.Present() || p.zero() {
				continue
			}
			if it.Run.Stride == 0 {
				n = 1
			}
			for pfn := p.Frame(); n > 0; {
				on, k := mem.NodeRun(pfn, n)
				if on == node {
					c.pages = append(c.pages, mappedRun{uint64(pfn), k, mm, vpn})
				}
				pfn, vpn, n = pfn+phys.PFN(k), vpn+k, n-k
			}
		}
	}
	slices.SortStableFunc(c.pages, func(a, b mappedRun) int {
		switch {
		case a.pfn < b.pfn:
			return -1
		case a.pfn > b.pfn:
			return 1
		}
		return 0
	})
}

// compactRun moves what is mapped in one place to free frames of higher blocks, as
// far as there are any.
//
// Kernel: compact_zone, mm/compaction.c.
func (c *compactNode) compactRun(t *sim.Task, r *mappedRun) {
	for r.n > 0 && len(c.free) > 0 && c.block(c.free[0].Lo) > c.block(r.pfn) {
		// Up to the block in which the free frames are.
		n := min(r.n, c.free[0].Len(), c.start+c.block(c.free[0].Lo)*pageblock-r.pfn)
		t.Read(&r.mm.ptObj, r.vpn, r.vpn+n)
		v := r.mm.vmaAt(r.vpn)
		p, n := r.mm.runAt(r.vpn, n)
		switch {
		case p.none():
		case v == nil || !v.migratable() || !p.maps(phys.PFN(r.pfn)):
			n = 1
		default:
			n = c.move(t, v, r.vpn, min(n, v.End-r.vpn), p)
		}
		r.pfn, r.vpn, r.n = r.pfn+n, r.vpn+n, r.n-n
	}
}

// move migrates up to n pages, no more than the first run of free frames has, and
// returns how many it tried.
func (c *compactNode) move(t *sim.Task, v *VMA, vpn, n uint64, p PTE) uint64 {
	it, ok := c.sys.isolateFolios(v, vpn, n, p)
	if !ok {
		return 1
	}
	to := &c.free[0]
	failed, _ := c.sys.migratePages(t, []isolated{it}, func(_ *folio, limit uint64) (phys.PFN, uint64) {
		at, k := phys.PFN(to.Lo), min(limit, to.Len())
		if k == 0 || !c.sys.Mem.AllocAt(at, k) {
			to.Lo = to.Hi // somebody took them
			return 0, 0
		}
		to.Lo += k
		return at, k
	})
	if to.Len() == 0 {
		c.free = c.free[1:]
	}
	c.moved += it.n - failed
	return it.n
}
