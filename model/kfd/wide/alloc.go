// SPDX-License-Identifier: MIT

package wide

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// Design registers one notifier per BO.
type Design struct{ defects kfd.Defects }

// New returns the design, with defects if any are named.
func New(defects ...kfd.Defect) *Design { return &Design{kfd.DefectsOf(defects...)} }

// Name is "wide".
func (*Design) Name() string { return "wide" }

// Batched is true.
func (*Design) Batched() bool { return true }

// InitUserPages builds the tree, inserts the notifier, then fetches every range.
// Whether the pages are still right is ignored: an invalidation meanwhile has
// counted itself and has scheduled the worker.
//
// Kernel: init_user_pages_batch (the series, v4).
func (d *Design) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	bo := &buffer{tree: kfd.NewRangeTree(t, m)}
	m.Private = bo
	for i := range m.Ranges {
		m.Ranges[i].Watch = &bo.notifier
	}
	if err := m.RegisterSpan(t, &bo.notifier, (*boOps)(m)); err != 0 {
		return err
	}
	err := m.FetchAll(t)
	if err != 0 {
		m.UnregisterSpan(t, &bo.notifier)
		m.ForgetFetches(t)
		return err
	}
	m.EndFetches(t)
	return 0
}

// ReleaseUserPages removes the notifier, then lets go of fetches that were not
// confirmed.
//
// Kernel: amdgpu_amdkfd_gpuvm_free_memory_of_gpu (the series, v4).
func (d *Design) ReleaseUserPages(t *sim.Task, m *kfd.Mem) {
	bo := bufferOf(m)
	if d.defects.Has(kfd.D11) {
		bo.tree.TakeApart(t)
	}
	m.UnregisterSpan(t, &bo.notifier)
	m.ForgetFetches(t)
}
