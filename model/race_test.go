// SPDX-License-Identifier: MIT

package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// unguarded is batch without the two guards of a commit: an invalidation that
// comes while the worker runs is not counted, and read_retry is not asked.
func unguarded(uncounted, unasked bool) *faulty {
	d := &faulty{Design: batch.New()}
	if uncounted {
		d.invalidate = func(_ *faulty, inner mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool {
			if !n.Owner.(*kfd.UserRange).Mem.P.Info.RestoreRunning() {
				return inner.Invalidate(t, n, r, seq)
			}
			onlySetSeq(t, n, seq)
			return true
		}
	}
	if unasked {
		d.confirm = func(_ *faulty, t *sim.Task, m *kfd.Mem) bool {
			for _, r := range m.TouchedLocked() {
				r.DropFetch(t)
			}
			return true
		}
	}
	return d
}

// TestACommitNeedsTheCountOfEvictions: the shipped race shows a worker that has
// neither guard, within a few seeds. The count alone is enough. read_retry alone is
// not: a range that was valid before and is hit while the worker runs is not
// fetched again, so nobody asks for it; what was fetched and hit is stuck.
func TestACommitNeedsTheCountOfEvictions(t *testing.T) {
	f, err := traces.Corpus().Open("restore-races-invalidation.trace")
	require.NoError(t, err)
	tr, err := traces.Parse("restore-races-invalidation.trace", f)
	require.NoError(t, err)
	for name, c := range map[string]struct{ uncounted, unasked, breaks bool }{
		"both":    {false, false, false},
		"count":   {false, true, false},
		"retry":   {true, false, true},
		"neither": {true, true, true},
	} {
		stale := 0
		for seed := uint64(0); seed < 60; seed++ {
			r := newRunner(tr, unguarded(c.uncounted, c.unasked), sim.NewSeeded(seed), Options{})
			r.run()
			switch w, _ := r.verdict(); {
			case w == "stale":
				stale++
			case c.uncounted && w == "stuck":
			default:
				require.Equal(t, "ok", w, "%s, seed %d", name, seed)
			}
			r.s.Close()
		}
		require.Equal(t, c.breaks, stale > 0, "%s: %d of 60 seeds stale", name, stale)
	}
}
