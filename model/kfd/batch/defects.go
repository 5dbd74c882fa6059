// SPDX-License-Identifier: MIT

package batch

import (
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// Known are the defects that the design can be made with. D7 is switched in
// alloc.go and D6 here; the rest lies in shared code (kfd/posted.go, kfd/fetch.go).
const Known = 1<<kfd.D1 | 1<<kfd.D7 | kfd.WatchedDefects&^(1<<kfd.D5|1<<kfd.D12)

// Defects returns the defects that the design was made with.
func (d *Design) Defects() kfd.Defects { return d.defects }

// discardAll lets go of every fetch of the BO when a pass begins, as v2 does: of
// the ranges that look valid, too. It belongs to D6, whose ranges do.
func discardAll(t *sim.Task, m *kfd.Mem) {
	m.P.Info.LockNotifier(t)
	if m.Invalid != 0 {
		for _, r := range m.TouchedLocked() {
			r.DropFetch(t)
		}
	}
	m.P.Info.UnlockNotifier(t)
}
