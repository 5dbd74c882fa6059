// SPDX-License-Identifier: MIT

package single

import (
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// rangeOps is a range as its notifier sees it.
type rangeOps kfd.UserRange

// Invalidate is the invalidate callback: the range is invalid, the queues stop.
//
// Kernel: amdgpu_hmm_invalidate_hsa, amdgpu_hmm.c.
func (o *rangeOps) Invalidate(t *sim.Task, n *mm.IntervalNotifier, w *mm.NotifierRange, curSeq uint64) bool {
	r := (*kfd.UserRange)(o)
	return kfd.InvalidateHSA(t, r.Mem, n, w, curSeq, func() bool {
		r.MarkInvalidLocked()
		return true
	})
}
