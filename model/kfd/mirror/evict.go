// SPDX-License-Identifier: MIT

package mirror

import (
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// rangeOps is a range as its notifier sees it.
type rangeOps kfd.UserRange

// Invalidate is the invalidate callback: the GPU forgets the range before the
// callback returns.
func (o *rangeOps) Invalidate(t *sim.Task, n *mm.IntervalNotifier, w *mm.NotifierRange, curSeq uint64) bool {
	if !w.Blockable {
		return false
	}
	r := (*kfd.UserRange)(o)
	info := r.Mem.P.Info
	info.LockNotifier(t)
	n.SetSeq(t, curSeq)
	r.Invalid++
	r.Mem.UnmapRangeLocked(t, r)
	info.UnlockNotifier(t)
	return true
}
