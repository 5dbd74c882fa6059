// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// maxMapCount is vm.max_map_count.
const maxMapCount = 65530

// mapCount returns the number of VMAs.
func (mm *MM) mapCount() int { return mm.vmas.Len() }

// vmaMerge describes a range that becomes, or gets the attributes of, a VMA, and
// its neighbours: what decides whether they can be one.
//
// Kernel: struct vma_merge_struct, mm/vma.h.
type vmaMerge struct {
	start, end uint64 // pages
	pgoff      uint64
	flags      VMFlags
	policy     policyID
	file       *File
	anon       *AnonVMA
	forked     *VMA
	prev, next *VMA // neighbours that may be merged, nil for none
}

// mergeable says whether the attributes of a neighbour are those of the range.
//
// Kernel: is_mergeable_vma and is_mergeable_anon_vma, mm/vma.c.
func (g *vmaMerge) mergeable(v *VMA) bool {
	if v.Flags != g.flags || v.File != g.file || v.policy != g.policy {
		return false
	}
	if g.anon == nil || v.AnonVMA == nil {
		// The neighbour must have a family of its own, so a range with a family
		// does not merge into one without.
		return g.anon == v.AnonVMA || v.AnonVMA != nil && v.forked == nil
	}
	return g.anon == v.AnonVMA && g.forked == v.forked
}

// canMergeLeft says whether prev can grow over the range.
//
// Kernel: can_vma_merge_left.
func (g *vmaMerge) canMergeLeft() bool {
	p := g.prev
	return p != nil && p.End == g.start && p.Pgoff+p.Len() == g.pgoff && g.mergeable(p)
}

// canMergeRight says whether next can grow over the range; with left, also
// whether the two neighbours can be one.
//
// Kernel: can_vma_merge_right.
func (g *vmaMerge) canMergeRight(left bool) bool {
	n := g.next
	if n == nil || n.Start != g.end || n.Pgoff != g.pgoff+(g.end-g.start) || !g.mergeable(n) {
		return false
	}
	p := g.prev
	return !left || p.AnonVMA == nil || n.AnonVMA == nil || p.AnonVMA == n.AnonVMA && p.forked == n.forked
}

// adopt gives dst the family of src when it has none.
//
// Kernel: dup_anon_vma.
func (v *VMA) adopt(src *VMA) {
	if v.AnonVMA == nil && src.AnonVMA != nil {
		v.forked = src.forked
		v.setAnonVMA(src.AnonVMA)
	}
}

// mergeNew lets a neighbour grow over a free range, and returns it; nil when no
// neighbour can.
//
//	new:        |-----|  or  |-----|       or       |-----|
//	before: |---|                  |---|        |---|     |---|
//	after:  |---------|      |---------|        |-------------|
//
// Kernel: vma_merge_new_range, mm/vma.c.
//
// Preconditions: mmapLock held for writing; nothing is in [g.start,g.end).
func (mm *MM) mergeNew(g *vmaMerge) *VMA {
	if g.flags&vmSpecial != 0 {
		return nil
	}
	left := g.canMergeLeft()
	right := g.canMergeRight(left)
	p, n := g.prev, g.next
	switch {
	case left && right:
		p.adopt(n)
		end := n.End
		mm.detachVMA(n)
		mm.releaseVMA(n)
		mm.setRange(p, p.Start, end, p.Pgoff)
		return p
	case left:
		mm.setRange(p, p.Start, g.end, p.Pgoff)
		return p
	case right:
		mm.setRange(n, g.start, n.End, g.pgoff)
		return n
	}
	return nil
}

// mergeExisting lets neighbours of a VMA take over its pages [start,end), which
// are about to get the attributes flags and the policy, and returns the one that
// did; nil when none can. If v has a family, so has whoever takes over (mergeable).
//
// Kernel: vma_merge_existing_range, mm/vma.c.
//
// Preconditions: mmapLock held for writing; [start,end) lies in v.
func (mm *MM) mergeExisting(t *sim.Task, v *VMA, start, end uint64, flags VMFlags, policy policyID) *VMA {
	atStart, atEnd := start == v.Start, end == v.End
	if flags&vmSpecial != 0 || !atStart && !atEnd {
		return nil
	}
	g := vmaMerge{start: start, end: end, pgoff: v.pgoff(start), flags: flags,
		file: v.File, anon: v.AnonVMA, forked: v.forked, policy: policy, prev: v.prev, next: v.next}
	left := atStart && g.canMergeLeft()
	right := atEnd && g.canMergeRight(left)
	p, n := g.prev, g.next
	switch {
	case left && right:
		// |ppp|vvv|nnn| -> |ppppppppp|
		p.adopt(n)
		hi := n.End
		mm.detachVMA(v)
		mm.detachVMA(n)
		mm.setRange(p, p.Start, hi, p.Pgoff)
		mm.releaseVMA(v)
		mm.releaseVMA(n)
		return p
	case left:
		// |ppp|vvv| -> |ppppp|v| or |pppppp|
		if atEnd {
			mm.detachVMA(v)
			mm.releaseVMA(v)
		} else {
			mm.adjustTransHuge(t, v, end)
			mm.setRange(v, end, v.End, v.pgoff(end))
		}
		mm.setRange(p, p.Start, end, p.Pgoff)
		return p
	case right:
		// |vvv|nnn| -> |v|nnnnn| or |nnnnnn|
		if atStart {
			mm.detachVMA(v)
			mm.releaseVMA(v)
		} else {
			mm.adjustTransHuge(t, v, start)
			mm.setRange(v, v.Start, start, v.Pgoff)
		}
		mm.setRange(n, start, n.End, g.pgoff)
		return n
	}
	return nil
}

