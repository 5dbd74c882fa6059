// SPDX-License-Identifier: MIT

package mm

import (
	"cmp"
	"slices"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// AnonVMA is a family of VMAs that may map the same anonymous pages: a mapping and
// everything forked or split from it. anonNode says which of them have a page.
//
// Kernel: struct anon_vma with the same root, include/linux/rmap.h.
type AnonVMA struct {
	vmas []*VMA
	root *anonNode
}

// anonVMAPrepare gives the VMA a family before its first anonymous page: that of
// a neighbour with which it might merge one day, else a new one.
//
// Kernel: anon_vma_prepare, mm/rmap.c.
func (v *VMA) anonVMAPrepare() {
	if v.AnonVMA != nil {
		return
	}
	a := v.findMergeableAnonVMA()
	if a == nil {
		a = &AnonVMA{root: v.mm.sys.newAnonNode(nil)}
	}
	v.setAnonVMA(a)
}

// setAnonVMA moves the VMA into a family; nil takes it out of its own.
func (v *VMA) setAnonVMA(a *AnonVMA) {
	if old := v.AnonVMA; old != nil {
		v.familyChanged() // an addition shows with the first page
		v.link(-1)
		last := len(old.vmas) - 1
		old.vmas[v.anonPos] = old.vmas[last]
		old.vmas[v.anonPos].anonPos = v.anonPos
		old.vmas = old.vmas[:last]
	}
	v.AnonVMA = a
	if a != nil {
		v.rmap = true
		v.anonPos = len(a.vmas)
		a.vmas = append(a.vmas, v)
		v.link(1)
		v.relink()
	}
}

// anonNode is one anon_vma of a family: the root, or what a fork added below the
// parent's. A page belongs to the node of the VMA that it was made for, and a
// reverse-map walk visits every VMA that has the node in its chain, in whatever
// address space, whether the page is mapped there or not.
//
//	root <- child's <- grandchild's        AnonVMA is all of them together
//
// Kernel: struct anon_vma, include/linux/rmap.h.
//
// Simplified: model/FIDELITY.md F3.
type anonNode struct {
	id     uint64
	parent *anonNode // nil for the root
	// children counts the nodes below (the root counts itself), active the VMAs that
	// put new pages here, linked those that have the node in their chains.
	children, active, linked int
}

// newAnonNode makes a node below parent, nil for a root.
func (sys *System) newAnonNode(parent *anonNode) *anonNode {
	n := &anonNode{id: uint64(len(sys.anonNodes)), parent: parent}
	if parent == nil {
		n.children = 1
	} else {
		parent.children++
	}
	sys.anonNodes = append(sys.anonNodes, n)
	return n
}

// anonNode returns where new pages of the VMA belong, and the end of its chain.
//
// Preconditions: the VMA has a family.
//
// Kernel: vma->anon_vma and vma->anon_vma_chain.
func (v *VMA) anonNode() (node, tip *anonNode) {
	if v.forked == nil || v.forked.node == nil {
		return v.AnonVMA.root, v.AnonVMA.root
	}
	return v.forked.node, v.forked.tip
}

// forkAnon gives the VMA of a child a node: that of an ancestor that has no VMA any
// more, else a new one.
//
// Kernel: anon_vma_fork and anon_vma_clone, mm/rmap.c.
func (sys *System) forkAnon(c, v *VMA) {
	_, tip := v.anonNode()
	var reuse *anonNode
	for n := tip; n != nil; n = n.parent {
		if n.children < 2 && n.active == 0 {
			reuse = n // the one nearest to the root counts
		}
	}
	c.forked = c
	c.node, c.tip = reuse, tip
	if reuse == nil {
		c.node = sys.newAnonNode(func() *anonNode { n, _ := v.anonNode(); return n }())
		c.tip = c.node
	}
}

// link counts the VMA at the nodes of its chain, or takes it off.
//
// Kernel: anon_vma_chain_link, unlink_anon_vmas.
func (v *VMA) link(by int) {
	node, tip := v.anonNode()
	node.active += by
	for n := tip; n != nil; n = n.parent {
		n.linked += by
		if n.linked == 0 && n.parent != nil {
			n.parent.children--
		}
	}
}

// setAnon says that n frames from pfn on belong to a VMA.
//
// Kernel: __folio_set_anon, folio_move_anon_rmap.
func (sys *System) setAnon(v *VMA, pfn phys.PFN, n uint64) {
	switch node, _ := v.anonNode(); {
	case node.parent != nil:
		sys.anonOf.Set(uint64(pfn), uint64(pfn)+n, node.id, 0)
	case sys.anonOf.Len() > 0:
		sys.anonOf.Clear(uint64(pfn), uint64(pfn)+n)
	}
}

// moveAnon says that n frames from dst on belong where those from src on do.
func (sys *System) moveAnon(dst, src phys.PFN, n uint64) {
	sys.small(dst, n)
	if sys.anonOf.Len() == 0 {
		return
	}
	sys.anonOf.Clear(uint64(dst), uint64(dst)+n)
	for _, r := range sys.anonOf.AppendRuns(nil, uint64(src), uint64(src)+n) {
		lo := uint64(dst) + r.Lo - uint64(src)
		sys.anonOf.Set(lo, lo+r.Len(), r.V, 0)
	}
}

// clearAnon says that a frame belongs to the root of its family: it was shared when
// it came back.
func (sys *System) clearAnon(pfn phys.PFN) {
	if sys.anonOf.Len() > 0 {
		sys.anonOf.Clear(uint64(pfn), uint64(pfn)+1)
	}
}

// inherits says whether the VMA has the node of a frame in its chain.
func (sys *System) inherits(v *VMA, pfn phys.PFN) bool {
	id, ok := sys.anonOf.Get(uint64(pfn))
	if !ok {
		return true // the root
	}
	_, tip := v.anonNode()
	for n := tip; n != nil; n = n.parent {
		if n.id == id {
			return true
		}
	}
	return false
}

// rmapVisits returns the places that a reverse-map walk looks at, in its order: where
// the page is mapped, and where it could be.
//
// Kernel: rmap_walk_anon, rmap_walk_file.
func (sys *System) rmapVisits(f *folio) []mapping {
	if f.ksm {
		merged := sys.rmapWalkKSM(f, PTE.maps)
		slices.Reverse(merged) // who was merged last comes first
		return merged
	}
	out := slices.DeleteFunc(f.places(), func(m mapping) bool {
		return f.anon != nil && !sys.inherits(m.v, f.pfn) && !m.v.mm.PTEAt(m.vpn).maps(f.pfn)
	})
	slices.SortFunc(out, func(a, b mapping) int {
		return cmp.Or(cmp.Compare(a.v.Pgoff, b.v.Pgoff), cmp.Compare(a.v.linkSeq, b.v.linkSeq))
	})
	return out
}

// visitWindow opens and closes the window of a walk over a place where the page is
// not mapped.
func (m *mapping) visitWindow(t *sim.Task) {
	mm := m.v.mm
	if mm.watched(t, m.vpn, m.vpn+1) {
		mm.closeWindow(t, mm.openWindow(t, EventClear, m.vpn, m.vpn+1))
	}
}

// familyWatched says whether an address space of the family, other than the VMA's
// own, has notifiers: then pages go one by one.
func (v *VMA) familyWatched() bool {
	vmas := []*VMA(nil)
	if v.AnonVMA != nil {
		vmas = v.AnonVMA.vmas
	}
	for _, w := range vmas {
		if w != v && w.mm.subs != nil {
			return true
		}
	}
	return false
}

// seenElsewhere says whether a walk over the page would open a window in another
// place than this one that somebody watches.
func (sys *System) seenElsewhere(t *sim.Task, f *folio, v *VMA) bool {
	if f.anon != nil && len(f.anon.vmas) == 1 || f.file != nil && len(f.file.mappings) == 1 {
		return false
	}
	for _, m := range sys.rmapVisits(f) {
		if m.v != v && m.v.mm.watched(t, m.vpn, m.vpn+1) {
			return true
		}
	}
	return false
}
