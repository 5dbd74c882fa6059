// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// Event says why a range is invalidated.
//
// Kernel: enum mmu_notifier_event, include/linux/mmu_notifier.h.
type Event uint8

// Reasons of an invalidation.
const (
	EventUnmap Event = iota
	EventClear
	EventProtectionVMA
	EventProtectionPage
	EventSoftDirty
	EventRelease
	EventMigrate
	EventExclusive
)

var eventNames = [...]string{"UNMAP", "CLEAR", "PROTECTION_VMA", "PROTECTION_PAGE", "SOFT_DIRTY", "RELEASE", "MIGRATE", "EXCLUSIVE"}

// String returns the name without MMU_NOTIFY_.
func (e Event) String() string { return eventNames[e] }

// NotifierRange is one invalidation window: [Start,End) in pages, as the caller
// gave it, not clipped to any registration.
//
// Kernel: struct mmu_notifier_range, include/linux/mmu_notifier.h.
type NotifierRange struct {
	Event      Event
	Start, End uint64
	Blockable  bool

	open bool // between a successful start and its end
	hits []*IntervalNotifier
}

// IntervalNotifierOps is the driver's side of a notifier.
//
// Kernel: struct mmu_interval_notifier_ops.
type IntervalNotifierOps interface {
	// Invalidate must make the device forget [r.Start,r.End) before it returns
	// true, and must call SetSeq under the driver's lock. In a window that is
	// not Blockable it must not sleep and may return false.
	Invalidate(t *sim.Task, n *IntervalNotifier, r *NotifierRange, curSeq uint64) bool
}

// IntervalNotifier watches [Start,End) of an mm.
//
// Kernel: struct mmu_interval_notifier, include/linux/mmu_notifier.h.
type IntervalNotifier struct {
	Start, End uint64 // pages; immutable while inserted
	MM         *MM    // immutable while inserted
	Ops        IntervalNotifierOps
	// Owner is the driver's own: what the notifier watches for; immutable while
	// inserted.
	Owner any

	// seq is the mm's seq at the last overlapping invalidation. Written by the
	// callback under the driver's lock, read under it or the subscriptions' lock.
	seq uint64
	obj sim.Object
	// inTree and deferred are protected by subscriptions.lock.
	inTree, deferred bool
}

// subscriptions is the notifier state of an mm.
//
// Kernel: struct mmu_notifier_subscriptions, mm/mmu_notifier.c.
type subscriptions struct {
	lock sim.Spinlock
	// The fields below are protected by lock. While seq is odd the tree does not
	// change and may be walked without it.
	tree     intervalTree
	seq      uint64
	active   int
	deferred []*IntervalNotifier // additions and removals, applied newest first

	obj sim.Object // labels the above
	wq  sim.WaitQueue
	// pool and ranges are hit lists and windows that are closed, for reuse.
	pool   [][]*IntervalNotifier
	ranges []*NotifierRange
}

var (
	fnInvStart   = sim.NewFunc("mn_itree_inv_start_range", "start", "end", "seq")
	fnInvEnd     = sim.NewFunc("mn_itree_inv_end", "start", "end", "seq")
	fnInsert     = sim.NewFunc("mmu_interval_notifier_insert", "start", "end", "seq")
	fnRemove     = sim.NewFunc("mmu_interval_notifier_remove", "start", "end")
	fnReadBegin  = sim.NewFunc("mmu_interval_read_begin", "start", "end", "seq")
	fnSetSeq     = sim.NewFunc("mmu_interval_set_seq", "start", "end", "seq")
	fnReadRetry  = sim.NewFunc("mmu_interval_read_retry", "start", "seq", "retry")
	fnWouldBlock = sim.NewFunc("mn_itree_invalidate_would_block", "start", "end")
)

// openWindow opens a blockable window over [lo,hi) and calls every overlapping
// notifier; nil when the mm never had a notifier.
func (mm *MM) openWindow(t *sim.Task, e Event, lo, hi uint64) *NotifierRange {
	s := mm.subscribed(t)
	if s == nil {
		return nil
	}
	r := &NotifierRange{}
	if k := len(s.ranges); k > 0 {
		r = s.ranges[k-1]
		s.ranges = s.ranges[:k-1]
	}
	*r = NotifierRange{Event: e, Start: lo, End: hi, Blockable: true}
	mm.invalidateRangeStart(t, r)
	return r
}

