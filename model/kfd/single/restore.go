// SPDX-License-Identifier: MIT

package single

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// UpdateUserPages fetches the pages of an invalid BO anew. Memory that is gone
// or read-only leaves the BO without pages, which counts as success: the goal is
// a VM fault where the GPU touches it, not a process that hangs.
//
// Kernel: update_invalid_user_pages.
func (d *Design) UpdateUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	if d.defects != 0 {
		return m.FetchInvalid(t)
	}
	r, info := &m.Ranges[0], m.P.Info
	info.LockNotifier(t)
	invalid := m.Invalid
	m.PassLocked()
	if invalid != 0 {
		r.DropFetch(t)
	}
	info.UnlockNotifier(t)
	if invalid == 0 {
		return 0 // fetched by a pass that did not commit: its pages are still to be written
	}
	m.DropRange(r)
	err := r.GetUserPages(t)
	switch err {
	case 0:
		r.SetUserPages()
	case errno.EFAULT, errno.EPERM:
	default:
		return err
	}
	info.LockNotifier(t)
	collided := m.Invalid != invalid
	switch {
	case collided:
	case err == 0:
		m.Invalid, r.Invalid, r.Absent = 0, 0, 0
	default:
		r.Absent = r.Invalid
	}
	info.UnlockNotifier(t)
	if collided {
		return errno.EAGAIN
	}
	return 0
}

// ConfirmUserPagesLocked checks the seq of the fetch. A BO without a fetch has
// lost its memory: it stays invalid, and that is no error.
//
// Kernel: confirm_valid_user_pages_locked.
func (d *Design) ConfirmUserPagesLocked(t *sim.Task, m *kfd.Mem) bool {
	if d.defects != 0 {
		return m.ConfirmFetchedLocked(t)
	}
	r := &m.Ranges[0]
	m.P.Info.AssertNotifierLock(t)
	if r.HMM == nil {
		return true
	}
	return r.Done(t) && m.Invalid == 0
}
