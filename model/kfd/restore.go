// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnWorker   = sim.NewFunc("amdgpu_amdkfd_restore_userptr_worker", "mm", "evicted_bos")
	fnUpdate   = sim.NewFunc("update_invalid_user_pages", "mm", "errno")
	fnValidate = sim.NewFunc("validate_invalid_user_pages", "mm")
	fnConfirm  = sim.NewFunc("confirm_valid_user_pages_locked", "mm", "ok")
	fnResched  = sim.NewFunc("restore_userptr_rescheduled", "mm")
)

// restoreUserptrWorker fetches what was invalidated, writes it to the GPU page
// tables and lets the queues run; a collision makes it run again in 1 ms.
//
// Kernel: amdgpu_amdkfd_restore_userptr_worker, amdgpu_amdkfd_gpuvm.c.
func (i *ProcessInfo) restoreUserptrWorker(t *sim.Task) {
	d := i.P.drv
	i.notifierLock.Lock(t)
	evicted := i.evictedBOs
	i.notifierLock.Unlock(t)
	t.Log(fnWorker, uint64(i.P.MM.ID()), evicted, 0)
	if evicted == 0 {
		return
	}
	if !i.P.MM.GetNotZero(t) {
		return
	}
	d.Counts.RestorePasses++
	i.lock.Lock(t)
	committed := i.updateInvalidUserPages(t) == 0
	if committed && len(i.inval) > 0 {
		i.validateInvalidUserPages(t)
	}
	if committed {
		committed = i.commit(t, evicted)
	}
	i.lock.Unlock(t)
	if committed {
		d.Counts.Restores++
	} else {
		i.restore.Queue(t, RestoreDelay)
		d.smiRescheduled(t, i.P)
	}
	d.stateChanged(i.P)
	i.P.MM.Put(t)
}

// updateInvalidUserPages moves the invalid BOs to the inval list and has the
// design fetch their pages. EAGAIN ends the pass.
//
// Preconditions: ProcessInfo.lock is held.
//
// Kernel: update_invalid_user_pages.
func (i *ProcessInfo) updateInvalidUserPages(t *sim.Task) errno.Errno {
	i.notifierLock.Lock(t)
	i.collectLocked()
	i.notifierLock.Unlock(t)
	err := errno.Errno(0)
	for _, m := range i.inval {
		if err = i.P.drv.Design.UpdateUserPages(t, m); err != 0 {
			break
		}
	}
	t.Log(fnUpdate, uint64(i.P.MM.ID()), uint64(err), 0)
	return err
}

// validateInvalidUserPages writes the page tables of every BO on the inval list,
// as far as the pass has looked at it: ranges with pages are mapped, ranges
// without are cleared.
//
// Preconditions: ProcessInfo.lock is held; the queues are stopped.
//
// Kernel: validate_invalid_user_pages.
//
// Simplified: model/FIDELITY.md K-RESV.
func (i *ProcessInfo) validateInvalidUserPages(t *sim.Task) {
	for _, m := range i.inval {
		m.MappedTo(func(pd *ProcessDevice) {
			for _, r := range m.pass {
				if r.dma {
					m.writePTEs(t, pd, r)
				} else {
					m.clearPTEs(t, pd, r)
				}
			}
		})
	}
	t.Log(fnValidate, uint64(i.P.MM.ID()), 0, 0)
}

// commit lets the queues run if nothing was invalidated since the pass began:
// every BO is confirmed in the same section that resumes them.
//
// Preconditions: ProcessInfo.lock is held.
//
// Kernel: the end of amdgpu_amdkfd_restore_userptr_worker.
func (i *ProcessInfo) commit(t *sim.Task, evicted uint64) bool {
	i.notifierLock.Lock(t)
	i.markConfirm(t)
	if i.evictedBOs != evicted {
		t.Mark(MarkEvictedAgain)
	}
	ok := i.nothingSinceLocked(evicted) && i.confirmValidUserPagesLocked(t)
	if ok {
		i.evictedBOs = 0
		if w := i.P.drv.watch; w != nil {
			w.Committed(t, i.P)
		}
		i.P.drv.resumeMM(t, i.P.MM, TriggerUserptr)
	} else {
		i.P.drv.Counts.Collisions++
	}
	i.notifierLock.Unlock(t)
	return ok
}

// nothingSinceLocked says whether nothing was invalidated since the pass began.
//
// Preconditions: notifierLock is held.
func (i *ProcessInfo) nothingSinceLocked(evicted uint64) bool {
	if i.P.drv.has(SeqAlone) {
		return len(i.touched) == 0 // no BO that the pass does not know
	}
	return i.evictedBOs == evicted
}

// confirmValidUserPagesLocked moves every BO whose pages are valid back to the
// valid list. BOs whose memory is gone stay on the inval list: that is no error,
// the GPU faults when it touches them.
//
// Preconditions: ProcessInfo.lock and notifierLock are held.
//
// Kernel: confirm_valid_user_pages_locked.
func (i *ProcessInfo) confirmValidUserPagesLocked(t *sim.Task) bool {
	ok := true
	keep := i.inval[:0]
	for k, m := range i.inval {
		if ok = i.P.drv.Design.ConfirmUserPagesLocked(t, m); !ok {
			keep = append(keep, i.inval[k:]...)
			break
		}
		m.settleLocked()
		if m.Invalid != 0 {
			keep = append(keep, m)
			continue
		}
		m.onInval = false
	}
	clear(i.inval[len(keep):])
	i.inval = keep
	b := uint64(0)
	if ok {
		b = 1
	}
	t.Log(fnConfirm, uint64(i.P.MM.ID()), b, 0)
	return ok
}
