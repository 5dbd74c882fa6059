// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Register inserts the range's notifier.
//
// Errors: those of mmu_interval_notifier_insert.
//
// Kernel: amdgpu_hmm_register, amdgpu_hmm.c.
func (r *UserRange) Register(t *sim.Task, ops mm.IntervalNotifierOps) errno.Errno {
	r.Notifier.Owner = r
	if err := r.Mem.P.MM.IntervalNotifierInsert(t, &r.Notifier, r.Start, r.Len(), ops); err != 0 {
		return err
	}
	r.Registered = true
	r.Mem.P.drv.Counts.Notifiers++
	return 0
}

// Unregister removes the range's notifier; it may sleep until open windows have
// ended.
//
// Kernel: amdgpu_hmm_unregister.
func (r *UserRange) Unregister(t *sim.Task) {
	if r.Registered {
		mm.IntervalNotifierRemove(t, &r.Notifier)
		r.Registered = false
	}
}

// GetUserPages fetches the pages of a range into r.HMM.
//
// Errors: ESRCH when the address space is dying, EFAULT without a mapping, EPERM
// without write access, EAGAIN when an invalidation of the range came between.
//
// Preconditions: ProcessInfo.lock is held; r.HMM is nil.
//
// Kernel: amdgpu_ttm_tt_get_user_pages, amdgpu_ttm.c.
func (r *UserRange) GetUserPages(t *sim.Task) errno.Errno {
	m := r.Mem.P.MM
	if !m.GetNotZero(t) {
		return errno.ESRCH
	}
	m.ReadLock(t)
	err := errno.EFAULT
	if v := m.FindVMA(r.Start); v != nil && v.Start <= r.Start {
		err = r.hmmRangeGetPages(t)
	}
	m.ReadUnlock(t)
	m.Put(t)
	r.Mem.P.drv.Counts.Fetches++
	if w := r.Mem.P.drv.watch; w != nil && err != 0 {
		w.FetchFailed(r, err)
	}
	if err == errno.EAGAIN {
		r.Mem.P.drv.Counts.Collisions++
	}
	return err
}

// hmmRangeGetPages is the fetch itself: the seq is taken once, before the walk,
// and nothing is retried here.
//
// Kernel: amdgpu_hmm_range_get_pages, amdgpu_hmm.c.
func (r *UserRange) hmmRangeGetPages(t *sim.Task) errno.Errno {
	h := &mm.HMMRange{Notifier: &r.Notifier, Start: r.Start, End: r.End, DefaultFlags: mm.HMMReqFault | mm.HMMReqWrite}
	h.NotifierSeq = r.Notifier.ReadBegin(t)
	switch err := mm.HMMRangeFault(t, h); err {
	case 0:
		r.HMM = h
		if w := r.Mem.P.drv.watch; w != nil {
			w.Fetched(r)
		}
		return 0
	case errno.EBUSY:
		return errno.EAGAIN
	default:
		return err
	}
}

// SetUserPages puts the fetched frames into the BO's page array and maps them
// for DMA on every GPU that has the BO attached.
//
// Preconditions: ProcessInfo.lock is held; r.HMM is not nil; the range has no
// pages (DropRange).
//
// Kernel: amdgpu_ttm_tt_set_user_pages and ttm_bo_validate to GTT.
func (r *UserRange) SetUserPages() {
	m := r.Mem
	for _, h := range r.HMM.Runs {
		lo := h.Lo - r.Start + r.Prefix
		m.Pages.Set(lo, lo+h.Hi-h.Lo, uint64(h.PFN), h.Stride)
	}
	for i := range m.attachments {
		m.dma(m.attachments[i].pd, r, true)
	}
	r.dma = true
}

// DropRange gives up the pages of a range: the DMA mapping goes and the page
// array is empty there, so that nothing can map them again by mistake.
//
// Preconditions: the queues are stopped, or no GPU has the range mapped.
//
// Kernel: ttm_bo_validate to the CPU domain, and amdgpu_ttm_tt_set_user_pages
// without a range.
func (m *Mem) DropRange(r *UserRange) {
	if !r.dma {
		return
	}
	if w := m.P.drv.watch; w != nil {
		w.Dropping(r)
	}
	for i := range m.attachments {
		m.dma(m.attachments[i].pd, r, false)
	}
	m.Pages.Clear(r.Prefix, r.Prefix+r.Len())
	r.dma = false
}

// HasPages says whether the page array holds pages for the range.
func (r *UserRange) HasPages() bool { return r.dma }

// Done ends a fetch: it says whether the pages are still the right ones and lets
// go of the fetch in any case.
//
// Preconditions: notifierLock is held.
//
// Kernel: amdgpu_ttm_tt_get_user_pages_done.
func (r *UserRange) Done(t *sim.Task) bool {
	ok := !r.Notifier.ReadRetry(t, r.HMM.NotifierSeq)
	r.DropFetch(t)
	return ok
}

// DropFetch lets go of a fetch, if there is one.
//
// Preconditions: ProcessInfo.lock is held, or the range is registered no more.
func (r *UserRange) DropFetch(t *sim.Task) {
	if h := r.HMM; h != nil {
		r.HMM = nil
		h.Free(t)
	}
}
