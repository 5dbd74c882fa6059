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
	// Coroutines, if not nil, are used and left for the next Sim.
	Coroutines *Coroutines
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
	enabled  []*Task // what the chooser is asked about; for reuse
	cur      *Task
	next     *Task // chosen at a scheduling point, to run next
	nextID   int
	wakeSeq  uint64
	taskSeq  uint64 // tasks and objects made outside any task
	objSeq   uint64
	steps    uint64 // steps of all tasks under a preemptive chooser
	guide    *Guide // the chooser, when it explores
	rec      *recorder
	marks    Marks

	now    Time
	timers timerHeap
	tmSeq  uint64

	stacks *Coroutines // nil: each task has its own

	hist    History
	lockdep lockdep
	failure *Failure
	stopped bool
	dead    bool
	check   func()

	// State, if set, hashes all that decides what the program does next, but for
	// the tasks. It is called when every task rests.
	State func() uint64

	// OnIdle is called when no task is runnable and no timer is pending (or
	// OnAdvance refused to wait). It returns true when it made a task runnable.
	OnIdle func() bool
	// OnLong is called once when a preemptive chooser has chosen more than the steps of
	// SetPatience since that was last called; no task is in the middle of a step then.
	OnLong   func()
	patience uint64 // the number of the step at which it ends, 0 for never

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
	s := &Sim{}
	s.SetChooser(o.Chooser)
	s.stacks = o.Coroutines
	s.hist.init(o.Keep)
	return s
}

// SetChooser changes who decides from the next choice on.
//
// Preconditions: no task is in the middle of a step: set-up, or OnIdle.
func (s *Sim) SetChooser(c Chooser) {
	if s.guide != nil {
		s.guide.end(s)
	}
	s.chooser = c
	s.attn &^= attnPreempt
	if c.Preemptive() {
		s.attn |= attnPreempt
	}
	s.guide, _ = c.(*Guide)
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
		t := s.next
		if s.next = nil; t == nil {
			again := false
			if t, again = s.pick(); t == nil && !again {
				break
			}
		}
		if t != nil && s.failure == nil && !s.stopped {
			s.resume(t)
		}
	}
	if s.attn&attnDirty != 0 {
		s.runCheck()
	}
	if s.guide != nil {
		s.guide.end(s)
	}
	switch {
	case s.failure != nil:
		return Failed
	case len(s.BlockedTasks()) > 0:
		return Blocked
	}
	return Quiescent
}

// pick asks the chooser for the next task. Where nothing can run it lets time pass
// or asks the driver; again says that this has changed something.
func (s *Sim) pick() (t *Task, again bool) {
	if s.patience != 0 && s.steps > s.patience && s.OnLong != nil {
		s.patience = 0
		s.OnLong()
	}
	can := s.runnable
	if s.attn&attnPreempt != 0 {
		can = s.enabledTasks()
	}
	if len(can) > 0 {
		t = s.chooseAmong(can)
		return t, t == nil
	}
	if s.timers.Len() > 0 && (s.OnAdvance == nil || s.OnAdvance()) {
		if s.attn&attnPreempt == 0 {
			s.fireNext()
			return nil, true
		}
		if s.failure == nil && !s.stopped {
			t = s.chooseAmong(s.sleepers(s.enabled[:0], true))
		}
		return t, true
	}
	return nil, s.OnIdle != nil && s.OnIdle()
}

// enabledTasks returns who could perform a step now, for a preemptive chooser: the
// runnable tasks that wait for no lock and no condition, and the sleeping ones, because a
// delay is a lower bound and never a promise. The slice is valid until the next
// call.
//
// A task whose deadlines have come maxLaps times in a row sleeps on until another
// task has done something: a loop around a delay does not run alone for ever while
// others could run.
func (s *Sim) enabledTasks() []*Task {
	s.enabled = s.enabled[:0]
	for _, t := range s.runnable {
		if !t.waits() {
			s.enabled = append(s.enabled, t)
		}
	}
	if len(s.timers) > 0 {
		s.enabled = s.sleepers(s.enabled, false)
	}
	return s.enabled
}

