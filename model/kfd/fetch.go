// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// FetchAll fetches every range when the BO is made. A collision (copy-on-write
// that the fetch itself broke, as a rule) does not keep the others from being
// fetched: the repeated call then finds all of them broken.
//
// Errors: as GetUserPages.
//
// Preconditions: every range is registered; ProcessInfo.lock is held.
//
// Kernel: init_user_pages, the part that gets pages.
func (m *Mem) FetchAll(t *sim.Task) errno.Errno {
	collided := false
	for i := range m.Ranges {
		r := &m.Ranges[i]
		switch err := r.GetUserPages(t); err {
		case 0:
			r.SetUserPages()
		case errno.EAGAIN:
			collided = true
		default:
			return err
		}
	}
	if collided {
		return errno.EAGAIN
	}
	return 0
}

// EndFetches lets go of the fetches of a new BO without looking at their verdicts:
// an invalidation meanwhile has counted itself and has scheduled the worker.
func (m *Mem) EndFetches(t *sim.Task) {
	m.P.Info.LockNotifier(t)
	for i := range m.Ranges {
		if r := &m.Ranges[i]; m.P.drv.has(D2) {
			r.HMM.Free(t) // and the pointer stays
		} else {
			r.DropFetch(t)
		}
	}
	m.P.Info.UnlockNotifier(t)
}

// ForgetFetches lets go of what was fetched and not confirmed, when a BO goes.
//
// Preconditions: no range is registered any more.
func (m *Mem) ForgetFetches(t *sim.Task) {
	m.P.Info.LockNotifier(t)
	for i := range m.Ranges {
		r := &m.Ranges[i]
		switch {
		case r.HMM != nil && r.HMM.Freed():
			r.HMM = nil // D2: the posted code does not look at them here
		case !m.P.drv.has(D8):
			r.DropFetch(t)
		}
	}
	m.P.Info.UnlockNotifier(t)
}

// InvalidRange is a range that a pass has to fetch, and its counter when the pass
// looked.
type InvalidRange struct {
	*UserRange
	Snapshot uint32
}

// InvalidRanges returns the ranges that are invalid now, in the order of the
// array, their fetches forgotten, and the BO's counter.
//
// Preconditions: ProcessInfo.lock is held.
func (m *Mem) InvalidRanges(t *sim.Task) ([]InvalidRange, uint32) {
	info := m.P.Info
	info.LockNotifier(t)
	var todo []InvalidRange
	for _, r := range m.PassLocked() {
		if r.Invalid != 0 {
			r.DropFetch(t)
			todo = append(todo, InvalidRange{r, r.Invalid})
		}
	}
	invalid := m.Invalid
	info.UnlockNotifier(t)
	return todo, invalid
}

// Answer notes that a fetch has answered the invalidations that were counted in
// the snapshot; false means that there have been more. present says whether it
// found pages.
func (x InvalidRange) Answer(t *sim.Task, present bool) bool {
	info := x.Mem.P.Info
	info.LockNotifier(t)
	ok := x.AnswerLocked(present)
	info.UnlockNotifier(t)
	return ok
}

// AnswerLocked is Answer under notifierLock.
func (x InvalidRange) AnswerLocked(present bool) bool {
	switch {
	case x.Invalid != x.Snapshot:
		return false
	case present:
		x.Invalid, x.Absent = 0, 0
	default:
		x.Absent = x.Invalid
	}
	return true
}

// Answer resets the BO's counter, if every range was answered and nothing was
// invalidated since the snapshot; false means that something was.
func (m *Mem) Answer(t *sim.Task, snapshot uint32, all bool) bool {
	info := m.P.Info
	info.LockNotifier(t)
	ok := m.Invalid == snapshot
	if ok && all {
		m.Invalid = 0
	}
	info.UnlockNotifier(t)
	return ok
}

