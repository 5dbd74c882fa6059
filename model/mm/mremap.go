// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnMoveVMA = sim.NewFunc("move_vma", "old", "new", "len")
	fnExpand  = sim.NewFunc("vma_merge_extend", "start", "end")
)

// remap is one call of mremap: bytes, page aligned unless said otherwise.
type remap struct {
	addr, oldLen    uint64
	newAddr, newLen uint64 // newAddr as the caller gave it
	flags           uint32
	// grown is set when locked memory grew at newAddr and must be faulted in.
	grown bool
}

// Mremap resizes, moves or (oldLen 0) duplicates the mapping at addr, and returns
// its new address. All in bytes.
//
// Errors:
//   - EINVAL: arguments, a destination that overlaps, DONTUNMAP of a mapping that
//     must not grow
//   - EFAULT: no mapping at addr, more than one, one that must not grow
//   - ENOMEM: it cannot grow in place and may not move, no such addresses, too
//     many VMAs, more memory than the machine has
//   - EAGAIN: beyond the memlock limit
//
// Kernel: mremap, mm/mremap.c.
func (mm *MM) Mremap(t *sim.Task, addr, oldLen, newLen uint64, flags uint32, newAddr uint64) (uint64, errno.Errno) {
	r := remap{addr: addr, oldLen: pageAlign(oldLen), newAddr: newAddr, newLen: pageAlign(newLen), flags: flags}
	switch {
	case flags&^(MremapMayMove|MremapFixed|MremapDontUnmap) != 0,
		flags&MremapFixed != 0 && flags&MremapMayMove == 0,
		flags&MremapDontUnmap != 0 && (flags&MremapMayMove == 0 || oldLen != newLen),
		pageOffset(addr) != 0, r.newLen == 0:
		return 0, errno.EINVAL
	}
	mm.mmapLock.Lock(t)
	if mm.vmaAt(addr>>PageShift) == nil {
		mm.mmapLock.Unlock(t)
		return 0, errno.EFAULT
	}
	var err errno.Errno
	switch {
	case flags&(MremapFixed|MremapDontUnmap) != 0:
		err = mm.mremapTo(t, &r)
	case r.oldLen > r.newLen:
		// Shrinking unmaps the tail, and like munmap releases the lock early.
		if err = mm.doMunmap(t, addr+r.newLen, r.oldLen-r.newLen, true); err != 0 {
			mm.mmapLock.Unlock(t)
			return 0, err
		}
		return addr, 0
	case r.oldLen == r.newLen:
		r.newAddr = addr
	default:
		err = mm.mremapGrow(t, &r)
	}
	mm.mmapLock.Unlock(t)
	if err != 0 {
		return 0, err
	}
	if r.grown && r.newLen > r.oldLen {
		mm.mmPopulate(t, (r.newAddr+r.oldLen)>>PageShift, (r.newAddr+r.newLen)>>PageShift, true)
	}
	return r.newAddr, 0
}

// mremapGrow makes the mapping larger, in place or by moving it, and sets
// r.newAddr.
//
// Preconditions: mmapLock held for writing; r.newLen > r.oldLen.
func (mm *MM) mremapGrow(t *sim.Task, r *remap) errno.Errno {
	v, err := mm.vmaToResize(r)
	if err != 0 {
		return err
	}
	delta := (r.newLen - r.oldLen) >> PageShift
	if (r.addr+r.oldLen)>>PageShift == v.End && mm.expandable(v, delta) {
		return mm.expandInPlace(t, v, delta, r)
	}
	if r.flags&MremapMayMove == 0 {
		return errno.ENOMEM
	}
	to, err := mm.getUnmappedArea(v.File, 0, r.newLen, v.mapShared())
	if err != 0 {
		return err
	}
	r.newAddr = to
	return mm.moveVMA(t, v, r)
}

// expandable says whether the n pages above a VMA are free addresses.
//
// Kernel: vma_expandable.
func (mm *MM) expandable(v *VMA, n uint64) bool {
	end := v.End + n
	return end <= TaskSize && (v.next == nil || v.next.Start >= end)
}

// expandInPlace makes a VMA n pages longer.
//
// Kernel: vma_merge_extend, mm/vma.c.
func (mm *MM) expandInPlace(t *sim.Task, v *VMA, n uint64, r *remap) errno.Errno {
	if v.Flags&VMAccount != 0 && !mm.enoughMemory(n) {
		return errno.ENOMEM
	}
	g := vmaMerge{start: v.End, end: v.End + n, pgoff: v.pgoff(v.End), flags: v.Flags,
		file: v.File, anon: v.AnonVMA, forked: v.forked, policy: v.policy, prev: v, next: v.next}
	if v = mm.mergeNew(&g); v == nil {
		return errno.ENOMEM
	}
	t.Log(fnExpand, g.start<<PageShift, g.end<<PageShift, 0)
	r.newAddr, r.grown = r.addr, v.Flags&VMLocked != 0
	return 0
}

