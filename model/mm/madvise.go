// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

var fnMadvise = sim.NewFunc("madvise_vma_behavior", "start", "end", "behavior")

// Madvise applies advice to [addr,addr+length) (bytes). Holes are skipped and
// reported when everything mapped has been done.
//
// Errors: EINVAL (arguments, advice that does not fit a mapping), ENOMEM (holes),
// EACCES, EFAULT, EAGAIN (too many VMAs).
//
// Kernel: do_madvise, mm/madvise.c.
func (mm *MM) Madvise(t *sim.Task, addr, length uint64, advice int) errno.Errno {
	if !madviseValid(advice) || pageOffset(addr) != 0 {
		return errno.EINVAL
	}
	n := pageAlign(length)
	switch {
	case length != 0 && n == 0, addr+n < addr:
		return errno.EINVAL
	case n == 0:
		return 0
	}
	lo, hi := addr>>PageShift, (addr+n)>>PageShift
	var err errno.Errno
	switch advice {
	case MadvHWPoison, MadvSoftOffline:
		return mm.madviseInjectError(t, lo, hi, advice)
	case MadvPopulateRead, MadvPopulateWrite:
		return mm.Populate(t, lo, hi, advice == MadvPopulateWrite)
	case MadvRemove, MadvWillNeed, MadvDontNeed, MadvDontNeedLocked, MadvCold, MadvPageOut, MadvFree, MadvCollapse:
		mm.mmapLock.RLock(t)
		err = mm.madviseVMAs(t, lo, hi, advice)
		mm.mmapLock.RUnlock(t)
	default:
		mm.mmapLock.Lock(t)
		err = mm.madviseVMAs(t, lo, hi, advice)
		mm.mmapLock.Unlock(t)
	}
	return err
}

// madviseValid says whether the number is an advice.
//
// Kernel: madvise_behavior_valid.
func madviseValid(advice int) bool {
	switch {
	case advice >= MadvNormal && advice <= MadvDontNeed,
		advice >= MadvFree && advice <= MadvCollapse,
		advice == MadvHWPoison, advice == MadvSoftOffline:
		return true
	}
	return false
}

// madviseVMAs applies advice to every VMA in [lo,hi).
//
// Kernel: madvise_walk_vmas.
//
// Preconditions: mmapLock held, for writing if the advice changes attributes.
func (mm *MM) madviseVMAs(t *sim.Task, lo, hi uint64, advice int) errno.Errno {
	var holes errno.Errno
	v := mm.FindVMA(lo)
	for {
		if v == nil {
			return errno.ENOMEM
		}
		if lo < v.Start {
			holes = errno.ENOMEM
			if lo = v.Start; lo >= hi {
				return holes
			}
		}
		end := min(v.End, hi)
		now, err := mm.madviseVMA(t, v, lo, end, advice)
		if err != 0 {
			return err
		}
		t.Log(fnMadvise, lo<<PageShift, end<<PageShift, uint64(advice))
		lo = end
		if now != nil {
			lo = max(lo, now.End)
		}
		if lo >= hi {
			return holes
		}
		if now != nil {
			v = now.next
		} else {
			v = mm.FindVMA(lo)
		}
	}
}

// madviseVMA applies advice to pages [lo,hi) of one VMA and returns the VMA that
// they are in now, nil when the lock was dropped meanwhile.
//
// Kernel: madvise_vma_behavior.
func (mm *MM) madviseVMA(t *sim.Task, v *VMA, lo, hi uint64, advice int) (*VMA, errno.Errno) {
	switch advice {
	case MadvRemove:
		return nil, mm.madviseRemove(t, v, lo, hi)
	case MadvCollapse:
		return nil, mm.madviseCollapse(t, v, lo, hi)
	case MadvWillNeed:
		return v, 0
	case MadvCold, MadvPageOut, MadvDontNeed, MadvDontNeedLocked, MadvFree:
		return v, mm.madvisePages(t, v, lo, hi, advice)
	}
	flags, err := mm.madviseFlags(t, v, lo, hi, advice)
	if err != 0 || flags == v.Flags {
		return v, err
	}
	now, err := mm.modifyFlags(t, v, lo, hi, flags)
	if err != 0 {
		return v, errno.EAGAIN
	}
	mm.setFlags(now, flags)
	return now, 0
}

