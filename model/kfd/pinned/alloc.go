// SPDX-License-Identifier: MIT

package pinned

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Design pins the pages of every range.
type Design struct{}

// New returns the design.
func New() *Design { return &Design{} }

// Name is "pinned".
func (*Design) Name() string { return "pinned" }

// Batched is true.
func (*Design) Batched() bool { return true }

// PinsPages marks the design as one that needs no notifier.
func (*Design) PinsPages() {}

var _ kfd.Pinner = (*Design)(nil)

// InitUserPages pins every range. Unlike v1 it leaves nothing behind when one of
// them fails.
//
// Kernel: svm_range_pin_pages (the series, v1).
func (*Design) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	pins := make([][]phys.Run, 0, len(m.Ranges))
	for i := range m.Ranges {
		r := &m.Ranges[i]
		runs, err := m.P.MM.PinUserPages(t, r.Start, r.End)
		if err != 0 {
			unpin(m, pins)
			return err
		}
		pins = append(pins, runs)
	}
	for i, runs := range pins {
		m.Ranges[i].SetPinnedPages(runs)
	}
	m.Private = pins
	return 0
}

// ReleaseUserPages takes the pages from DMA and gives up the pins.
func (*Design) ReleaseUserPages(t *sim.Task, m *kfd.Mem) {
	m.P.Info.Lock(t)
	for i := range m.Ranges {
		m.DropRange(&m.Ranges[i])
	}
	unpin(m, m.Private.([][]phys.Run))
	m.P.Info.Unlock(t)
}

func unpin(m *kfd.Mem, pins [][]phys.Run) {
	for _, runs := range pins {
		m.P.Driver().MM.UnpinUserPages(runs)
	}
}

// UpdateUserPages is never called: nothing is ever evicted.
func (*Design) UpdateUserPages(*sim.Task, *kfd.Mem) errno.Errno {
	panic("BUG: pinned has no restore worker")
}

// ConfirmUserPagesLocked is never called.
func (*Design) ConfirmUserPagesLocked(*sim.Task, *kfd.Mem) bool {
	panic("BUG: pinned has no restore worker")
}
