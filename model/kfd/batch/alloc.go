// SPDX-License-Identifier: MIT

package batch

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// Design registers one notifier per range.
type Design struct{ defects kfd.Defects }

// New returns the design, with defects if any are named.
func New(defects ...kfd.Defect) *Design { return &Design{kfd.DefectsOf(defects...)} }

// Name is "batch".
func (*Design) Name() string { return "batch" }

// Batched is true.
func (*Design) Batched() bool { return true }

// InitUserPages inserts every notifier, then fetches every range. Whether the
// pages are still right is ignored: an invalidation meanwhile has counted itself
// and has scheduled the worker.
//
// Kernel: init_user_pages_batch (the series).
func (d *Design) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	err := registerAll(t, m)
	if err == 0 {
		err = m.FetchAll(t)
	}
	if err != 0 {
		if !d.defects.Has(kfd.D7) {
			m.UnregisterRanges(t)
		}
		m.ForgetFetches(t)
		return err
	}
	m.EndFetches(t)
	return 0
}

func registerAll(t *sim.Task, m *kfd.Mem) errno.Errno {
	for i := range m.Ranges {
		r := &m.Ranges[i]
		if err := r.Register(t, (*rangeOps)(r)); err != 0 {
			return err
		}
	}
	return 0
}

// ReleaseUserPages removes every notifier, then lets go of fetches that were not
// confirmed.
//
// Kernel: cleanup_userptr_ranges (the series).
func (*Design) ReleaseUserPages(t *sim.Task, m *kfd.Mem) {
	m.UnregisterRanges(t)
	m.ForgetFetches(t)
}
