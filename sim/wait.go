// SPDX-License-Identifier: MIT

package sim

// WaitQueue holds tasks that wait for a condition.
//
// Kernel: wait_queue_head_t, include/linux/wait.h.
type WaitQueue struct {
	obj   Object
	tasks []*Task
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
	t.killed = true
	if t.state != stateBlocked || !t.killable {
		return
	}
	if t.queue != nil {
		t.queue.remove(t)
	}
	t.sim.cancelTimer(t)
	t.sim.makeRunnable(t)
}

// Killed says whether Kill was called.
func (t *Task) Killed() bool { return t.killed }

// spin is Sleep for a task that may not sleep: another CPU holds the spinlock.
func (q *WaitQueue) spin(t *Task) {
	q.tasks = append(q.tasks, t)
	t.queue = q
	t.block()
	t.stopIfFailed()
}

// WakeAll makes every waiting task runnable.
//
// Kernel: wake_up_all.
func (q *WaitQueue) WakeAll(t *Task) {
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