// madvisePages applies the advice that takes pages away or ages them.
//
// Kernel: madvise_cold, madvise_pageout, madvise_dontneed_free.
func (mm *MM) madvisePages(t *sim.Task, v *VMA, lo, hi uint64, advice int) errno.Errno {
	forbidden := VMPFNMap | VMLocked
	if advice == MadvDontNeedLocked {
		forbidden = VMPFNMap
	}
	if v.Flags&forbidden != 0 {
		return errno.EINVAL
	}
	switch advice {
	case MadvCold:
		mm.deactivateRange(t, v, lo, hi)
	case MadvPageOut:
		mm.pageOutRange(t, v, lo, hi)
	case MadvFree:
		if !v.anonymous() {
			return errno.EINVAL
		}
		mm.lazyFreeRange(t, v, lo, hi)
	default:
		mm.zapPageRangeSingle(t, v, lo, hi)
	}
	return 0
}

// madviseFlags returns the attributes of the VMA after the advice.
func (mm *MM) madviseFlags(t *sim.Task, v *VMA, lo, hi uint64, advice int) (VMFlags, errno.Errno) {
	flags := v.Flags
	switch advice {
	case MadvNormal:
		return flags &^ (VMRandRead | VMSeqRead), 0
	case MadvSequential:
		return flags&^VMRandRead | VMSeqRead, 0
	case MadvRandom:
		return flags&^VMSeqRead | VMRandRead, 0
	case MadvDontFork:
		return flags | VMDontCopy, 0
	case MadvDoFork:
		return flags &^ VMDontCopy, einvalIf(flags&VMIO != 0)
	case MadvWipeOnFork:
		return flags | VMWipeOnFork, einvalIf(v.File != nil || flags&VMShared != 0)
	case MadvKeepOnFork:
		return flags &^ VMWipeOnFork, einvalIf(flags&VMDroppable != 0)
	case MadvDontDump:
		return flags | VMDontDump, 0
	case MadvDoDump:
		return flags &^ VMDontDump, einvalIf(flags&(vmSpecial|VMDroppable) != 0)
	case MadvMergeable, MadvUnmergeable:
		flags, err := mm.ksmMadvise(t, v, lo, hi, advice)
		if err == errno.ENOMEM {
			err = errno.EAGAIN
		}
		return flags, err
	case MadvHugePage:
		return flags&^VMNoHugePage | VMHugePage, 0
	case MadvNoHugePage:
		return flags&^VMHugePage | VMNoHugePage, 0
	}
	panic("BUG: advice without effect on attributes")
}

func einvalIf(bad bool) errno.Errno {
	if bad {
		return errno.EINVAL
	}
	return 0
}

// madvisePopulate faults in pages [lo,hi), as if read or written.
//
// Errors: ENOMEM (hole, no memory), EINVAL (not allowed to a mapping), EFAULT,
// EHWPOISON. Pages before the error are there.
//
// Kernel: madvise_populate, and faultin_page_range in mm/gup.c.
//
// Preconditions: mmapLock held for reading.
func (mm *MM) madvisePopulate(t *sim.Task, lo, hi uint64, write bool) errno.Errno {
	need := VMRead
	if write {
		need = VMWrite
	}
	for lo < hi {
		v := mm.vmaAt(lo)
		if v == nil {
			return errno.ENOMEM
		}
		if v.Flags&(VMIO|VMPFNMap) != 0 || v.Flags&need == 0 {
			return errno.EINVAL
		}
		end := min(hi, v.End)
		if err := mm.handleMMFaultRange(t, v, lo, end, write); err != 0 {
			return err
		}
		lo = end
	}
	return 0
}

// madviseRemove punches a hole into the file behind pages [lo,hi). It drops
// mmapLock meanwhile.
//
// Errors: EINVAL (locked, no file), EACCES (not shared and writable).
//
// Kernel: madvise_remove.
func (mm *MM) madviseRemove(t *sim.Task, v *VMA, lo, hi uint64) errno.Errno {
	switch {
	case v.Flags&VMLocked != 0 || v.File == nil:
		return errno.EINVAL
	case v.Flags&(VMShared|VMMayWrite) != VMShared|VMMayWrite:
		return errno.EACCES
	}
	f, off := v.File, v.pgoff(lo)
	f.Ref()
	mm.mmapLock.RUnlock(t)
	err := mm.sys.Fallocate(t, f, FallocPunchHole|FallocKeepSize, off<<PageShift, (hi-lo)<<PageShift)
	mm.sys.Unref(f)
	mm.mmapLock.RLock(t)
	return err
}
