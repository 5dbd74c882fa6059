// SPDX-License-Identifier: MIT

package sim

// WaitQueue holds tasks that wait for a condition.
//
// Kernel: wait_queue_head_t, include/linux/wait.h.
type WaitQueue struct {
	obj   Object
	tasks []*Task
}

// WaitEvent blocks t until cond holds. Whoever makes it hold wakes the queue.
//
// Under a preemptive chooser a task that waits here cannot run until cond holds:
// there is no order of test and wake-up to explore, and no idle wake-up. It is a
// scheduling point even if cond holds already, so that the steps are the same
// whether what makes it hold came before or not. What cond reads may have changed
// again when the task runs, unless it only ever becomes true.
//
// Kernel: wait_event.
func (q *WaitQueue) WaitEvent(t *Task, cond func() bool) { q.WaitEventOn(t, Access{}, cond) }

// WaitEventOn is WaitEvent for a condition that others make true and false again:
// a is a read of what it looks at.
func (q *WaitQueue) WaitEventOn(t *Task, a Access, cond func() bool) {
	holds := cond()
	if holds && !t.Preemptive() {
		return
	}
	if !holds && t.atomic|t.nonBlock != 0 {
		t.MightSleep("wait_event(" + q.obj.class + ")")
	}
	if t.Preemptive() {
		t.cond, t.queue = cond, q
		t.preempt(a)
		t.cond, t.queue = nil, nil
		t.stopIfFailed()
	}
	for !cond() {
		q.spin(t)
	}
}

// WaitEventKillable is WaitEvent that Kill ends, too.
//
// Kernel: wait_event_killable.
func (q *WaitQueue) WaitEventKillable(t *Task, cond func() bool) {
	t.killable = true
	q.WaitEvent(t, func() bool { return t.killed || cond() })
	t.killable = false
	t.Killed()
}

// Init gives the queue its identity.
func (q *WaitQueue) Init(s *Sim, class string) { q.obj.Init(s, class) }

// Sleep blocks t until somebody wakes the queue. The caller tests its condition
// in a loop around Sleep, with no scheduling point between test and Sleep.
func (q *WaitQueue) Sleep(t *Task) {
	if t.atomic|t.nonBlock != 0 {
		t.MightSleep("wait_event(" + q.obj.class + ")")
	}
	q.spin(t)
}

// SleepUntil is Sleep with a deadline; it returns false when the time came
// first.
func (q *WaitQueue) SleepUntil(t *Task, deadline Time) bool {
	if t.atomic|t.nonBlock != 0 {
		t.MightSleep("wait_event_timeout(" + q.obj.class + ")")
	}
	t.sim.addTimer(t, deadline)
	q.spin(t)
	if t.timer.fired {
		t.timer.fired = false
		return false
	}
	t.sim.cancelTimer(t)
	return true
}

// SleepKillable is Sleep that Kill ends, too. The caller's loop tests Killed.
//
// Kernel: wait_event_killable.
func (q *WaitQueue) SleepKillable(t *Task) {
	t.killable = true
	q.Sleep(t)
	t.killable = false
}

// Kill makes every killable sleep of the task end, now and later.
//
// Kernel: fatal_signal_pending, include/linux/sched/signal.h.
func (t *Task) Kill() {
	if by := t.sim.cur; by != nil {
		by.touch(&t.signal, 0, 1, KindWrite)
	}
	t.killed = true
	if t.state != stateBlocked || !t.killable {
		return
	}
	if t.queue != nil {
		t.queue.remove(t)
	}
	t.sim.makeRunnable(t)
	t.sim.cancelTimer(t)
}

// Killed says whether Kill was called. Only the task itself asks.
func (t *Task) Killed() bool {
	t.touch(&t.signal, 0, 1, KindRead)
	return t.killed
}

// spin is Sleep for a task that may not sleep: another CPU holds the spinlock.
//
// The test before the sleep and the test after it depend on what a waker changes;
// they are labelled as writes of the queue, and wake-ups, whose order among
// themselves means nothing, as reads.
func (q *WaitQueue) spin(t *Task) {
	t.touch(&q.obj, 0, 1, KindWrite)
	q.tasks = append(q.tasks, t)
	t.queue = q
	t.pending = Access{&q.obj, 0, 1, KindWrite}
	t.block()
	t.pending = Access{}
	t.stopIfFailed()
}

// WakeAll makes every waiting task runnable.
//
// Kernel: wake_up_all.
func (q *WaitQueue) WakeAll(t *Task) {
	t.touch(&q.obj, 0, 1, KindRead)
	q.wakeLock()
}

// wakeLock is WakeAll where the queue is a lock's own: the lock is labelled, not
// the queue.
func (q *WaitQueue) wakeLock() {
	for _, w := range q.tasks {
		w.queue = nil
		w.sim.makeRunnable(w)
	}
	q.tasks = q.tasks[:0]
}

func (q *WaitQueue) wakeOne(t *Task) {
	if len(q.tasks) == 0 {
		return
	}
	w := q.tasks[0]
	q.tasks = append(q.tasks[:0], q.tasks[1:]...)
	w.queue = nil
	w.sim.makeRunnable(w)
}

// Waiting says whether any task waits.
func (q *WaitQueue) Waiting() bool { return len(q.tasks) > 0 }

func (q *WaitQueue) remove(t *Task) {
	for i, w := range q.tasks {
		if w == t {
			q.tasks = append(q.tasks[:i], q.tasks[i+1:]...)
			break
		}
	}
	t.queue = nil
}
