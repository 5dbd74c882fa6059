// SPDX-License-Identifier: MIT

// Package designing is the design that docs/designing.md works out: user memory in
// many ranges, fetched by one hmm_range_fault over an array of ranges, under one
// seq. It uses nothing that a project of its own could not use: copy the file.
//
// It is not one of the designs of the table (kfdsim list designs); multi is the same
// idea there.
package designing

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Array registers a notifier for each range and keeps one seq for all of them.
type Array struct {
	// SeqInLoop is the mistake of the first version: the seq is read again for each
	// range, and the last one stands for all.
	SeqInLoop bool
}

// Name is what reports call the design.
func (*Array) Name() string { return "array" }

// Batched is true: one call registers all ranges.
func (*Array) Batched() bool { return true }

// buffer is what the design keeps for a BO, in Mem.Private. seq is a notifier that is
// in no tree: the callbacks of all ranges hand it the seq of their windows. It is
// protected by notifierLock.
type buffer struct{ seq mm.IntervalNotifier }

// Digest tells the explorer when two states are the same: all that the design keeps
// and that decides what happens next.
func (b *buffer) Digest() uint64 {
	if b.seq.Invalidating() {
		return 1
	}
	return 0
}

func seqOf(m *kfd.Mem) *mm.IntervalNotifier { return &m.Private.(*buffer).seq }

// rangeOps is a range as its notifier sees it.
type rangeOps kfd.UserRange

// Invalidate is the callback: under notifierLock the BO gets the seq, the range counts
// as invalid, and the queues stop.
func (o *rangeOps) Invalidate(t *sim.Task, n *mm.IntervalNotifier, w *mm.NotifierRange, curSeq uint64) bool {
	r := (*kfd.UserRange)(o)
	return kfd.InvalidateHSA(t, r.Mem, n, w, curSeq, func() bool {
		seqOf(r.Mem).SetSeq(t, curSeq)
		r.MarkInvalidLocked()
		return true
	})
}

// InitUserPages inserts the notifiers, then fetches all ranges. An invalidation
// meanwhile has counted itself and scheduled the worker.
func (d *Array) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	lo, hi := m.Span()
	m.Private = &buffer{}
	seqOf(m).InitView(t.Sim(), m.P.MM, lo, hi, m)
	err := register(t, m)
	if err == 0 {
		err = d.fetchNew(t, m)
	}
	if err != 0 {
		m.UnregisterRanges(t)
		m.ForgetFetches(t)
		return err
	}
	m.EndFetches(t)
	return 0
}

func register(t *sim.Task, m *kfd.Mem) errno.Errno {
	for i := range m.Ranges {
		r := &m.Ranges[i]
		r.Watch = seqOf(m)
		if err := r.Register(t, (*rangeOps)(r)); err != 0 {
			return err
		}
		m.P.Info.LockNotifier(t)
		seqOf(m).FollowFrom(t, &r.Notifier)
		m.P.Info.UnlockNotifier(t)
	}
	return 0
}

// fetchNew fetches every range of a new BO: all must be there.
func (d *Array) fetchNew(t *sim.Task, m *kfd.Mem) errno.Errno {
	var all []*kfd.UserRange
	for i := range m.Ranges {
		all = append(all, &m.Ranges[i])
	}
	failed := errno.Errno(0)
	if err := d.fetch(t, m, all, func(_ int, err errno.Errno) { failed = err }); err != 0 {
		return err
	}
	if failed != 0 {
		return failed
	}
	for _, r := range all {
		r.SetUserPages()
	}
	return 0
}

// ReleaseUserPages undoes InitUserPages.
func (*Array) ReleaseUserPages(t *sim.Task, m *kfd.Mem) {
	m.UnregisterRanges(t)
	m.ForgetFetches(t)
}

// fetch is hmm_range_fault on an array of ranges: one hold of mmap_lock, one seq. It
// tells absent which ranges are not there (EFAULT) or read-only (EPERM).
//
// Errors: ESRCH for a dying address space, EAGAIN when an invalidation came between,
// ENOMEM.
func (d *Array) fetch(t *sim.Task, m *kfd.Mem, ranges []*kfd.UserRange, absent func(i int, err errno.Errno)) errno.Errno {
	if !m.P.MM.GetNotZero(t) {
		return errno.ESRCH
	}
	m.P.MM.ReadLock(t)
	seq, err := seqOf(m).ReadBegin(t), errno.Errno(0)
	for i, r := range ranges {
		if d.SeqInLoop {
			seq = seqOf(m).ReadBegin(t)
		}
		h := &mm.HMMRange{Notifier: seqOf(m), NotifierSeq: seq, Start: r.Start, End: r.End, DefaultFlags: mm.HMMReqFault | mm.HMMReqWrite}
		e := r.Fault(t, h)
		if e == errno.EFAULT || e == errno.EPERM {
			absent(i, e)
		} else if e != 0 {
			err = e
			break
		}
	}
	for _, r := range ranges {
		if r.HMM != nil {
			r.HMM.NotifierSeq = seq // one for all
		}
	}
	m.P.MM.ReadUnlock(t)
	m.P.MM.Put(t)
	return err
}

// UpdateUserPages fetches the invalid ranges of a BO. A fetch that an earlier pass has
// made is kept as long as its seq is current.
func (d *Array) UpdateUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	info := m.P.Info
	info.LockNotifier(t)
	for _, r := range m.TouchedLocked() {
		if r.HMM != nil && r.Invalid == 0 && r.CollidedLocked(t) {
			m.InvalidateAgainLocked(r)
		}
	}
	info.UnlockNotifier(t)
	todo, _ := m.InvalidRanges(t)
	ranges := make([]*kfd.UserRange, len(todo))
	for i, x := range todo {
		m.DropRange(x.UserRange)
		ranges[i] = x.UserRange
	}
	gone := make([]bool, len(ranges))
	if err := d.fetch(t, m, ranges, func(i int, _ errno.Errno) { gone[i] = true }); err != 0 {
		return err
	}
	all := true
	info.LockNotifier(t)
	for i, r := range ranges {
		if gone[i] {
			r.Absent, all = r.Invalid, false // no pages: that is no failure
			continue
		}
		r.SetUserPages()
		r.Invalid, r.Absent = 0, 0 // whatever came meanwhile has moved the seq
	}
	if all {
		m.Invalid = 0
	}
	info.UnlockNotifier(t)
	return 0
}

// ConfirmUserPagesLocked is the check at the commit, in the section that lets the
// queues run: is the seq of every fetch still current?
func (*Array) ConfirmUserPagesLocked(t *sim.Task, m *kfd.Mem) bool { return m.ConfirmFetchedLocked(t) }
