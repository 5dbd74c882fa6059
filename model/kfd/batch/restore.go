// SPDX-License-Identifier: MIT

package batch

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// invalidRange is a range to fetch and its counter when the pass looked.
type invalidRange struct {
	r        *kfd.UserRange
	snapshot uint32
}

// UpdateUserPages fetches the invalid ranges of a BO. Ranges whose memory is
// gone or read-only are left without pages, which counts as success.
//
// Kernel: update_invalid_user_pages, the part of batch allocations (the series).
func (*Design) UpdateUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	todo, invalid := snapshot(t, m)
	collided, absent := false, false
	for _, x := range todo {
		m.DropRange(x.r)
		err := x.r.GetUserPages(t)
		switch err {
		case 0:
			x.r.SetUserPages()
		case errno.EFAULT, errno.EPERM:
			absent = true
		case errno.EAGAIN:
			collided = true
			continue
		default:
			return err
		}
		collided = !answer(t, x, err == 0) || collided
	}
	info := m.P.Info
	info.LockNotifier(t)
	switch {
	case m.Invalid != invalid:
		collided = true
	case !absent && !collided:
		m.Invalid = 0
	}
	info.UnlockNotifier(t)
	if collided {
		return errno.EAGAIN
	}
	return 0
}

// snapshot returns the ranges that are invalid now, their fetches forgotten, and
// the BO's counter.
func snapshot(t *sim.Task, m *kfd.Mem) ([]invalidRange, uint32) {
	info := m.P.Info
	info.LockNotifier(t)
	var todo []invalidRange
	for _, r := range m.PassLocked() {
		if r.Invalid != 0 {
			r.DropFetch(t)
			todo = append(todo, invalidRange{r, r.Invalid})
		}
	}
	invalid := m.Invalid
	info.UnlockNotifier(t)
	return todo, invalid
}

// answer notes that a fetch has answered the invalidations counted in the
// snapshot; false means that there have been more.
func answer(t *sim.Task, x invalidRange, present bool) bool {
	info := x.r.Mem.P.Info
	info.LockNotifier(t)
	ok := x.r.Invalid == x.snapshot
	switch {
	case !ok:
	case present:
		x.r.Invalid, x.r.Absent = 0, 0
	default:
		x.r.Absent = x.r.Invalid
	}
	info.UnlockNotifier(t)
	return ok
}

// ConfirmUserPagesLocked checks every range that was invalidated since the last
// commit: what was fetched must have passed no invalidation, what was found
// absent must not have been touched again. Only when all agree are the fetches
// let go. A range that nothing has invalidated needs no check.
//
// Kernel: confirm_valid_user_pages_locked, the part of batch allocations (the
// series).
func (*Design) ConfirmUserPagesLocked(t *sim.Task, m *kfd.Mem) bool {
	m.P.Info.AssertNotifierLock(t)
	for _, r := range m.TouchedLocked() {
		if r.Invalid != r.Absent {
			return false
		}
		if r.HMM != nil && r.Notifier.ReadRetry(t, r.HMM.NotifierSeq) {
			return false
		}
	}
	for _, r := range m.TouchedLocked() {
		r.DropFetch(t)
	}
	return true
}
