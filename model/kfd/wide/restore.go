// SPDX-License-Identifier: MIT

package wide

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// UpdateUserPages fetches the invalid ranges of a BO, and those whose fetch was
// beaten since the last pass, each with the notifier's seq as it is then.
func (*Design) UpdateUserPages(t *sim.Task, m *kfd.Mem) errno.Errno { return m.FetchSharedSeq(t) }

// ConfirmUserPagesLocked checks every range that was fetched. One that was
// invalidated is; one whose seq was only beaten by an invalidation elsewhere is
// counted as invalid, too, so that the next pass fetches it: read_retry cannot
// tell the two apart.
//
// Kernel: confirm_valid_user_pages_locked, the part of batch allocations (the
// series, v4).
func (*Design) ConfirmUserPagesLocked(t *sim.Task, m *kfd.Mem) bool {
	return m.ConfirmSharedSeqLocked(t)
}
