// SPDX-License-Identifier: MIT

package multi

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Design registers one notifier per range and fetches all ranges with one seq.
type Design struct{ defects kfd.Defects }

// New returns the design, with defects if any are named.
func New(defects ...kfd.Defect) *Design { return &Design{kfd.DefectsOf(defects...)} }

// Name is "multi".
func (*Design) Name() string { return "multi" }

// Batched is true.
func (*Design) Batched() bool { return true }

// seqOf returns the seq of a BO: that of the last invalidation of any range. It is
// protected by notifierLock.
func seqOf(m *kfd.Mem) *mm.IntervalNotifier { return &m.Private.(*buffer).seq }

// buffer is what the design keeps for a BO.
type buffer struct{ seq mm.IntervalNotifier }

// Digest hashes whether any range is being invalidated.
func (b *buffer) Digest() uint64 {
	if b.seq.Invalidating() {
		return 1
	}
	return 0
}

// InitUserPages inserts every notifier, then fetches all ranges at once. Whether
// the pages are still right is ignored: an invalidation meanwhile has counted
// itself and has scheduled the worker.
func (*Design) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	lo, hi := m.Span()
	m.Private = &buffer{}
	seqOf(m).InitView(t.Sim(), m.P.MM, lo, hi, m)
	err := registerAll(t, m)
	if err == 0 {
		err = fetchNew(t, m)
	}
	if err != 0 {
		m.UnregisterRanges(t)
		m.ForgetFetches(t)
		return err
	}
	m.EndFetches(t)
	return 0
}

// registerAll inserts every notifier; the BO's seq begins as the newest of theirs.
func registerAll(t *sim.Task, m *kfd.Mem) errno.Errno {
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

// fetchNew fetches all ranges of a new BO: every one must be there.
func fetchNew(t *sim.Task, m *kfd.Mem) errno.Errno {
	var all []*kfd.UserRange
	for i := range m.Ranges {
		all = append(all, &m.Ranges[i])
	}
	err := errno.Errno(0)
	if e := m.GetRanges(t, seqOf(m), all, func(_ int, e errno.Errno) {
		if err == 0 {
			err = e
		}
	}); e != 0 {
		return e
	}
	if err != 0 {
		return err
	}
	for _, r := range all {
		r.SetUserPages()
	}
	return 0
}

// ReleaseUserPages removes every notifier, then lets go of fetches that were not
// confirmed.
func (*Design) ReleaseUserPages(t *sim.Task, m *kfd.Mem) {
	m.UnregisterRanges(t)
	m.ForgetFetches(t)
}
