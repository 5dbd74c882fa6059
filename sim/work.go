// SPDX-License-Identifier: MIT

package sim

// DelayedWork runs a function in a worker task some time after it was queued.
// At most one instance runs; queueing it while it runs makes it run once more.
//
// Kernel: struct delayed_work, include/linux/workqueue.h.
type DelayedWork struct {
	sim     *Sim
	obj     Object
	name    string
	fn      func(t *Task)
	task    *Task
	wake    WaitQueue
	idle    WaitQueue
	pending bool
	running bool
	at      Time
	delay   Time
}

// Init prepares the work. The worker task is made when it is first queued.
func (w *DelayedWork) Init(s *Sim, name string, fn func(t *Task)) {
	w.sim, w.name, w.fn = s, name, fn
	w.obj.Init(s, name)
	w.wake.Init(s, name)
	w.idle.Init(s, name)
}

// Queue arranges for the function to run after delay. It returns false when it
// was pending already; then nothing changes.
//
// Kernel: queue_delayed_work.
func (w *DelayedWork) Queue(t *Task, delay Time) bool {
	t.Read(&w.obj, 0, 1)
	if w.pending {
		return false
	}
	t.touch(&w.obj, 0, 1, KindWrite)
	w.pending, w.at, w.delay = true, w.sim.now+delay, delay
	if w.task == nil {
		w.task = w.sim.GoDaemon(w.name, w.loop)
	}
	w.wake.WakeAll(t)
	return true
}

func (w *DelayedWork) loop(t *Task) {
	for {
		t.Rest(func() {
			w.wake.WaitEventOn(t, Access{&w.obj, 0, 1, KindRead}, w.Pending)
			// Under a preemptive chooser the clock is where the deadlines of others have
			// put it. That decides nothing: a delay is one in any case.
			for late := !t.Preemptive() || w.delay == 0; w.pending && (w.sim.now < w.at || !late); late = true {
				w.wake.SleepUntil(t, w.at)
			}
		})
		t.Write(&w.obj, 0, 1)
		if !w.pending {
			continue
		}
		w.pending, w.running = false, true
		w.fn(t)
		w.running = false
		w.idle.WakeAll(t)
	}
}

// Pending says whether the function will run.
func (w *DelayedWork) Pending() bool { return w.pending }

// Running says whether the function runs now.
func (w *DelayedWork) Running() bool { return w.running }

// CancelSync makes sure that the function neither is pending nor runs.
//
// Kernel: cancel_delayed_work_sync.
func (w *DelayedWork) CancelSync(t *Task) {
	t.Write(&w.obj, 0, 1)
	for first := true; ; first = false {
		if w.pending {
			w.pending = false
			w.wake.WakeAll(t)
		}
		if !w.running && !(first && t.Preemptive()) {
			return
		}
		w.idle.WaitEvent(t, func() bool { return !w.running })
		t.touch(&w.obj, 0, 1, KindWrite)
	}
}