// FetchInvalid fetches the invalid ranges of a BO, each by itself. Ranges whose
// memory is gone or read-only are left without pages, which counts as success.
//
// Errors: EAGAIN when an invalidation came between, ESRCH for a dying address
// space.
//
// Preconditions: ProcessInfo.lock is held; the queues are stopped.
//
// Kernel: update_invalid_user_pages, the part of batch allocations (the series).
func (m *Mem) FetchInvalid(t *sim.Task) errno.Errno {
	if d := m.P.drv.defects; d.Any(passDefects) {
		return m.fetchAsPosted(t, d)
	}
	todo, invalid := m.InvalidRanges(t)
	collided, absent := false, false
	for _, x := range todo {
		m.DropRange(x.UserRange)
		err := x.GetUserPages(t)
		switch err {
		case 0:
			x.SetUserPages()
		case errno.EFAULT, errno.EPERM:
			absent = true
		case errno.EAGAIN:
			collided = true
			continue
		default:
			return err
		}
		collided = !x.Answer(t, err == 0) || collided
	}
	if !m.Answer(t, invalid, !absent && !collided) || collided {
		return errno.EAGAIN
	}
	return 0
}

// ConfirmFetchedLocked checks every range that was invalidated since the last
// commit: what was fetched must have passed no invalidation, what was found
// absent must not have been touched again. Only when all agree are the fetches
// let go. A range that nothing has invalidated needs no check.
//
// Preconditions: ProcessInfo.lock and notifierLock are held.
//
// Kernel: confirm_valid_user_pages_locked, the part of batch allocations (the
// series).
func (m *Mem) ConfirmFetchedLocked(t *sim.Task) bool {
	m.P.Info.AssertNotifierLock(t)
	if d := m.P.drv.defects; d.Any(passDefects) {
		return m.confirmAsPosted(t, d)
	}
	for _, r := range m.touched {
		if r.Invalid != r.Absent || r.HMM != nil && r.CollidedLocked(t) {
			return false
		}
	}
	for _, r := range m.touched {
		r.DropFetch(t)
	}
	return true
}

// ConfirmSharedSeqLocked is ConfirmFetchedLocked where ranges share a seq: a range
// whose seq was beaten and which was not invalidated counts as invalid again, so
// that the next pass fetches it.
//
// Preconditions: as ConfirmFetchedLocked.
func (m *Mem) ConfirmSharedSeqLocked(t *sim.Task) bool {
	if m.ConfirmFetchedLocked(t) {
		return true
	}
	if !m.P.drv.defects.Any(passDefects) {
		m.invalidateBeatenLocked(t)
	}
	return false
}

// FetchSharedSeq is FetchInvalid where ranges share a seq: what an earlier pass has
// fetched and an invalidation elsewhere has beaten since is fetched again, too. Else
// the ranges of each pass would go stale in the delay before the next one, and under
// steady invalidations no commit would ever find all of them current.
//
// Errors and preconditions: as FetchInvalid.
func (m *Mem) FetchSharedSeq(t *sim.Task) errno.Errno {
	if !m.P.drv.defects.Any(passDefects) {
		m.P.Info.LockNotifier(t)
		m.invalidateBeatenLocked(t)
		m.P.Info.UnlockNotifier(t)
	}
	return m.FetchInvalid(t)
}

// invalidateBeatenLocked counts as invalid what was fetched and has a seq that was
// beaten.
//
// Preconditions: ProcessInfo.lock and notifierLock are held.
func (m *Mem) invalidateBeatenLocked(t *sim.Task) {
	for _, r := range m.touched {
		if r.HMM != nil && r.Invalid == 0 && r.CollidedLocked(t) {
			m.InvalidateAgainLocked(r)
		}
	}
}

// CollidedLocked says whether an invalidation has come since the fetch began.
//
// Preconditions: notifierLock is held; there is a fetch.
func (r *UserRange) CollidedLocked(t *sim.Task) bool {
	return r.HMM.Notifier.ReadRetry(t, r.HMM.NotifierSeq)
}
