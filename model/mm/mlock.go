// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

var fnMlock = sim.NewFunc("mlock_fixup", "start", "end", "flags")

// memlockUnlimited is Config.Memlock of a machine without a limit. With a limit
// the tasks have no CAP_IPC_LOCK, root or not.
const memlockUnlimited = ^uint64(0)

// canDoMlock says whether anything may be locked at all.
//
// Kernel: can_do_mlock, mm/mlock.c.
func (mm *MM) canDoMlock() bool { return mm.sys.cfg.Memlock != 0 }

// mlockFutureOK says whether n more pages with these attributes stay within the
// limit.
//
// Kernel: mlock_future_ok, mm/mmap.c.
func (mm *MM) mlockFutureOK(flags VMFlags, n uint64) bool {
	return flags&VMLocked == 0 || mm.sys.cfg.Memlock == memlockUnlimited || mm.lockedVM+n <= mm.sys.cfg.Memlock
}

// supportsMlock says whether the VMA can be locked.
//
// Kernel: vma_supports_mlock, mm/internal.h.
func (v *VMA) supportsMlock() bool { return v.Flags&(vmSpecial|VMDroppable) == 0 }

// Mlock locks the pages of [addr,addr+length) (bytes) in memory and faults them
// in.
//
// Errors: EPERM (limit 0), ENOMEM (limit, hole, too many VMAs, page that cannot be
// faulted), EAGAIN (no memory), EINVAL (wraps).
//
// Kernel: mlock, mm/mlock.c.
//
// Simplified: model/FIDELITY.md M-MLOCK.
func (mm *MM) Mlock(t *sim.Task, addr, length uint64) errno.Errno {
	return mm.doMlock(t, addr, length, VMLocked)
}

// Mlock2 is Mlock with MlockOnFault to lock pages only once they are touched.
//
// Kernel: mlock2, mm/mlock.c.
func (mm *MM) Mlock2(t *sim.Task, addr, length uint64, flags uint32) errno.Errno {
	if flags&^MlockOnFault != 0 {
		return errno.EINVAL
	}
	if flags&MlockOnFault != 0 {
		return mm.doMlock(t, addr, length, vmLockedMask)
	}
	return mm.doMlock(t, addr, length, VMLocked)
}

func (mm *MM) doMlock(t *sim.Task, addr, length uint64, flags VMFlags) errno.Errno {
	if !mm.canDoMlock() {
		return errno.EPERM
	}
	length = pageAlign(length + pageOffset(addr))
	lo, n := addr>>PageShift, length>>PageShift
	limit := mm.sys.cfg.Memlock
	mm.mmapLock.Lock(t)
	locked := mm.lockedVM + n
	if locked > limit {
		locked -= mm.lockedPages(lo, lo+n)
	}
	err := errno.ENOMEM
	if locked <= limit {
		err = mm.applyVMALockFlags(t, lo, n, flags)
	}
	mm.mmapLock.Unlock(t)
	if err != 0 {
		return err
	}
	switch err = mm.mmPopulate(t, lo, lo+n, false); err {
	case errno.EFAULT:
		return errno.ENOMEM
	case errno.ENOMEM:
		return errno.EAGAIN
	}
	return err
}

// lockedPages returns how many pages of [lo,hi) are in locked VMAs.
//
// Kernel: count_mm_mlocked_page_nr.
func (mm *MM) lockedPages(lo, hi uint64) uint64 {
	var n uint64
	for v := mm.intersection(lo, hi); v != nil && v.Start < hi; v = v.next {
		if v.Flags&VMLocked != 0 {
			n += min(v.End, hi) - max(v.Start, lo)
		}
	}
	return n
}

// Munlock undoes Mlock.
//
// Errors: ENOMEM (hole, too many VMAs), EINVAL (wraps).
//
// Kernel: munlock.
func (mm *MM) Munlock(t *sim.Task, addr, length uint64) errno.Errno {
	length = pageAlign(length + pageOffset(addr))
	mm.mmapLock.Lock(t)
	err := mm.applyVMALockFlags(t, addr>>PageShift, length>>PageShift, 0)
	mm.mmapLock.Unlock(t)
	return err
}

// applyVMALockFlags gives n pages from lo on the lock attributes flags. What was
// done before an error stays.
//
// Kernel: apply_vma_lock_flags.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) applyVMALockFlags(t *sim.Task, lo, n uint64, flags VMFlags) errno.Errno {
	const addresses = 1 << (64 - PageShift)
	if n == 0 {
		return 0
	}
	hi := lo + n
	if hi >= addresses {
		return errno.EINVAL
	}
	v := mm.vmaAt(lo)
	if v == nil {
		return errno.ENOMEM
	}
	for at := lo; ; {
		var err errno.Errno
		v, err = mm.mlockFixup(t, v, at, min(v.End, hi), v.Flags&^vmLockedMask|flags)
		if err != 0 {
			return err
		}
		if at = v.End; at >= hi {
			return 0
		}
		if v = v.next; v == nil || v.Start != at {
			return errno.ENOMEM
		}
	}
}

