// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"sort"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Window notes an opening or closing window.
func (c *checker) Window(m *mm.MM, r *mm.NotifierRange, open bool) {
	st := c.mmOf(m)
	if open {
		w := &window{}
		if k := len(st.spare); k > 0 {
			w, st.spare = st.spare[k-1], st.spare[:k-1]
		}
		w.r = r
		st.open = append(st.open, w)
		st.odd = st.odd || r.Hits() > 0
	} else if !st.closeWindow(r) {
		c.fail("nonblock", "a notifier window ends twice", windowDetail(st, r))
		return
	}
	c.judgeNotifiers(st)
}

// closeWindow forgets an open window; false means that it was not open.
func (st *mmState) closeWindow(r *mm.NotifierRange) bool {
	for i, w := range st.open {
		if w.r != r {
			continue
		}
		st.open = append(st.open[:i], st.open[i+1:]...)
		clear(w.answered)
		w.r, w.answered, w.refused = nil, w.answered[:0], false
		st.spare = append(st.spare, w)
		st.odd = st.odd && len(st.open) > 0
		return true
	}
	return false
}

// window returns an open window.
func (st *mmState) window(r *mm.NotifierRange) *window {
	for _, w := range st.open {
		if w.r == r {
			return w
		}
	}
	return nil
}

// judgeNotifiers judges the state of an mm's notifiers after each change.
//
// Preconditions: nobody is in the middle of a change.
func (c *checker) judgeNotifiers(st *mmState) {
	ns := st.mm.NotifierState()
	odd := ns.Seq&1 == 1
	switch {
	case odd != st.odd || ns.Active != len(st.open):
		c.fail("seq-parity", "the seq of an mm does not tell whether an invalidation runs", fmt.Sprintf(
			"mm %s: seq %d, %d windows active; %d are open, an invalidation runs: %v", st.mm.Name, ns.Seq, ns.Active, len(st.open), st.odd))
	case !odd && ns.Deferred != 0:
		c.fail("tree-frozen", "changes of the notifier tree are left deferred", fmt.Sprintf("mm %s: %d of them", st.mm.Name, ns.Deferred))
	case odd && st.frozen >= 0 && ns.Inserted != st.frozen:
		c.fail("tree-frozen", "the notifier tree changes during an invalidation",
			fmt.Sprintf("mm %s: %d notifiers, %d when it began", st.mm.Name, ns.Inserted, st.frozen))
	}
	if c.walking {
		return
	}
	switch {
	case !odd:
		st.frozen = -1
	case st.frozen < 0:
		st.frozen = ns.Inserted
	}
}

// Notifier notes that a notifier was inserted or removed.
func (c *checker) Notifier(n *mm.IntervalNotifier, inserted bool) {
	st := c.mmOf(n.MM)
	if inserted {
		st.live++
		st.odd = st.odd || len(st.open) > 0
	} else {
		st.live--
	}
	c.judgeNotifiers(st)
	ms, k := c.watched(n)
	switch {
	case ms == nil:
		return
	case k < 0 && inserted:
		ms.wide = n
	}
	flags := ms.flags(k)
	if *flags&rangeInserted != 0 == inserted {
		c.fail("notifier-once", "interval notifier inserted or removed twice", notifierDetail(n))
		return
	}
	*flags ^= rangeInserted
	if !inserted && ms.m.Mapped() {
		c.fail("range-watched", "the notifier of a mapped range is removed", notifierDetail(n))
	}
}

// Invalidating judges the beginning of a callback.
func (c *checker) Invalidating(n *mm.IntervalNotifier, r *mm.NotifierRange) {
	st := c.mmOf(n.MM)
	if w := st.window(r); w == nil || w.refused {
		c.fail("nonblock", "a callback follows one that has refused", windowDetail(st, r))
		return
	}
	if ms, k := c.watched(n); ms != nil && *ms.flags(k)&rangeInserted == 0 {
		c.fail("notifier-once", "a callback of a notifier that is not inserted", notifierDetail(n))
	}
}

// SeqSet judges a change of a notifier's seq.
func (c *checker) SeqSet(t *sim.Task, n *mm.IntervalNotifier) {
	if ms, _ := c.watched(n); ms != nil && !ms.m.P.Info.NotifierLockHeldBy(t) {
		c.fail("callback-sets-seq", "mmu_interval_set_seq without the driver lock", t.Name()+": "+notifierDetail(n))
	}
}

// Invalidated judges the end of a callback and notes what it has promised: that
// no queue reaches the range any more until the window has closed.
func (c *checker) Invalidated(n *mm.IntervalNotifier, r *mm.NotifierRange, curSeq uint64, ok bool) {
	st := c.mmOf(n.MM)
	w := st.window(r)
	switch {
	case w == nil:
		c.fail("nonblock", "a callback outside any window", windowDetail(st, r))
		return
	case !ok && r.Blockable:
		c.fail("nonblock", "a callback refuses a window that may block", windowDetail(st, r))
		return
	case !ok:
		w.refused = true
		return
	case n.Seq() != curSeq:
		c.fail("callback-sets-seq", "invalidate callback returns without mmu_interval_set_seq",
			fmt.Sprintf("%s: seq %d, the window's is %d", notifierDetail(n), n.Seq(), curSeq))
		return
	}
	w.answer(n)
	c.overlaps(n, r.Start, r.End, func(ms *memState, k int, lo, hi uint64) {
		ms.ranges[k].hit = curSeq
		c.touch(ms, k)
		c.dirtyRange(ms, k, lo, hi)
		c.lookAtProcess(ms.st)
	})
}

// answer notes that the callback of n has returned. Callbacks come in order of
// Start, so that is an append.
func (w *window) answer(n *mm.IntervalNotifier) {
	a := append(w.answered, n)
	for i := len(a) - 1; i > 0 && a[i-1].Start > n.Start; i-- {
		a[i], a[i-1] = a[i-1], n
	}
	w.answered = a
}

// answered returns an open window over CPU pages [lo,hi) in which the callback of
// n has returned, and the first page of the overlap.
func (st *mmState) answered(n *mm.IntervalNotifier, lo, hi uint64) (*window, uint64) {
	for _, w := range st.open {
		if w.r.Start >= hi || w.r.End <= lo {
			continue
		}
		a := w.answered
		i := sort.Search(len(a), func(i int) bool { return a[i].Start >= n.Start })
		for ; i < len(a) && a[i].Start == n.Start; i++ {
			if a[i] == n {
				return w, max(lo, w.r.Start)
			}
		}
	}
	return nil, 0
}

// Evicting judges that a window which counts an eviction overlaps a range of the
// process.
func (c *checker) Evicting(p *kfd.Process, r *mm.NotifierRange) {
	hit := false
	p.MM.Notifiers(r.Start, r.End, func(n *mm.IntervalNotifier) bool {
		c.overlaps(n, r.Start, r.End, func(*memState, int, uint64, uint64) { hit = true })
		return !hit
	})
	if !hit {
		c.fail("gap-quiet", "an invalidation between the registered ranges evicts the process", windowDetail(c.procOf(p), r))
	}
}

func windowDetail(st *mmState, r *mm.NotifierRange) string {
	return fmt.Sprintf("mm %s, %s window over %s, blockable: %v", st.mm.Name, r.Event, span(r.Start, r.End), r.Blockable)
}

func notifierDetail(n *mm.IntervalNotifier) string {
	return fmt.Sprintf("mm %s, notifier of %s", n.MM.Name, span(n.Start, n.End))
}