// closeWindow ends a window of openWindow.
func (mm *MM) closeWindow(t *sim.Task, r *NotifierRange) {
	if r != nil {
		mm.invalidateRangeEnd(t, r)
		mm.subs.ranges = append(mm.subs.ranges, r)
	}
}

// windows labels an access to active, seq and the tree: openings commute with each
// other, and so do ends.
func (s *subscriptions) windows(k sim.Kind) sim.Access {
	return sim.Access{Object: &s.obj, Lo: 0, Hi: 1, Kind: k}
}

func (s *subscriptions) isInvalidating() bool { return s.seq&1 == 1 }

// invalidateRangeStart opens a window and calls every overlapping notifier. It
// returns EAGAIN when the window is not blockable and a callback would block;
// then the window is closed again and the caller must not end it.
//
// Kernel: mmu_notifier_invalidate_range_start, mm/mmu_notifier.c.
func (mm *MM) invalidateRangeStart(t *sim.Task, r *NotifierRange) errno.Errno {
	s := mm.subscribed(t)
	if s == nil {
		return 0
	}
	if r.Blockable {
		t.MightSleep("mmu_notifier_invalidate_range_start")
	}
	return mm.itreeInvalidate(t, s, r)
}

// itreeInvalidate is the interval-notifier part of a window's start.
//
// Kernel: mn_itree_invalidate.
func (mm *MM) itreeInvalidate(t *sim.Task, s *subscriptions, r *NotifierRange) errno.Errno {
	mm.sys.Counts.Windows++
	r.open = true
	s.lock.LockFor(t, s.windows(sim.KindUp))
	s.active++
	r.hits = s.hitList()
	r.hits = s.tree.appendOverlaps(r.hits, r.Start, r.End)
	if len(r.hits) > 0 {
		s.seq |= 1
	}
	cur := s.seq
	t.Log(fnInvStart, r.Start<<PageShift, r.End<<PageShift, cur)
	if w := mm.sys.watch; w != nil {
		w.Window(mm, r, true)
	}
	s.lock.Unlock(t)
	for _, n := range r.hits {
		mm.sys.Counts.Invalidations++
		if w := mm.sys.watch; w != nil {
			w.Invalidating(n, r)
		}
		if !r.Blockable {
			t.StartNonBlock()
		}
		ok := n.Ops.Invalidate(t, n, r, cur)
		if !r.Blockable {
			t.EndNonBlock()
		}
		if w := mm.sys.watch; w != nil {
			w.Invalidated(n, r, cur, ok)
		}
		if !ok && !r.Blockable {
			t.Mark(MarkNonblockRefused)
			t.Log(fnWouldBlock, r.Start<<PageShift, r.End<<PageShift, 0)
			mm.invEnd(t, s, r)
			return errno.EAGAIN
		}
	}
	return 0
}

func (s *subscriptions) hitList() []*IntervalNotifier {
	if k := len(s.pool); k > 0 {
		l := s.pool[k-1]
		s.pool = s.pool[:k-1]
		return l
	}
	return nil
}

// invalidateRangeEnd closes a window.
//
// Kernel: mmu_notifier_invalidate_range_end.
func (mm *MM) invalidateRangeEnd(t *sim.Task, r *NotifierRange) {
	// A window that began before the first notifier of the mm is not open.
	if r.open {
		mm.invEnd(t, mm.subs, r)
	}
}

// invEnd ends one window; the last of overlapping windows makes the seq even,
// applies what was deferred and wakes everybody who waits.
//
// Kernel: mn_itree_inv_end.
func (mm *MM) invEnd(t *sim.Task, s *subscriptions, r *NotifierRange) {
	s.lock.LockFor(t, s.windows(sim.KindDown))
	s.active--
	if s.active < 0 {
		panic("BUG: notifier window ended that was not open")
	}
	wake := false
	if s.active == 0 && s.isInvalidating() {
		s.seq++
		s.applyDeferred(mm)
		wake = true
	}
	t.Log(fnInvEnd, r.Start<<PageShift, r.End<<PageShift, s.seq)
	if w := mm.sys.watch; w != nil {
		w.Window(mm, r, false)
	}
	r.open = false
	clear(r.hits)
	s.pool = append(s.pool, r.hits[:0])
	r.hits = nil
	s.lock.Unlock(t)
	if wake {
		s.wq.WakeAll(t)
	}
}