// mlockFixup gives pages [lo,hi) of a VMA the attributes flags, which differ in
// the lock ones only, and returns the VMA that they are in now.
//
// Kernel: mlock_fixup.
func (mm *MM) mlockFixup(t *sim.Task, v *VMA, lo, hi uint64, flags VMFlags) (*VMA, errno.Errno) {
	if flags == v.Flags || !v.supportsMlock() {
		return v, 0
	}
	m, err := mm.modifyFlags(t, v, lo, hi, flags)
	if err != 0 {
		return v, err
	}
	mm.setFlags(m, flags)
	t.Log(fnMlock, lo<<PageShift, hi<<PageShift, uint64(flags))
	return m, 0
}

// Mlockall locks what is mapped now (MclCurrent), what will be (MclFuture), or
// both; with MclOnFault pages are locked only once they are touched.
//
// Errors: EINVAL, EPERM (limit 0), ENOMEM (beyond the limit).
//
// Kernel: mlockall, mm/mlock.c.
func (mm *MM) Mlockall(t *sim.Task, flags uint32) errno.Errno {
	if flags == 0 || flags&^(MclCurrent|MclFuture|MclOnFault) != 0 || flags == MclOnFault {
		return errno.EINVAL
	}
	if !mm.canDoMlock() {
		return errno.EPERM
	}
	mm.mmapLock.Lock(t)
	err := errno.ENOMEM
	if flags&MclCurrent == 0 || mm.totalVM <= mm.sys.cfg.Memlock {
		mm.applyMlockallFlags(t, flags)
		err = 0
	}
	mm.mmapLock.Unlock(t)
	if err == 0 && flags&MclCurrent != 0 {
		mm.mmPopulate(t, 0, TaskSize, true)
	}
	return err
}

// Munlockall unlocks everything, now and for the future.
//
// Kernel: munlockall.
func (mm *MM) Munlockall(t *sim.Task) errno.Errno {
	mm.mmapLock.Lock(t)
	mm.applyMlockallFlags(t, 0)
	mm.mmapLock.Unlock(t)
	return 0
}

// applyMlockallFlags is mlockall under the lock; a VMA that would make too many
// is left as it is.
//
// Kernel: apply_mlockall_flags.
func (mm *MM) applyMlockallFlags(t *sim.Task, flags uint32) {
	mm.defLocked = flags&MclFuture != 0
	mm.maps.defOnFault = mm.defLocked && flags&MclOnFault != 0
	if mm.defLocked && flags&MclCurrent == 0 {
		return
	}
	var add VMFlags
	if flags&MclCurrent != 0 {
		add |= VMLocked
		if flags&MclOnFault != 0 {
			add |= VMLockOnFault
		}
	}
	for v := mm.firstVMA(); v != nil; v = v.next {
		v, _ = mm.mlockFixup(t, v, v.Start, v.End, v.Flags&^vmLockedMask|add)
	}
}

// Populate faults in pages [lo,hi), as if each were read, or written if write is
// set.
//
// Errors: ENOMEM (hole, no memory), EINVAL (not allowed), EFAULT (SIGBUS).
//
// Kernel: madvise_populate, mm/madvise.c.
func (mm *MM) Populate(t *sim.Task, lo, hi uint64, write bool) errno.Errno {
	mm.mmapLock.RLock(t)
	err := mm.madvisePopulate(t, lo, hi, write)
	mm.mmapLock.RUnlock(t)
	return err
}

// mmPopulate faults in what is mapped in [lo,hi), as MAP_POPULATE and mlock do.
// It stops at the first error, or with ignoreErrors goes on with the next VMA.
//
// Kernel: __mm_populate, mm/gup.c.
//
// Preconditions: mmapLock not held.
func (mm *MM) mmPopulate(t *sim.Task, lo, hi uint64, ignoreErrors bool) errno.Errno {
	var err errno.Errno
	if lo == hi {
		return 0
	}
	mm.mmapLock.RLock(t)
	for v := mm.intersection(lo, hi); v != nil && v.Start < hi; v = v.next {
		if v.Flags&(VMIO|VMPFNMap) != 0 {
			continue
		}
		if err = mm.populateVMAPageRange(t, v, max(lo, v.Start), min(hi, v.End)); err != 0 && !ignoreErrors {
			break
		}
		err = 0
	}
	mm.mmapLock.RUnlock(t)
	return err
}

// populateVMAPageRange faults in pages [lo,hi) of a VMA: private writable ones as
// if written, so that nothing is left to be copied, others as if read.
//
// Errors: EFAULT for a VMA without access or a broken page, ENOMEM.
//
// Kernel: populate_vma_page_range, mm/gup.c.
//
// Preconditions: mmapLock held.
func (mm *MM) populateVMAPageRange(t *sim.Task, v *VMA, lo, hi uint64) errno.Errno {
	switch {
	case v.Flags&VMLockOnFault != 0:
		return 0
	case v.Flags&vmAccess == 0:
		return errno.EFAULT
	}
	err := mm.handleMMFaultRange(t, v, lo, hi, v.Flags&(VMWrite|VMShared) == VMWrite)
	if err == errno.EHWPOISON {
		err = errno.EFAULT
	}
	return err
}
