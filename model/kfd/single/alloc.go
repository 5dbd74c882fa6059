// SPDX-License-Identifier: MIT

package single

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// Design is mainline's userptr.
type Design struct{ defects kfd.Defects }

// New returns the design, with defects if any are named.
func New(defects ...kfd.Defect) *Design { return &Design{kfd.DefectsOf(defects...)} }

// Name is "single".
func (*Design) Name() string { return "single" }

// Batched is false: a performer makes one call for each range.
func (*Design) Batched() bool { return false }

// InitUserPages inserts the notifier before the first fetch, fetches the pages
// and ignores whether they are still right: an invalidation meanwhile has
// counted itself and has scheduled the worker.
//
// Kernel: init_user_pages, amdgpu_amdkfd_gpuvm.c.
func (*Design) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	r := &m.Ranges[0]
	if err := r.Register(t, (*rangeOps)(r)); err != 0 {
		return err
	}
	if err := r.GetUserPages(t); err != 0 {
		r.Unregister(t)
		return err
	}
	r.SetUserPages()
	info := m.P.Info
	info.LockNotifier(t)
	r.Done(t)
	info.UnlockNotifier(t)
	return 0
}

// ReleaseUserPages removes the notifier, then lets go of a fetch that was not
// confirmed.
//
// Kernel: amdgpu_amdkfd_gpuvm_free_memory_of_gpu.
func (*Design) ReleaseUserPages(t *sim.Task, m *kfd.Mem) {
	r := &m.Ranges[0]
	r.Unregister(t)
	m.P.Info.LockNotifier(t)
	r.DropFetch(t)
	m.P.Info.UnlockNotifier(t)
}