// mapShared returns the mmap flag that tells a search whether the mapping is
// shared.
func (v *VMA) mapShared() uint32 {
	if v.Flags&VMMayShare != 0 {
		return MapShared
	}
	return 0
}

// vmaToResize returns the VMA if it can get the size asked for.
//
// Kernel: vma_to_resize.
//
// Preconditions: mmapLock held for writing; r.newLen >= r.oldLen.
func (mm *MM) vmaToResize(r *remap) (*VMA, errno.Errno) {
	lo := r.addr >> PageShift
	v := mm.vmaAt(lo)
	switch {
	case v == nil:
		return nil, errno.EFAULT
	case r.oldLen == 0 && v.Flags&(VMShared|VMMayShare) == 0:
		return nil, errno.EINVAL
	case r.flags&MremapDontUnmap != 0 && v.Flags&(VMDontExpand|VMPFNMap) != 0:
		return nil, errno.EINVAL
	case r.oldLen>>PageShift > v.End-lo:
		return nil, errno.EFAULT
	case r.newLen == r.oldLen:
		return v, 0
	case v.pgoff(lo)+r.newLen>>PageShift < v.pgoff(lo):
		return nil, errno.EINVAL
	case v.Flags&(VMDontExpand|VMPFNMap) != 0:
		return nil, errno.EFAULT
	case !mm.mlockFutureOK(v.Flags, (r.newLen-r.oldLen)>>PageShift):
		return nil, errno.EAGAIN
	}
	return v, 0
}

// mremapTo moves the mapping to an address that the caller chose (MremapFixed), or
// leaves an empty one behind (MremapDontUnmap).
//
// Kernel: mremap_to.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) mremapTo(t *sim.Task, r *remap) errno.Errno {
	const taskBytes = TaskSize << PageShift
	switch {
	case pageOffset(r.newAddr) != 0,
		r.newLen > taskBytes || r.newAddr > taskBytes-r.newLen,
		r.addr+r.oldLen > r.newAddr && r.newAddr+r.newLen > r.addr:
		return errno.EINVAL
	case mm.mapCount()+2 >= maxMapCount-3:
		return errno.ENOMEM
	}
	if r.flags&MremapFixed != 0 {
		if err := mm.doMunmap(t, r.newAddr, r.newLen, false); err != 0 {
			return err
		}
	}
	if r.oldLen > r.newLen {
		if err := mm.doMunmap(t, r.addr+r.newLen, r.oldLen-r.newLen, false); err != 0 {
			return err
		}
		r.oldLen = r.newLen
	}
	v, err := mm.vmaToResize(r)
	if err != 0 {
		return err
	}
	flags := v.mapShared()
	if r.flags&MremapFixed != 0 {
		flags |= MapFixed
	}
	to, err := mm.getUnmappedArea(v.File, r.newAddr, r.newLen, flags)
	if err != 0 {
		return err
	}
	r.newAddr = to
	return mm.moveVMA(t, v, r)
}

// moveVMA moves r.oldLen bytes of a VMA to r.newAddr, where they become r.newLen.
//
// A move opens two UNMAP windows over the old range, one to move the entries and
// one to unmap it; with MremapDontUnmap only the first.
//
// Kernel: move_vma, mm/mremap.c.
//
// Preconditions: mmapLock held for writing; the destination is free.
func (mm *MM) moveVMA(t *sim.Task, v *VMA, r *remap) errno.Errno {
	lo, n, newN := r.addr>>PageShift, r.oldLen>>PageShift, r.newLen>>PageShift
	keep := r.flags&MremapDontUnmap != 0
	flags := v.Flags
	if mm.mapCount() >= maxMapCount-3 {
		return errno.ENOMEM
	}
	if _, err := mm.ksmMadvise(t, v, lo, lo+n, MadvUnmergeable); err != 0 {
		return err
	}
	if keep && flags&VMLocked != 0 {
		if err := mm.isolate(t, v, lo, lo+n); err != 0 {
			return err
		}
	}
	more := newN - n
	if keep {
		more = newN
	}
	if flags&VMAccount != 0 && !mm.enoughMemory(more) {
		return errno.ENOMEM
	}
	to := r.newAddr >> PageShift
	moved, v := mm.copyVMA(v, lo, to, newN, keep)
	t.Log(fnMoveVMA, r.addr, r.newAddr, r.oldLen)
	mm.movePageTables(t, v, lo, moved, to, n)
	if keep {
		mm.emptySource(v, lo, lo+n)
		return 0
	}
	// Nothing to unmap (a duplicate) is the only failure left.
	mm.doMunmap(t, r.addr, r.oldLen, false)
	r.grown = flags&VMLocked != 0
	return 0
}

