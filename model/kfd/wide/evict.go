// SPDX-License-Identifier: MIT

package wide

import (
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// buffer is what the design keeps for a BO.
//
// Kernel: the fields that the series (v4) adds to struct kgd_mem.
type buffer struct {
	// notifier watches from the lowest start to the highest end of the ranges.
	notifier mm.IntervalNotifier
	tree     *kfd.RangeTree // immutable while notifier is inserted
}

// Digest hashes what may change.
func (b *buffer) Digest() uint64 { return b.tree.Digest() }

func bufferOf(m *kfd.Mem) *buffer { return m.Private.(*buffer) }

// boOps is a BO as its notifier sees it.
type boOps kfd.Mem

// Invalidate is the invalidate callback: the ranges that the window touches are
// invalid and the queues stop; between the ranges nothing but the seq changes.
//
// Kernel: amdgpu_hmm_invalidate_hsa_batch (the series, v4).
func (o *boOps) Invalidate(t *sim.Task, n *mm.IntervalNotifier, w *mm.NotifierRange, curSeq uint64) bool {
	m := (*kfd.Mem)(o)
	tree := bufferOf(m).tree
	if kfd.HasDefect(m, kfd.D10) {
		return invalidateEarly(t, m, tree, n, w, curSeq)
	}
	return kfd.InvalidateHSA(t, m, n, w, curSeq, func() bool {
		m.LabelCounters(t)
		hit := false
		tree.Overlaps(t, w.Start, w.End, func(r *kfd.UserRange) {
			r.MarkInvalidLocked()
			hit = true
		})
		return hit
	})
}
