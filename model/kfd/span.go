// SPDX-License-Identifier: MIT

package kfd

import (
	"fmt"

	"sort"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Span returns the CPU pages [lo,hi) from the lowest start to the highest end of
// the BO's ranges.
//
// Kernel: batch_va_min and batch_va_max (the series, v3).
func (m *Mem) Span() (lo, hi uint64) {
	lo, hi = m.Ranges[0].Start, m.Ranges[0].End
	for i := range m.Ranges[1:] {
		r := &m.Ranges[i+1]
		lo, hi = min(lo, r.Start), max(hi, r.End)
	}
	return lo, hi
}

// RegisterSpan inserts one notifier over all ranges of the BO and what is between
// them.
//
// Errors: those of mmu_interval_notifier_insert.
func (m *Mem) RegisterSpan(t *sim.Task, n *mm.IntervalNotifier, ops mm.IntervalNotifierOps) errno.Errno {
	lo, hi := m.Span()
	n.Owner = m
	if err := m.P.MM.IntervalNotifierInsert(t, n, lo, hi-lo, ops); err != 0 {
		return err
	}
	m.P.drv.Counts.Notifiers++
	return 0
}

// UnregisterSpan removes the notifier of RegisterSpan; it may sleep until open
// windows have ended.
func (m *Mem) UnregisterSpan(t *sim.Task, n *mm.IntervalNotifier) {
	mm.IntervalNotifierRemove(t, n)
}

// RangeTree finds the ranges of a BO by CPU address. It is built before the
// notifier of the BO is inserted and does not change while that is: callbacks walk
// it without a lock of its own.
//
// Kernel: user_ranges_itree, an interval tree (the series, v3).
type RangeTree struct {
	drv    *Driver
	ranges []*UserRange // by start
	top    []uint64     // the largest end up to and including each
	obj    sim.Object
	walks  int // callbacks that walk it now
}

// NewRangeTree builds the tree of a BO's ranges.
func NewRangeTree(t *sim.Task, m *Mem) *RangeTree {
	x := &RangeTree{drv: m.P.drv, ranges: make([]*UserRange, len(m.Ranges)), top: make([]uint64, len(m.Ranges))}
	for i := range m.Ranges {
		x.ranges[i] = &m.Ranges[i]
	}
	sort.SliceStable(x.ranges, func(i, j int) bool { return x.ranges[i].Start < x.ranges[j].Start })
	end := uint64(0)
	for i, r := range x.ranges {
		end = max(end, r.End)
		x.top[i] = end
	}
	x.obj.Init(t.Sim(), "tree of ranges")
	return x
}

// Overlaps calls f for every range that overlaps the CPU pages [lo,hi), by start.
//
// Kernel: interval_tree_iter_first and _next.
func (x *RangeTree) Overlaps(t *sim.Task, lo, hi uint64, f func(r *UserRange)) {
	x.walks++
	t.Touch(sim.Access{Object: &x.obj, Lo: 0, Hi: 1, Kind: sim.KindRead}) // also where nothing is found
	i := sort.Search(len(x.ranges), func(i int) bool { return x.top[i] > lo })
	for ; i < len(x.ranges) && x.ranges[i].Start < hi; i++ {
		r := x.ranges[i]
		if r.End <= lo {
			continue
		}
		if x.drv.has(D11) {
			t.Read(&x.obj, 0, 1)
		}
		f(r)
	}
	x.walks--
}

// Digest hashes what is left of the tree, and whether anybody walks it.
func (x *RangeTree) Digest() uint64 { return Mix(uint64(len(x.ranges)), uint64(x.walks)) }

// TakeApart removes every range, as the posted versions do before they remove the
// notifier (D11).
//
// Kernel: interval_tree_remove, without a lock (the series, v3 and v4).
func (x *RangeTree) TakeApart(t *sim.Task) {
	for len(x.ranges) > 0 {
		t.Write(&x.obj, 0, 1)
		if x.walks > 0 {
			t.Sim().Fail(sim.Failure{Verdict: "misuse", Property: "range-tree",
				Title:  "the tree of ranges changes while a callback walks it",
				Detail: fmt.Sprintf("%d ranges are left, %d callbacks walk", len(x.ranges), x.walks)})
			return
		}
		x.ranges, x.top = x.ranges[1:], x.top[1:]
	}
}
