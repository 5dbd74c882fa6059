// SPDX-License-Identifier: MIT

package wide

import (
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Known are the defects that the design can be made with. D10 is switched in
// evict.go, D11 in alloc.go; the rest lies in shared code (kfd/posted.go,
// kfd/fetch.go).
const Known = 1<<kfd.D10 | 1<<kfd.D11 | kfd.WatchedDefects

// Defects returns the defects that the design was made with.
func (d *Design) Defects() kfd.Defects { return d.defects }

// invalidateEarly is the callback of v3 (D10): it marks the ranges before it takes
// the lock, and without any to mark it returns before it sets the seq.
//
// Kernel: mark_invalid_ranges and amdgpu_hmm_invalidate_hsa_batch (the series, v3).
func invalidateEarly(t *sim.Task, m *kfd.Mem, tree *kfd.RangeTree, n *mm.IntervalNotifier, w *mm.NotifierRange, curSeq uint64) bool {
	hit := false
	tree.Overlaps(t, w.Start, w.End, func(r *kfd.UserRange) {
		m.WriteCounters(t)
		r.MarkInvalidLocked()
		hit = true
	})
	if !hit {
		return true
	}
	return kfd.InvalidateHSA(t, m, n, w, curSeq, func() bool { return true })
}
