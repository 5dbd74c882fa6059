// SPDX-License-Identifier: MIT

package mirror

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Design faults on access.
type Design struct{}

// New returns the design.
func New() *Design { return &Design{} }

// Name is "mirror".
func (*Design) Name() string { return "mirror" }

// Batched is true.
func (*Design) Batched() bool { return true }

// InitUserPages inserts the notifiers. It fetches nothing, but refuses what
// could never be fetched, as every other design does here.
func (*Design) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	err := m.P.MM.CheckAccess(t, m.Ranges[0].Start, m.Ranges[0].End)
	for i := 1; i < len(m.Ranges) && err == 0; i++ {
		err = m.P.MM.CheckAccess(t, m.Ranges[i].Start, m.Ranges[i].End)
	}
	for i := 0; i < len(m.Ranges) && err == 0; i++ {
		r := &m.Ranges[i]
		if err = r.Register(t, (*rangeOps)(r)); err == 0 {
			r.Invalid = 1 // never fetched
		}
	}
	if err != 0 {
		m.UnregisterRanges(t)
	}
	return err
}

// Map faults every range once. The pages are forgotten again: the first access
// looks for itself. A range that collides (copy-on-write that the fault itself
// broke) does not keep the others from being faulted.
func (*Design) Map(t *sim.Task, m *kfd.Mem) errno.Errno {
	collided := errno.Errno(0)
	for i := range m.Ranges {
		r := &m.Ranges[i]
		err := r.GetUserPages(t)
		r.DropFetch(t)
		switch err {
		case 0:
		case errno.EAGAIN:
			collided = err
		default:
			return err
		}
	}
	return collided
}

// ReleaseUserPages removes the notifiers.
func (*Design) ReleaseUserPages(t *sim.Task, m *kfd.Mem) { m.UnregisterRanges(t) }

// UpdateUserPages is never called: nothing is ever evicted.
func (*Design) UpdateUserPages(*sim.Task, *kfd.Mem) errno.Errno {
	panic("BUG: mirror has no restore worker")
}

// ConfirmUserPagesLocked is never called.
func (*Design) ConfirmUserPagesLocked(*sim.Task, *kfd.Mem) bool {
	panic("BUG: mirror has no restore worker")
}

var (
	_ kfd.Accessor           = (*Design)(nil)
	_ kfd.Mapper             = (*Design)(nil)
	_ mm.IntervalNotifierOps = (*rangeOps)(nil)
)
