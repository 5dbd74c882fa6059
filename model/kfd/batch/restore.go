// SPDX-License-Identifier: MIT

package batch

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// UpdateUserPages fetches the invalid ranges of a BO, each with a seq of its own.
func (d *Design) UpdateUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	if d.defects.Has(kfd.D6) {
		discardAll(t, m)
	}
	return m.FetchInvalid(t)
}

// ConfirmUserPagesLocked checks the seq of every range that was fetched.
func (*Design) ConfirmUserPagesLocked(t *sim.Task, m *kfd.Mem) bool { return m.ConfirmFetchedLocked(t) }
