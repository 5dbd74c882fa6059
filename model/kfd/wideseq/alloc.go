// SPDX-License-Identifier: MIT

package wideseq

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Design registers one notifier per BO and keeps a seq for each range.
type Design struct{ defects kfd.Defects }

// New returns the design, with defects if any are named.
func New(defects ...kfd.Defect) *Design { return &Design{kfd.DefectsOf(defects...)} }

// Name is "wideseq".
func (*Design) Name() string { return "wideseq" }

// Batched is true.
func (*Design) Batched() bool { return true }

// buffer is what the design keeps for a BO.
type buffer struct {
	notifier mm.IntervalNotifier // over all ranges
	tree     *kfd.RangeTree      // immutable while notifier is inserted
	m        *kfd.Mem
}

// Digest hashes which ranges are being invalidated.
func (b *buffer) Digest() uint64 {
	h := uint64(0)
	for i := range b.m.Ranges {
		if b.m.Ranges[i].Notifier.Invalidating() {
			h = kfd.Mix(h, uint64(i))
		}
	}
	return h
}

func bufferOf(m *kfd.Mem) *buffer { return m.Private.(*buffer) }

// InitUserPages makes the tree and the seqs of the ranges, inserts the notifier,
// then fetches every range.
func (*Design) InitUserPages(t *sim.Task, m *kfd.Mem) errno.Errno {
	bo := &buffer{tree: kfd.NewRangeTree(t, m), m: m}
	m.Private = bo
	for i := range m.Ranges {
		r := &m.Ranges[i]
		r.Notifier.InitView(t.Sim(), m.P.MM, r.Start, r.End, r)
	}
	if err := m.RegisterSpan(t, &bo.notifier, (*boOps)(m)); err != 0 {
		return err
	}
	followAll(t, m, &bo.notifier)
	if err := m.FetchAll(t); err != 0 {
		m.UnregisterSpan(t, &bo.notifier)
		m.ForgetFetches(t)
		return err
	}
	m.EndFetches(t)
	return 0
}

// followAll gives every range the seq that the notifier has now.
func followAll(t *sim.Task, m *kfd.Mem, n *mm.IntervalNotifier) {
	m.P.Info.LockNotifier(t)
	for i := range m.Ranges {
		m.Ranges[i].Notifier.FollowFrom(t, n)
	}
	m.P.Info.UnlockNotifier(t)
}

// ReleaseUserPages removes the notifier, then lets go of fetches that were not
// confirmed.
func (*Design) ReleaseUserPages(t *sim.Task, m *kfd.Mem) {
	m.UnregisterSpan(t, &bufferOf(m).notifier)
	m.ForgetFetches(t)
}
