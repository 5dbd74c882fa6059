// SPDX-License-Identifier: MIT

package mm

import "github.com/kfdsim/kfdsim/sim"

// InitView makes n a view of the pages [start,end): a notifier that is in no tree.
// No window calls it; the callback of a notifier that covers the pages hands it the
// seq (SetSeq) of the invalidations that concern them. Then a fetch of these pages
// can be checked against the view, and invalidations elsewhere do not beat it.
//
// Kernel: none; a struct mmu_interval_notifier with mm and seq filled in by the
// driver would do.
func (n *IntervalNotifier) InitView(s *sim.Sim, mm *MM, start, end uint64, owner any) {
	n.Start, n.End, n.MM, n.Owner = start, end, mm, owner
	n.obj.Init(s, "view of an interval notifier")
}

// Invalidating says whether a read that began now would wait: the last invalidation
// that the notifier knows of runs.
func (n *IntervalNotifier) Invalidating() bool {
	return n.MM != nil && n.MM.subs != nil && n.seq == n.MM.subs.seq
}

// FollowFrom gives a view the seq of the notifier that covers it, once that is
// inserted: from then on a read waits for the windows that the insertion met.
//
// Preconditions: the driver lock under which SetSeq is called is held.
func (n *IntervalNotifier) FollowFrom(t *sim.Task, of *IntervalNotifier) {
	t.Write(&n.obj, 0, 1)
	n.seq = max(n.seq, of.seq)
}
