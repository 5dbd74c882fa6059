// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// faulty is the batch design with one part replaced.
type faulty struct {
	*batch.Design
	invalidate func(d *faulty, inner mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool
	init       func(d *faulty, t *sim.Task, m *kfd.Mem) errno.Errno
	release    func(d *faulty, t *sim.Task, m *kfd.Mem)
	update     func(d *faulty, t *sim.Task, m *kfd.Mem) errno.Errno
	confirm    func(d *faulty, t *sim.Task, m *kfd.Mem) bool
	mems       []*kfd.Mem
	extra      mm.IntervalNotifier
}

func (d *faulty) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	if d.init != nil {
		return d.init(d, t, m)
	}
	err := d.Design.InitUserPages(t, m)
	d.adopt(m)
	return err
}

// adopt puts the replaced callback before the design's own.
func (d *faulty) adopt(m *kfd.Mem) {
	d.mems = append(d.mems, m)
	for k := range m.Ranges {
		n := &m.Ranges[k].Notifier
		n.Ops = faultyOps{d, n.Ops}
	}
}

func (d *faulty) ReleaseUserPages(t *sim.Task, m *kfd.Mem) {
	if d.release != nil {
		d.release(d, t, m)
		return
	}
	d.Design.ReleaseUserPages(t, m)
}

func (d *faulty) UpdateUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	if d.update != nil {
		return d.update(d, t, m)
	}
	return d.Design.UpdateUserPages(t, m)
}

func (d *faulty) ConfirmUserPagesLocked(t *sim.Task, m *kfd.Mem) bool {
	if d.confirm != nil {
		return d.confirm(d, t, m)
	}
	return d.Design.ConfirmUserPagesLocked(t, m)
}

type faultyOps struct {
	d     *faulty
	inner mm.IntervalNotifierOps
}

func (o faultyOps) Invalidate(t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool {
	if o.d.invalidate != nil {
		return o.d.invalidate(o.d, o.inner, t, n, r, seq)
	}
	return o.inner.Invalidate(t, n, r, seq)
}

// onlySetSeq is a callback that does nothing else.
func onlySetSeq(t *sim.Task, n *mm.IntervalNotifier, seq uint64) {
	info := n.Owner.(*kfd.UserRange).Mem.P.Info
	info.LockNotifier(t)
	n.SetSeq(t, seq)
	info.UnlockNotifier(t)
}

// answer is an update of the worker that is done with a BO, right or wrong.
func answer(t *sim.Task, m *kfd.Mem) {
	m.P.Info.LockNotifier(t)
	m.Invalid = 0
	for k := range m.Ranges {
		m.Ranges[k].Invalid = 0
	}
	m.P.Info.UnlockNotifier(t)
}

func alwaysConfirm(_ *faulty, t *sim.Task, m *kfd.Mem) bool {
	for k := range m.Ranges {
		m.Ranges[k].DropFetch(t)
	}
	return true
}

// registered maps memory and registers two ranges of it, with a page between.
func (m *checkedMachine) registered(t *sim.Task) {
	m.mmap(t, 0, 16)
	m.register(t, gpuBase, area(0, 2), area(4, 2))
}
