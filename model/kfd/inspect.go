// SPDX-License-Identifier: MIT

package kfd

// What properties look at and nobody else needs.

// NotifierLocked says whether anybody holds notifierLock.
func (i *ProcessInfo) NotifierLocked() bool { return i.notifierLock.Locked() }

// OnInval says whether the BO waits for the worker instead of being valid.
func (m *Mem) OnInval() bool { return m.onInval }

// Handles returns the number of BO handles of the process.
func (p *Process) Handles() int {
	n := 0
	for _, pd := range p.devs {
		n += len(pd.handles)
	}
	return n
}
