// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"

	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnDupMmap  = sim.NewFunc("dup_mmap", "mm", "child")
	fnExitMmap = sim.NewFunc("exit_mmap", "mm")
	fnRelease  = sim.NewFunc("mmu_notifier_release", "mm")
)

// DupMM copies the address space for fork: same VMAs, pages shared copy-on-write.
//
// Kernel: dup_mm, kernel/fork.c.
func (mm *MM) DupMM(t *sim.Task, name string) (*MM, errno.Errno) {
	child := mm.sys.NewMM(name)
	mm.mmapLock.Lock(t)
	child.mmapLock.LockNested(t, classMmapLockNested)
	child.startBrk, child.brk, child.mmapBase = mm.startBrk, mm.brk, mm.mmapBase
	child.thp = mm.thp
	mm.vmas.Ascend(func(v *VMA) bool {
		if v.Flags&VMDontCopy == 0 {
			mm.dupVMA(t, child, v)
		}
		return true
	})
	t.Log(fnDupMmap, uint64(mm.id), uint64(child.id), 0)
	child.mmapLock.Unlock(t)
	mm.mmapLock.Unlock(t)
	return child, 0
}

// dupVMA gives the child one VMA and its pages.
func (mm *MM) dupVMA(t *sim.Task, child *MM, v *VMA) {
	c := &VMA{Start: v.Start, End: v.End, Flags: v.Flags &^ (VMLocked | VMLockOnFault), Pgoff: v.Pgoff, policy: v.policy, mm: child}
	if v.File != nil {
		c.setFile(v.File)
		v.File.Ref()
	}
	wipe := v.Flags&VMWipeOnFork != 0
	if v.AnonVMA != nil && !wipe {
		mm.sys.forkAnon(c, v)
		c.setAnonVMA(v.AnonVMA)
	}
	child.insertVMA(c)
	if !wipe {
		mm.copyPageRange(t, child, v)
	}
}

// copyPageRange copies the entries of a VMA into a child, write-protecting what
// both now share, in a PROTECTION_PAGE window over the parent's VMA. Mappings
// without anonymous pages are left to be faulted.
//
// Kernel: copy_page_range, mm/memory.c.
//
// Simplified: model/FIDELITY.md M-FORK.
func (mm *MM) copyPageRange(t *sim.Task, child *MM, v *VMA) {
	if v.AnonVMA == nil {
		return
	}
	var w *NotifierRange
	if v.cow() {
		w = mm.openWindow(t, EventProtectionPage, v.Start, v.End)
	}
	mm.looked(t, v.Start, v.End)
	for _, run := range mm.pt.AppendRuns(nil, v.Start, v.End) {
		t.Write(&mm.ptObj, run.Lo, run.Hi)
		for i := run.Lo; i < run.Hi; {
			p, n := mm.runAt(i, run.Hi-i)
			n, pinned := mm.pinnedRun(v, i, n, p)
			switch {
			case p.none():
			case pinned:
				mm.copyPinned(t, child, v, i, n, p)
			default:
				mm.copyPTEs(child, v, i, i+n, p)
			}
			i += n
		}
	}
	mm.closeWindow(t, w)
}

// copyPTEs shares one run of entries with the child.
//
// Kernel: copy_present_page and copy_nonpresent_pte, mm/memory.c.
func (mm *MM) copyPTEs(child *MM, v *VMA, lo, hi uint64, p PTE) {
	n := hi - lo
	q := p
	switch {
	case p.swap():
		mm.sys.Mem.SwapGet(p.Slot(), n)
		child.swapents += n
	case p.zero(), p.poison():
	case p.migration():
		// Who migrates the page finds the child's entry through the family.
		child.rss += n
		if v.cow() {
			q &^= PTEExclusive | PTEWrite
		}
	default:
		mm.sys.get(p.Frame(), n)
		child.rss += n
		q &^= PTEExclusive
		if v.cow() {
			q &^= PTEWrite
		}
	}
	if q != p {
		mm.setPTEs(lo, hi, q)
	}
	child.setPTEs(lo, hi, q&^PTEYoung)
}

// OnRelease registers what must happen when the address space dies, after the
// interval notifiers have seen RELEASE and before its pages go.
//
// Kernel: struct mmu_notifier_ops.release, include/linux/mmu_notifier.h.
func (mm *MM) OnRelease(f func(t *sim.Task)) { mm.release = append(mm.release, f) }

// exitMmap tears the address space down: RELEASE to every notifier, then an
// UNMAP window over everything while the pages go.
//
// Preconditions: mm_users is 0.
//
// Kernel: exit_mmap, mm/mmap.c.
func (mm *MM) exitMmap(t *sim.Task) {
	mm.khugepagedExit(t)
	mm.notifierRelease(t)
	mm.mmapLock.RLock(t)
	if mm.vmas.Len() > 0 {
		w := mm.openWindow(t, EventUnmap, 0, EndOfSpace)
		mm.unmapPageRange(t, nil, 0, EndOfSpace)
		mm.closeWindow(t, w)
	}
	mm.mmapLock.RUnlock(t)
	mm.sys.reaper.skip(t, mm)
	mm.mmapLock.Lock(t)
	var dead []*VMA
	mm.vmas.Ascend(func(v *VMA) bool {
		dead = append(dead, v)
		return true
	})
	for _, v := range dead {
		f := v.File
		mm.unlinkVMA(v)
		if f != nil {
			mm.sys.Unref(f)
		}
	}
	mm.tables.Clear(0, EndOfSpace)
	mm.puds.Clear(0, EndOfSpace)
	mm.exited = true
	t.Log(fnExitMmap, uint64(mm.id), 0, 0)
	mm.mmapLock.Unlock(t)
}

// notifierRelease tells every notifier that the address space dies.
//
// Kernel: __mmu_notifier_release, mm/mmu_notifier.c.
func (mm *MM) notifierRelease(t *sim.Task) {
	if s := mm.subs; s != nil {
		r := NotifierRange{Event: EventRelease, Start: 0, End: EndOfSpace, Blockable: true}
		t.Log(fnRelease, uint64(mm.id), 0, 0)
		mm.itreeInvalidate(t, s, &r)
		mm.invEnd(t, s, &r)
	}
	hooks := mm.release
	mm.release = nil
	for _, f := range hooks {
		f(t)
	}
}

// Leaks says what a dead or dying address space still holds.
func (mm *MM) Leaks() []string {
	var l []string
	if mm.exited && (mm.rss != 0 || mm.swapents != 0 || mm.pt.Len() != 0) {
		l = append(l, "pages of mm "+mm.Name)
	}
	if st := mm.NotifierState(); st.Inserted != 0 || st.Deferred != 0 {
		l = append(l, "interval notifier on mm "+mm.Name)
	}
	return l
}