func (s *subscriptions) applyDeferred(mm *MM) {
	for i := len(s.deferred) - 1; i >= 0; i-- {
		n := s.deferred[i]
		n.deferred = false
		if n.inTree {
			s.tree.remove(n)
			n.inTree = false
		} else {
			s.tree.insert(n)
			n.inTree = true
		}
	}
	clear(s.deferred)
	s.deferred = s.deferred[:0]
}

// IntervalNotifierInsert starts watching [start,start+length) (pages). After it
// returns every window that overlaps calls ops; a read_begin waits for windows
// that were open already.
//
// Errors: EOVERFLOW for length 0 or an end beyond the address space, EINVAL for
// an mm without users, ENOMEM. Takes mmap_lock for the first notifier of an mm.
//
// Kernel: mmu_interval_notifier_insert.
func (mm *MM) IntervalNotifierInsert(t *sim.Task, n *IntervalNotifier, start, length uint64, ops IntervalNotifierOps) errno.Errno {
	if length == 0 || start+length < start || start+length > EndOfSpace {
		return errno.EOVERFLOW
	}
	if mm.users <= 0 {
		return errno.EINVAL
	}
	if mm.subscribed(t) == nil {
		if t.MayFail() { // kzalloc of the subscriptions
			return errno.ENOMEM
		}
		mm.mmapLock.Lock(t)
		if mm.subs == nil {
			s := &subscriptions{seq: 2}
			s.lock.Init(mm.sys.Sim, classSubscriptions)
			s.wq.Init(mm.sys.Sim, "subscriptions->wq")
			s.obj.Init(mm.sys.Sim, "subscriptions")
			t.Touch(mm.part(subsPart, sim.KindWrite))
			mm.subs = s
		}
		mm.mmapLock.Unlock(t)
	}
	s := mm.subs
	n.Start, n.End, n.MM, n.Ops = start, start+length, mm, ops
	n.obj.Init(mm.sys.Sim, "interval notifier")
	mm.Grab()
	s.lock.LockFor(t, s.windows(sim.KindWrite))
	switch {
	case s.active == 0:
		s.tree.insert(n)
		n.inTree = true
		n.seq = s.seq - 1
	case s.isInvalidating():
		t.Mark(MarkInsertDeferred)
		s.postpone(n)
		n.seq = s.seq
	default:
		s.seq |= 1
		s.tree.insert(n)
		n.inTree = true
		n.seq = s.seq
	}
	t.Log(fnInsert, n.Start<<PageShift, n.End<<PageShift, n.seq)
	if w := mm.sys.watch; w != nil {
		w.Notifier(n, true)
	}
	s.lock.Unlock(t)
	return 0
}

// postpone leaves the addition or removal of n to the last window's end.
func (s *subscriptions) postpone(n *IntervalNotifier) {
	n.deferred = true
	s.deferred = append(s.deferred, n)
}

// IntervalNotifierRemove stops watching. After it returns no callback of n runs
// or will start. It may sleep until open windows have ended, so the caller holds
// no lock that a callback takes.
//
// Kernel: mmu_interval_notifier_remove.
func IntervalNotifierRemove(t *sim.Task, n *IntervalNotifier) {
	mm := n.MM
	s := mm.subs
	t.MightSleep("mmu_interval_notifier_remove")
	s.lock.LockFor(t, s.windows(sim.KindWrite))
	var seq uint64
	switch {
	case !s.isInvalidating():
		if !s.tree.remove(n) {
			s.lock.Unlock(t)
			t.Sim().Fail(sim.Failure{Verdict: "misuse", Property: "notifier-once",
				Title:  "interval notifier removed twice",
				Detail: fmt.Sprintf("the notifier of [%#x,%#x)", n.Start<<PageShift, n.End<<PageShift)})
			return
		}
		n.inTree = false
	case !n.inTree:
		s.undefer(n)
	default:
		t.Mark(MarkRemoveDeferred)
		s.postpone(n)
		seq = s.seq
	}
	t.Log(fnRemove, n.Start<<PageShift, n.End<<PageShift, 0)
	s.lock.Unlock(t)
	if seq != 0 {
		s.wq.WaitEvent(t, func() bool { return s.seq != seq })
	}
	if w := mm.sys.watch; w != nil {
		w.Notifier(n, false)
	}
	mm.Drop()
}