// isolate makes [lo,hi) a VMA of its own.
func (mm *MM) isolate(t *sim.Task, v *VMA, lo, hi uint64) errno.Errno {
	if v.Start < lo {
		if err := mm.splitVMA(t, v, lo, true); err != 0 {
			return err
		}
	}
	if v.End > hi {
		return mm.splitVMA(t, v, hi, false)
	}
	return 0
}

// emptySource leaves [lo,hi) of a VMA unlocked and without family after its pages
// have moved away.
func (mm *MM) emptySource(v *VMA, lo, hi uint64) {
	mm.setFlags(v, v.Flags&^vmLockedMask)
	if v.Start == lo && v.End == hi {
		v.setAnonVMA(nil)
		v.forked = nil
		if v.anonymous() {
			v.Pgoff = v.Start
		}
	}
}

// copyVMA makes a VMA of n pages at to for what is at lo in v, or lets a neighbour
// grow there. It returns that and v, which is another VMA when v itself was
// merged. keep says that v will stay as it is.
//
// Kernel: copy_vma, mm/vma.c.
//
// Preconditions: mmapLock held for writing; [to,to+n) is free.
func (mm *MM) copyVMA(v *VMA, lo, to, n uint64, keep bool) (moved, src *VMA) {
	pgoff := v.pgoff(lo)
	unfaulted := v.anonymous() && v.AnonVMA == nil
	if unfaulted {
		pgoff = to // nothing depends on it yet, and it may merge
	}
	g := vmaMerge{start: to, end: to + n, pgoff: pgoff, flags: v.Flags,
		file: v.File, anon: v.AnonVMA, forked: v.forked, policy: v.policy}
	g.prev, g.next = mm.neighbours(to)
	below := g.prev
	if unfaulted && keep {
		if g.prev == v {
			g.prev = nil
		}
		if g.next == v {
			g.next = nil
		}
	}
	start := v.Start
	if m := mm.mergeNew(&g); m != nil {
		if m.Start <= start && start < m.End {
			v = m
		}
		return m, v
	}
	m := mm.newVMA(to, to+n, v.Flags, pgoff)
	m.likeVMA(v)
	mm.insertVMAAfter(m, below)
	return m, v
}

// movePageTables moves n pages of entries from oldLo to newLo, in an UNMAP window
// over the old range.
//
// Kernel: move_page_tables, mm/mremap.c.
func (mm *MM) movePageTables(t *sim.Task, _ *VMA, oldLo uint64, _ *VMA, newLo, n uint64) {
	if n == 0 {
		return
	}
	w := mm.openWindow(t, EventUnmap, oldLo, oldLo+n)
	mm.splitForMove(t, oldLo, newLo, n)
	mm.moveNormalPMDs(oldLo, newLo, n)
	t.Write(&mm.ptObj, oldLo, oldLo+n)
	t.Write(&mm.ptObj, newLo, newLo+n)
	t.Touch(mm.PageAccess(oldLo, oldLo+n, sim.KindWrite))
	for _, run := range mm.pt.AppendRuns(nil, oldLo, oldLo+n) {
		mm.clearPTEs(run.Lo, run.Hi)
		mm.moveRun(run.Lo-oldLo+newLo, run)
	}
	t.Log(fnMove, oldLo<<PageShift, newLo<<PageShift, n<<PageShift)
	mm.closeWindow(t, w)
}

// moveNormalPMDs moves the page tables that lie in [oldLo,oldLo+n) as a whole, and
// whose place is free: the old one has none then.
//
// Kernel: move_normal_pmd, mm/mremap.c.
func (mm *MM) moveNormalPMDs(oldLo, newLo, n uint64) {
	const pages = 1 << pmdShift
	if (oldLo^newLo)&(pages-1) != 0 {
		return
	}
	for a := (oldLo + pages - 1) &^ (pages - 1); a+pages <= oldLo+n; a += pages {
		from, to := a>>pmdShift, (a-oldLo+newLo)>>pmdShift
		if v, ok := mm.tables.Get(from); ok && v == tablePTE && mm.tables.Empty(to, to+1) {
			mm.tables.Clear(from, from+1)
			mm.tables.Set(to, to+1, tablePTE, 0)
		}
	}
}
