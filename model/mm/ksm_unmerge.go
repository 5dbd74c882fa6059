// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// ksmMadvise returns the attributes after MadvMergeable or MadvUnmergeable, and
// for the latter gives every merged page of [lo,hi) a frame of its own. Mappings
// that KSM cannot handle keep their attributes.
//
// Errors: ENOMEM; pages before that are unmerged.
//
// Kernel: ksm_madvise, mm/ksm.c.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) ksmMadvise(t *sim.Task, v *VMA, lo, hi uint64, advice int) (VMFlags, errno.Errno) {
	const incompatible = VMShared | VMMayShare | vmSpecial | VMDroppable
	switch {
	case advice == MadvMergeable && v.Flags&incompatible == 0:
		return v.Flags | VMMergeable, 0
	case advice == MadvMergeable || v.Flags&VMMergeable == 0:
		return v.Flags, 0
	}
	if v.AnonVMA != nil {
		if err := mm.unmergePages(t, v, lo, hi); err != 0 {
			return v.Flags, err
		}
	}
	return v.Flags &^ VMMergeable, 0
}

// KSMUnmerge gives every merged page a frame of its own, as writing 2 to
// /sys/kernel/mm/ksm/run does.
//
// Errors: ENOMEM; the pages before that are unmerged.
//
// Kernel: unmerge_and_remove_all_rmap_items, mm/ksm.c.
func (sys *System) KSMUnmerge(t *sim.Task) errno.Errno {
	for _, mm := range append([]*MM(nil), sys.mms...) {
		mm.mmapLock.RLock(t)
		var err errno.Errno
		for v := mm.firstVMA(); v != nil && mm.users > 0 && err == 0; v = v.next {
			if v.Flags&VMMergeable != 0 && v.AnonVMA != nil {
				err = mm.unmergePages(t, v, v.Start, v.End)
			}
		}
		mm.mmapLock.RUnlock(t)
		if err != 0 {
			return err
		}
	}
	return 0
}

// unmergePages gives every merged page of [lo,hi) a frame of its own, in a CLEAR
// window for each.
//
// Errors: ENOMEM.
//
// Kernel: unmerge_ksm_pages.
//
// Preconditions: mmapLock held; [lo,hi) lies in v.
func (mm *MM) unmergePages(t *sim.Task, v *VMA, lo, hi uint64) errno.Errno {
	for i := lo; i < hi; {
		r, ok := mm.next(t, i, hi)
		if !ok {
			break
		}
		i = r.Lo
		n := step(t, i, min(r.Hi, hi))
		t.Read(&mm.ptObj, i, i+n)
		p, n := mm.runAt(i, n)
		switch {
		case !p.ksm():
			i += n
		case p.migration():
			mm.sys.migrationWait(t)
		default:
			if err := mm.unsharePage(t, v, i, p); err != 0 {
				return err
			}
		}
	}
	return 0
}

// unsharePage replaces a merged page by a copy that belongs to this mapping alone;
// it does not become writable. If it has changed meanwhile nothing happens, and
// the caller looks again.
//
// Errors: ENOMEM.
//
// Kernel: break_ksm, and wp_page_copy with FAULT_FLAG_UNSHARE, mm/memory.c.
func (mm *MM) unsharePage(t *sim.Task, v *VMA, vpn uint64, p PTE) errno.Errno {
	mem := mm.sys.Mem
	pfn, _, err := mm.vmaAllocPages(t, v, vpn, 1)
	if err != 0 {
		return err
	}
	var w *NotifierRange
	if mm.watched(t, vpn, vpn+1) {
		w = mm.openWindow(t, EventClear, vpn, vpn+1)
	}
	t.Write(&mm.ptObj, vpn, vpn+1)
	if mm.PTEAt(vpn)|PTEYoung == p|PTEYoung {
		mem.Copy(pfn, p.Frame(), 1)
		mm.setPTEs(vpn, vpn+1, p&PTEProtNone|PTEPresent|PTEYoung|PTEAnon|PTEExclusive|PTE(pfn))
		mm.sys.putFrames(p.Frame(), 1)
		mm.sys.Counts.COWBreaks++
		t.Log(fnKSMBreak, vpn<<PageShift, (vpn+1)<<PageShift, 0)
	} else {
		mm.sys.put(pfn, 1)
	}
	mm.closeWindow(t, w)
	return 0
}