// splitVMA cuts a VMA at page at. The new piece is the lower one if newBelow is
// set, else the upper; v stays the other.
//
// Errors: ENOMEM when there would be too many VMAs.
//
// Kernel: split_vma, mm/vma.c.
//
// Preconditions: mmapLock held for writing; v.Start < at < v.End.
func (mm *MM) splitVMA(t *sim.Task, v *VMA, at uint64, newBelow bool) errno.Errno {
	if mm.mapCount() >= maxMapCount {
		return errno.ENOMEM
	}
	mm.splitVMANoLimit(t, v, at, newBelow)
	return 0
}

// splitVMANoLimit is splitVMA where the number of VMAs was checked or may go one
// over the limit.
//
// Kernel: __split_vma.
func (mm *MM) splitVMANoLimit(t *sim.Task, v *VMA, at uint64, newBelow bool) {
	mm.adjustTransHuge(t, v, at)
	start, end, pgoff := v.Start, v.End, v.Pgoff
	if newBelow {
		mm.setRange(v, at, end, v.pgoff(at))
		end = at
	} else {
		pgoff = v.pgoff(at)
		mm.setRange(v, start, at, v.Pgoff)
		start = at
	}
	n := mm.newVMA(start, end, v.Flags, pgoff)
	n.likeVMA(v)
	if newBelow {
		mm.insertVMAAfter(n, v.prev)
	} else {
		mm.insertVMAAfter(n, v)
	}
}

// likeVMA gives a new VMA the file, the family and the policy of another.
//
// Kernel: vm_area_dup and anon_vma_clone.
func (v *VMA) likeVMA(src *VMA) {
	v.forked, v.policy = src.forked, src.policy
	if src.AnonVMA != nil {
		v.setAnonVMA(src.AnonVMA)
	}
	if src.File != nil {
		v.setFile(src.File)
		src.File.Ref()
	}
}

// modifyFlags prepares [start,end) of a VMA for the attributes flags: it returns
// the VMA that consists of these pages, or the neighbour with those attributes
// that has taken them over. The caller sets the flags.
//
// Errors: ENOMEM when there would be too many VMAs; an earlier split stays.
//
// Kernel: vma_modify_flags, mm/vma.c.
//
// Preconditions: mmapLock held for writing; [start,end) lies in v.
func (mm *MM) modifyFlags(t *sim.Task, v *VMA, start, end uint64, flags VMFlags) (*VMA, errno.Errno) {
	return mm.modifyVMA(t, v, start, end, flags, v.policy)
}

// modifyVMA is modifyFlags for attributes and policy.
//
// Kernel: vma_modify.
func (mm *MM) modifyVMA(t *sim.Task, v *VMA, start, end uint64, flags VMFlags, policy policyID) (*VMA, errno.Errno) {
	if merged := mm.mergeExisting(t, v, start, end, flags, policy); merged != nil {
		return merged, 0
	}
	if v.Start < start {
		if err := mm.splitVMA(t, v, start, true); err != 0 {
			return nil, err
		}
	}
	if v.End > end {
		if err := mm.splitVMA(t, v, end, false); err != 0 {
			return nil, err
		}
	}
	return v, 0
}

// findMergeableAnonVMA returns the family of a neighbour that differs at most in
// access rights, so that both can be one VMA when the rights are equal again;
// nil if there is none.
//
// Kernel: find_mergeable_anon_vma, mm/vma.c.
//
// Preconditions: mmapLock held; v has no family.
func (v *VMA) findMergeableAnonVMA() *AnonVMA {
	if n := v.next; n != nil && anonVMACompatible(v, n) && n.forked == nil && n.AnonVMA != nil {
		return n.AnonVMA
	}
	if p := v.prev; p != nil && anonVMACompatible(p, v) && p.forked == nil {
		return p.AnonVMA
	}
	return nil
}

// anonVMACompatible says whether b continues a but for access rights.
//
// Kernel: anon_vma_compatible.
func anonVMACompatible(a, b *VMA) bool {
	return a.End == b.Start && a.File == b.File && a.policy == b.policy && (a.Flags^b.Flags)&^vmAccess == 0 &&
		b.Pgoff == a.Pgoff+a.Len()
}
