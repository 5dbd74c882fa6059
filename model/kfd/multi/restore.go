// SPDX-License-Identifier: MIT

package multi

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// UpdateUserPages fetches the invalid ranges of a BO in one call. Ranges whose
// memory is gone or read-only are left without pages, which counts as success.
func (*Design) UpdateUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	fetchAgain(t, m)
	todo, invalid := m.InvalidRanges(t)
	ranges, present := make([]*kfd.UserRange, len(todo)), make([]bool, len(todo))
	for i, x := range todo {
		m.DropRange(x.UserRange)
		ranges[i] = x.UserRange
	}
	all := true
	err := m.GetRanges(t, seqOf(m), ranges, func(i int, e errno.Errno) {
		present[i] = e == 0
		all = all && present[i]
	})
	if err != 0 {
		return err
	}
	for i, x := range todo {
		if present[i] {
			x.SetUserPages()
		}
		if !x.Answer(t, present[i]) {
			return errno.EAGAIN
		}
	}
	if !m.Answer(t, invalid, all) {
		return errno.EAGAIN
	}
	return 0
}

// fetchAgain counts as invalid what an earlier pass has fetched and no commit has
// confirmed: what is committed together has one seq.
func fetchAgain(t *sim.Task, m *kfd.Mem) {
	m.P.Info.LockNotifier(t)
	for _, r := range m.TouchedLocked() {
		if r.HMM != nil && r.Invalid == 0 {
			m.InvalidateAgainLocked(r)
		}
	}
	m.P.Info.UnlockNotifier(t)
}

// ConfirmUserPagesLocked checks the seq of the BO, for every range that was
// fetched.
func (*Design) ConfirmUserPagesLocked(t *sim.Task, m *kfd.Mem) bool { return m.ConfirmFetchedLocked(t) }