// sleepers appends the tasks that wait for a deadline, in order of task id: all of
// them, or those that have not run alone for too long.
func (s *Sim) sleepers(to []*Task, all bool) []*Task {
	first := len(to)
	for _, t := range s.timers {
		if !all && t.laps >= maxLaps && t.lap == s.steps-t.steps {
			continue
		}
		i := len(to)
		to = append(to, t)
		for i > first && to[i-1].id > t.id {
			to[i] = to[i-1]
			i--
		}
		to[i] = t
	}
	s.enabled = to
	return to
}

// maxLaps is how many deadlines of a task may follow each other while others could
// run.
const maxLaps = 4

// startStep notes that t begins a step.
func (s *Sim) startStep(t *Task) {
	s.steps++
	t.steps++
	if s.guide != nil {
		s.guide.start(t)
	}
}

// SetPatience says after how many more steps OnLong is called.
func (s *Sim) SetPatience(steps uint64) { s.patience = s.steps + steps }

// Stop ends Run after the present step, for reasons of the driver's own.
func (s *Sim) Stop() { s.stopped = true }

// Stopped says whether Run ended early: because of Stop, or because the chooser
// chose nobody.
func (s *Sim) Stopped() bool { return s.stopped }

// restState hashes the whole state when every task rests, and is 0 otherwise, or
// when there is no State.
func (s *Sim) restState() uint64 {
	if s.State == nil {
		return 0
	}
	for _, t := range s.tasks {
		if !t.resting {
			return 0
		}
	}
	h := s.State()
	for _, t := range s.tasks {
		q := uint64(0)
		if t.queue != nil {
			q = t.queue.obj.id
		}
		h = mix(h ^ t.key)
		h = mix(h ^ q<<3 ^ uint64(t.state)<<1)
		if t.timer.index != 0 {
			h = mix(h ^ t.laps)
		}
		if t.killed {
			h = mix(h ^ 1)
		}
	}
	return max(h, 1)
}

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

// chooseAmong asks the chooser; nil means that the run ends here.
func (s *Sim) chooseAmong(can []*Task) *Task {
	if len(can) == 0 {
		return nil
	}
	cur := s.cur
	if cur != nil && (cur.state != stateRunnable || cur.waits()) {
		cur = nil
	}
	t := s.chooser.Next(s, cur, can)
	if t == nil {
		s.stopped = true
	} else if s.rec != nil && s.attn&attnPreempt != 0 {
		s.rec.note(t, can)
	}
	return t
}

// resume runs t until it blocks, finishes or is preempted.
func (s *Sim) resume(t *Task) {
	s.cur = t
	if s.attn&attnPreempt != 0 {
		s.startStep(t)
	}
	if t.state != stateRunnable {
		s.fire(t)
	}
	if t.stack == nil {
		t.stack = s.coroutine()
		t.stack.task = t
	}
	if t.stack.next(); t.stack.task == nil {
		s.leave(t)
		s.finish(t)
	}
	if s.attn&attnDirty != 0 {
		s.runCheck()
	}
}

// coroutine returns one for a task to run on.
func (s *Sim) coroutine() *coroutine {
	if s.stacks != nil {
		return s.stacks.get()
	}
	return newCoroutine()
}

// leave takes a task that has ended off its coroutine.
func (s *Sim) leave(t *Task) {
	if s.stacks != nil {
		s.stacks.put(t.stack)
	} else {
		t.stack.stop()
	}
	t.stack = nil
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

// BlockedTasks returns the tasks that are neither daemons nor able to run.
func (s *Sim) BlockedTasks() []*Task {
	var b []*Task
	for _, t := range s.tasks {
		if t.Blocked() && !t.daemon {
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
		if t.stack != nil {
			t.stack.next()
			s.leave(t)
		}
	}
	s.tasks, s.runnable = nil, nil
}
