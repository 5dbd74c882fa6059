// SPDX-License-Identifier: MIT

package wideseq

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// UpdateUserPages fetches the invalid ranges of a BO, each with the seq of the
// range.
func (*Design) UpdateUserPages(t *sim.Task, m *kfd.Mem) errno.Errno { return m.FetchInvalid(t) }

// ConfirmUserPagesLocked checks the seq of every range that was fetched.
func (*Design) ConfirmUserPagesLocked(t *sim.Task, m *kfd.Mem) bool { return m.ConfirmFetchedLocked(t) }