// undefer forgets an addition that has not taken place.
func (s *subscriptions) undefer(n *IntervalNotifier) {
	for i, d := range s.deferred {
		if d == n {
			s.deferred = append(s.deferred[:i], s.deferred[i+1:]...)
			n.deferred = false
			return
		}
	}
}

// ReadBegin starts a read of the watched range: it waits while an invalidation
// of the range runs and returns the seq to check with ReadRetry. The seq may be
// stale already.
//
// Kernel: mmu_interval_read_begin.
func (n *IntervalNotifier) ReadBegin(t *sim.Task) uint64 {
	s := n.MM.subs
	// Whether other windows are open does not matter: n waits for the end of the one
	// that has called it, and only that has given it the mm's present seq.
	s.lock.LockFor(t, sim.Access{Object: &n.obj, Lo: 0, Hi: 1, Kind: sim.KindRead})
	seq := n.seq
	busy := seq == s.seq
	s.lock.Unlock(t)
	if busy {
		t.Mark(MarkReadBeginWaited)
	}
	// Windows that end are not labelled here: the steps must be the same whether the
	// one waited for has ended or not.
	if busy || t.Preemptive() {
		s.wq.WaitEvent(t, func() bool { return s.seq != seq })
	}
	t.Log(fnReadBegin, n.Start<<PageShift, n.End<<PageShift, seq)
	return seq
}

// ReadRetry says whether the range was invalidated since ReadBegin returned seq.
//
// Preconditions: the driver lock under which SetSeq is called is held, up to the
// moment when the result of the read is published.
//
// Kernel: mmu_interval_read_retry.
func (n *IntervalNotifier) ReadRetry(t *sim.Task, seq uint64) bool {
	t.Read(&n.obj, 0, 1)
	retry := n.seq != seq
	b := uint64(0)
	if retry {
		b = 1
	}
	t.Log(fnReadRetry, n.Start<<PageShift, seq, b)
	return retry
}

// CheckRetry is ReadRetry without the lock: a hint that may be missed.
//
// Kernel: mmu_interval_check_retry.
func (n *IntervalNotifier) CheckRetry(t *sim.Task, seq uint64) bool {
	t.Read(&n.obj, 0, 1)
	return n.seq != seq
}

// SetSeq notes an invalidation. Every callback calls it, unconditionally, under
// the driver lock.
//
// Kernel: mmu_interval_set_seq.
func (n *IntervalNotifier) SetSeq(t *sim.Task, curSeq uint64) {
	t.Write(&n.obj, 0, 1)
	n.seq = curSeq
	t.Log(fnSetSeq, n.Start<<PageShift, n.End<<PageShift, curSeq)
	if w := n.MM.sys.watch; w != nil {
		w.SeqSet(t, n)
	}
}

// Seq returns the notifier's seq, for properties.
func (n *IntervalNotifier) Seq() uint64 { return n.seq }

// Inserted says whether a window that opens now would call n, or will once the
// open ones have ended.
func (n *IntervalNotifier) Inserted() bool { return n.inTree != n.deferred }

// NotifierState is the state of an mm's notifiers, for properties.
type NotifierState struct {
	Seq      uint64
	Active   int
	Inserted int
	Deferred int
}

// NotifierState returns the notifier state; the zero value when the mm never
// had a notifier.
func (mm *MM) NotifierState() NotifierState {
	s := mm.subs
	if s == nil {
		return NotifierState{}
	}
	return NotifierState{s.seq, s.active, s.tree.n, len(s.deferred)}
}

// Notifiers calls f for every notifier in the tree that overlaps [lo,hi).
func (mm *MM) Notifiers(lo, hi uint64, f func(*IntervalNotifier) bool) {
	if mm.subs != nil {
		mm.subs.tree.visit(lo, hi, f)
	}
}

// watched says whether a window over [lo,hi) could be seen: work on ranges that
// nobody watches may be batched.
func (mm *MM) watched(t *sim.Task, lo, hi uint64) bool {
	s := mm.subscribed(t)
	return s != nil && (t.Preemptive() || s.tree.overlaps(lo, hi))
}
