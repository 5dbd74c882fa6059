// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var classSVM = sim.NewLockClass("svms->lock")

// svmRanges are the pages that SVM owns; user memory must not overlap them.
//
// Kernel: struct svm_range_list, kfd_svm.h.
type svmRanges struct{ pages phys.Map }

// SVMSetAttr makes [start,start+size) (bytes) an SVM range. SVM is here only for
// its conflicts with user memory: the range is never mapped.
//
// Errors: EINVAL for an unaligned or empty range and without an acquired VM,
// EOVERFLOW behind the end of the address space, EFAULT where nothing is mapped,
// EADDRINUSE where a GPU has a BO mapped at the same address.
//
// Kernel: kfd_ioctl_svm, kfd_chardev.c; svm_range_set_attr, kfd_svm.c.
//
// Simplified: model/FIDELITY.md K-SVM.
func (p *Process) SVMSetAttr(t *sim.Task, start, size uint64) errno.Errno {
	if (start|size)&(mm.PageSize-1) != 0 || start == 0 || size == 0 || p.Info == nil {
		return errno.EINVAL
	}
	p.Info.lock.Lock(t)
	p.MM.WriteLock(t)
	err := p.svmRangeIsValid(start, size)
	if err == 0 {
		p.svmLock.Lock(t)
		p.svms.pages.Set(start>>mm.PageShift, (start+size)>>mm.PageShift, 0, 0)
		p.svmLock.Unlock(t)
	}
	p.MM.WriteUnlock(t)
	p.Info.lock.Unlock(t)
	return err
}

// svmRangeIsValid says whether [start,start+size) (bytes) may become SVM.
//
// Preconditions: ProcessInfo.lock and, for writing, mmap_lock are held.
//
// Kernel: svm_range_is_valid, kfd_svm.c.
func (p *Process) svmRangeIsValid(start, size uint64) errno.Errno {
	if start+size < start {
		return errno.EOVERFLOW
	}
	lo, hi := start>>mm.PageShift, (start+size)>>mm.PageShift
	for at := lo; at < hi; {
		v := p.MM.FindVMA(at)
		if v == nil || v.Start > at {
			return errno.EFAULT
		}
		at = v.End
	}
	for _, pd := range p.devs {
		for _, m := range pd.Placed(lo, hi) {
			if m.MappedOn(pd) {
				return errno.EADDRINUSE
			}
		}
	}
	return 0
}

// svmConflict flushes what SVM has deferred and says EADDRINUSE when the GPU
// range or a user range belongs to SVM. From its return on a new SVM range may
// appear: the driver has that gap, too.
//
// Kernel: svm_range_list_lock_and_flush_work and interval_tree_iter_first,
// kfd_chardev.c.
func (p *Process) svmConflict(t *sim.Task, va, size uint64, user []AddrRange) errno.Errno {
	p.MM.WriteLock(t)
	p.svmLock.Lock(t)
	p.MM.WriteUnlock(t)
	hit := va != 0 && p.svms.overlaps(va, size)
	for _, r := range user {
		hit = hit || p.svms.overlaps(r.Start, r.Size)
	}
	p.svmLock.Unlock(t)
	if hit {
		return errno.EADDRINUSE
	}
	return 0
}

func (s *svmRanges) overlaps(start, size uint64) bool {
	if s.pages.Len() == 0 {
		return false
	}
	return !s.pages.Empty(start>>mm.PageShift, (start+size-1)>>mm.PageShift+1)
}
