// SPDX-License-Identifier: MIT

package wideseq

import (
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// boOps is a BO as its notifier sees it.
type boOps kfd.Mem

// Invalidate is the invalidate callback: the ranges that the window touches get
// the seq and are invalid, and the queues stop. Between the ranges only the
// notifier's own seq changes, which nobody reads.
func (o *boOps) Invalidate(t *sim.Task, n *mm.IntervalNotifier, w *mm.NotifierRange, curSeq uint64) bool {
	m := (*kfd.Mem)(o)
	return kfd.InvalidateHSA(t, m, n, w, curSeq, func() bool {
		m.LabelCounters(t)
		hit := false
		bufferOf(m).tree.Overlaps(t, w.Start, w.End, func(r *kfd.UserRange) {
			r.Notifier.SetSeq(t, curSeq)
			r.MarkInvalidLocked()
			hit = true
		})
		return hit
	})
}
