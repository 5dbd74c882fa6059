// SPDX-License-Identifier: MIT

package batch

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// Design registers one notifier per range.
type Design struct{}

// New returns the design.
func New() *Design { return &Design{} }

// Name is "batch".
func (*Design) Name() string { return "batch" }

// Batched is true.
func (*Design) Batched() bool { return true }

// InitUserPages inserts every notifier, then fetches every range. Whether the
// pages are still right is ignored: an invalidation meanwhile has counted itself
// and has scheduled the worker.
//
// Kernel: init_user_pages_batch (the series).
func (*Design) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	err := registerAll(t, m)
	if err == 0 {
		err = fetchAll(t, m)
	}
	if err != 0 {
		unregisterAll(t, m)
		return err
	}
	endFetches(t, m)
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

// fetchAll fetches every range. A collision (copy-on-write that the fetch itself
// broke, as a rule) does not keep the others from being fetched: the repeated
// call then finds all of them broken.
func fetchAll(t *sim.Task, m *kfd.Mem) errno.Errno {
	collided := false
	for i := range m.Ranges {
		r := &m.Ranges[i]
		switch err := r.GetUserPages(t); err {
		case 0:
			r.SetUserPages()
		case errno.EAGAIN:
			collided = true
		default:
			return err
		}
	}
	if collided {
		return errno.EAGAIN
	}
	return 0
}

// endFetches lets go of the fetches without looking at their verdicts.
func endFetches(t *sim.Task, m *kfd.Mem) {
	info := m.P.Info
	info.LockNotifier(t)
	for i := range m.Ranges {
		m.Ranges[i].DropFetch(t)
	}
	info.UnlockNotifier(t)
}

func unregisterAll(t *sim.Task, m *kfd.Mem) {
	for i := range m.Ranges {
		m.Ranges[i].Unregister(t)
	}
	endFetches(t, m)
}

// ReleaseUserPages removes every notifier, then lets go of fetches that were not
// confirmed.
//
// Kernel: cleanup_userptr_ranges (the series).
func (*Design) ReleaseUserPages(t *sim.Task, m *kfd.Mem) { unregisterAll(t, m) }
