// SPDX-License-Identifier: MIT

package multi

import (
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// rangeOps is a range as its notifier sees it.
type rangeOps kfd.UserRange

// Invalidate is the invalidate callback: the BO as a whole gets the seq, this range
// is invalid and no other, the queues stop.
func (o *rangeOps) Invalidate(t *sim.Task, n *mm.IntervalNotifier, w *mm.NotifierRange, curSeq uint64) bool {
	r := (*kfd.UserRange)(o)
	return kfd.InvalidateHSA(t, r.Mem, n, w, curSeq, func() bool {
		seqOf(r.Mem).SetSeq(t, curSeq)
		r.MarkInvalidLocked()
		return true
	})
}
