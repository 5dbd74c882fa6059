// SPDX-License-Identifier: MIT

package sim

import "fmt"

// Time is virtual time in nanoseconds since the start of the run.
type Time int64

// Durations in virtual nanoseconds.
const (
	Microsecond Time = 1_000
	Millisecond Time = 1_000_000
	Second      Time = 1_000_000_000
)

// Options configure a Sim.
type Options struct {
	// Chooser decides who runs next; nil means recorded order.
	Chooser Chooser
	// Keep is the number of history events kept for a report (rounded up to a
	// power of two); 0 means 1024. The fingerprint always covers all of them.
	Keep int
}

// Sim is one execution: its tasks, its clock and its history. A Sim is used by
// one goroutine.
type Sim struct {
	chooser Chooser
	// attn is non-zero when a scheduling point has something to do.
	attn uint8

	tasks    []*Task // every task that has not finished, by id
	runnable []*Task // in order of task id
	cur      *Task
	nextID   int
	wakeSeq  uint64
	objSeq   uint64 // ids of objects made outside any task

	now    Time
	timers timerHeap
	tmSeq  uint64

	hist    History
	lockdep lockdep
	failure *Failure
	stopped bool
	dead    bool
	check   func()

	// OnIdle is called when no task is runnable and no timer is pending (or
	// OnAdvance refused to wait). It returns true when it made a task runnable.
	OnIdle func() bool
	// OnAdvance is called before the clock moves to the next timer. It returns
	// false to leave the timers alone and ask OnIdle instead.
	OnAdvance func() bool
}

const (
	attnPreempt = 1 << iota
	attnDirty
)

// New returns an empty simulation at time 0.
func New(o Options) *Sim {
	if o.Chooser == nil {
		o.Chooser = RecordedOrder{}
	}
	s := &Sim{chooser: o.Chooser}
	if s.chooser.Preemptive() {
		s.attn |= attnPreempt
	}
	s.hist.init(o.Keep)
	return s
}

// Now returns the virtual time.
func (s *Sim) Now() Time { return s.now }

// History returns the events so far.
func (s *Sim) History() *History { return &s.hist }

// Current returns the task that runs now, nil between tasks.
func (s *Sim) Current() *Task { return s.cur }

// SetCheck installs the function that looks at what a step dirtied. It runs at
// the first scheduling point (or task switch) after a call of Dirty.
func (s *Sim) SetCheck(check func()) { s.check = check }

// Dirty asks for the check function at the next scheduling point.
func (s *Sim) Dirty() { s.attn |= attnDirty }

func (s *Sim) runCheck() {
	s.attn &^= attnDirty
	if s.check != nil && s.failure == nil && !s.dead {
		s.check()
	}
}

// A Failure is a broken property: a result of the run, not an error of the
// simulator.
type Failure struct {
	Verdict  string // stale, stuck, misuse, leak
	Property string // name in `kfdsim list properties`
	Title    string // one line, fit for de-duplication: no addresses, no counts
	Detail   string // what broke it: addresses, page generations
	Task     string // the task that ran
	Step     uint64 // history step at which it was seen
	Time     Time
}

// Fail records the first broken property. The run ends at the next scheduling
// point; later failures are ignored.
func (s *Sim) Fail(f Failure) {
	if s.failure != nil || s.dead {
		return
	}
	if s.cur != nil {
		f.Task = s.cur.name
	}
	f.Step, f.Time = s.hist.n, s.now
	s.failure = &f
}

// Failure returns the first broken property, nil if none.
func (s *Sim) Failure() *Failure { return s.failure }

// Status says why Run returned.
type Status int

// Reasons for Run to return.
const (
	Quiescent Status = iota // nothing is left to run; only daemons wait
	Blocked                 // a task that is no daemon waits for ever
	Failed                  // a property broke
)

// Run executes until nothing can run any more or a property breaks.
func (s *Sim) Run() Status {
	for s.failure == nil && !s.stopped {
		if len(s.runnable) == 0 && !s.wait() {
			break
		}
		if s.failure != nil || s.stopped || len(s.runnable) == 0 {
			continue
		}
		s.resume(s.choose())
	}
	if s.attn&attnDirty != 0 {
		s.runCheck()
	}
	switch {
	case s.failure != nil:
		return Failed
	case len(s.BlockedTasks()) > 0:
		return Blocked
	}
	return Quiescent
}

// Stop ends Run after the present step, for reasons of the driver's own.
func (s *Sim) Stop() { s.stopped = true }

// WaitDigest hashes which tasks wait for what, and deadlines as delays from now:
// with the state of the model it decides what happens next.
func (s *Sim) WaitDigest() uint64 {
	h := uint64(len(s.tasks))
	for _, t := range s.tasks {
		q, d := uint64(0), uint64(0)
		if t.queue != nil {
			q = t.queue.obj.id
		}
		if t.timer.index != 0 {
			d = uint64(t.timer.at-s.now) + 1
		}
		h = mix(h ^ uint64(t.id)<<32 ^ uint64(t.state))
		h = mix(h ^ q)
		h = mix(h ^ d)
	}
	return h
}

// wait makes something runnable by time or by the driver; false means that
// nothing ever will be.
func (s *Sim) wait() bool {
	if s.timers.Len() > 0 && (s.OnAdvance == nil || s.OnAdvance()) {
		s.fireNext()
		return true
	}
	return s.OnIdle != nil && s.OnIdle()
}

func (s *Sim) choose() *Task {
	cur := s.cur
	if cur != nil && cur.state != stateRunnable {
		cur = nil
	}
	t := s.chooser.Next(s, cur, s.runnable)
	if t == nil || (t.state != stateRunnable && !t.timerPending()) {
		panic("BUG: chooser picked a task that cannot run")
	}
	return t
}

// resume runs t until it blocks, finishes or is preempted.
func (s *Sim) resume(t *Task) {
	if t.state != stateRunnable {
		s.fire(t)
	}
	s.cur = t
	if _, more := t.next(); !more {
		s.finish(t)
	}
	if s.attn&attnDirty != 0 {
		s.runCheck()
	}
}

func (s *Sim) finish(t *Task) {
	if len(t.held) > 0 && s.failure == nil && !s.dead {
		s.Fail(Failure{Verdict: "misuse", Property: "lockdep",
			Title:  "task exits with a lock held: " + t.held[0].class.name,
			Detail: fmt.Sprintf("%s still holds %s", t.name, t.held[0].class.name)})
	}
	t.state = stateDone
	s.removeRunnable(t)
	for i, x := range s.tasks {
		if x == t {
			s.tasks = append(s.tasks[:i], s.tasks[i+1:]...)
			break
		}
	}
	t.done.WakeAll(t)
}

// BlockedTasks returns the tasks that are neither daemons nor runnable.
func (s *Sim) BlockedTasks() []*Task {
	var b []*Task
	for _, t := range s.tasks {
		if t.state == stateBlocked && !t.daemon {
			b = append(b, t)
		}
	}
	return b
}

// Close abandons every task. Nothing of the Sim may be used afterwards except
// its history and failure.
func (s *Sim) Close() {
	s.dead = true
	for _, t := range s.tasks {
		t.stop()
	}
	s.tasks, s.runnable = nil, nil
}
