// SPDX-License-Identifier: MIT

package sim

type taskState uint8

const (
	stateRunnable taskState = iota
	stateBlocked
	stateDone
)

// Task is a thread of execution: a user thread, a kernel worker, a GPU queue.
//
// Kernel: struct task_struct, include/linux/sched.h.
type Task struct {
	sim    *Sim
	id     int
	name   string
	twin   int // which of the tasks with this name that live, counted from 1
	state  taskState
	daemon bool
	// resting says that the task keeps nothing in mind: it is where a loop begins.
	resting bool
	// killed was set by Kill; killable says that the present sleep ends then.
	killed, killable bool

	// Order ranks tasks under recorded order: the smallest runs first. Trace
	// tasks carry their line; kernel tasks keep the default, after all lines.
	Order uint64

	body  func(t *Task)
	stack *coroutine // nil before its first step and after its last

	wake  uint64 // wakeSeq when it last became runnable
	timer timer  // pending deadline, if any
	queue *WaitQueue
	held  []heldLock
	done  WaitQueue

	// atomic counts spinlocks held; nonBlock counts non-blockable sections.
	atomic, nonBlock int

	// key names the task in every interleaving: its parent and how many tasks and
	// objects that one had made before.
	key, taskSeq, objSeq uint64

	// pending is the label of the access that the task performs next; want is the
	// lock and cond the condition that it needs for that, nil if none.
	pending  Access
	want     lock
	wantKind Kind
	cond     func() bool
	// signal labels killed.
	signal Object

	// steps counts the steps of the task. laps counts its deadlines that came since
	// the others had done lap steps.
	steps, lap, laps uint64
}

// KernelOrder is the default rank of a task: after every line of a trace.
const KernelOrder = ^uint64(0)

// Go creates a runnable task. The body runs when the chooser picks it.
func (s *Sim) Go(name string, body func(t *Task)) *Task {
	s.nextID++
	t := &Task{sim: s, id: s.nextID, name: name, twin: 1, Order: KernelOrder}
	for _, x := range s.tasks {
		if x.name == name {
			t.twin = max(t.twin, x.twin+1)
		}
	}
	if p := s.cur; p != nil {
		p.taskSeq++
		t.key = mix(p.key + p.taskSeq<<32)
	} else {
		s.taskSeq++
		t.key = mix(s.taskSeq << 32)
	}
	t.signal = Object{id: ^t.key, class: "signal"}
	t.done.obj = Object{id: mix(^t.key), class: "exit"}
	t.body = body
	s.tasks = append(s.tasks, t)
	t.state = stateBlocked
	s.makeRunnable(t)
	return t
}

// GoDaemon creates a task that may wait for ever without that being a deadlock.
func (s *Sim) GoDaemon(name string, body func(t *Task)) *Task {
	t := s.Go(name, body)
	t.daemon = true
	return t
}

// Preemptive says whether the chooser may switch tasks at every point; loops over
// runs then go page by page.
func (t *Task) Preemptive() bool { return t.sim.attn&attnPreempt != 0 }

// Name returns the task's name, for people.
func (t *Task) Name() string { return t.name }

// ID returns the task's number, counted from 1 in order of creation.
func (t *Task) ID() int { return t.id }

// Sim returns the simulation of the task.
func (t *Task) Sim() *Sim { return t.sim }

// Done says whether the body has returned.
func (t *Task) Done() bool { return t.state == stateDone }

// Blocked says whether the task waits.
func (t *Task) Blocked() bool { return t.state == stateBlocked || t.waits() }

// waits says whether a runnable task has to wait for a condition or for a lock.
func (t *Task) waits() bool {
	return t.cond != nil && !t.cond() || t.want != nil && !t.want.free(t.wantKind)
}

// Rest calls f, in which the task waits at the head of its loop: whatever it will
// do then follows from the state of the program, and from nothing that it has read
// before.
func (t *Task) Rest(f func()) {
	t.resting = true
	f()
	t.resting = false
}

// Join waits until other has finished.
func (t *Task) Join(other *Task) {
	other.done.WaitEvent(t, other.Done)
}

// switchOut gives the processor back to Run.
func (t *Task) switchOut() {
	if t.sim.dead {
		panic(abandoned{})
	}
	if !t.stack.yield(struct{}{}) || t.sim.dead {
		panic(abandoned{})
	}
}

// block takes the task off the runnable set until something wakes it.
func (t *Task) block() {
	t.state = stateBlocked
	t.sim.removeRunnable(t)
	t.switchOut()
}

// stopIfFailed parks a task for good when a property has broken, so that it
// does not run on through impossible state.
func (t *Task) stopIfFailed() {
	if t.sim.failure != nil {
		t.block()
		panic(abandoned{})
	}
}

func (s *Sim) makeRunnable(t *Task) {
	if t.state != stateBlocked {
		return
	}
	t.state = stateRunnable
	if s.guide != nil && t.timer.index == 0 {
		s.guide.wake(t) // else its deadline could have come before
	}
	s.wakeSeq++
	t.wake = s.wakeSeq
	i := len(s.runnable)
	s.runnable = append(s.runnable, t)
	for i > 0 && s.runnable[i-1].id > t.id {
		s.runnable[i] = s.runnable[i-1]
		i--
	}
	s.runnable[i] = t
}

func (s *Sim) removeRunnable(t *Task) {
	for i, x := range s.runnable {
		if x == t {
			s.runnable = append(s.runnable[:i], s.runnable[i+1:]...)
			return
		}
	}
}

// Park blocks the task until Unpark. The driver uses it to hand out lines.
func (t *Task) Park() {
	t.block()
}

// Unpark makes a parked task runnable; it does nothing to a runnable one.
//
// Preconditions: t is blocked in Park, not on a wait queue or lock.
func (t *Task) Unpark() { t.sim.makeRunnable(t) }

// StartDaemonWait marks the task as one whose waiting is no deadlock, until
// EndDaemonWait: a trace task between two of its lines.
func (t *Task) StartDaemonWait() { t.daemon = true }

// EndDaemonWait ends StartDaemonWait.
func (t *Task) EndDaemonWait() { t.daemon = false }

// StartNonBlock opens a section that must not sleep.
//
// Kernel: non_block_start, include/linux/kernel.h.
func (t *Task) StartNonBlock() { t.nonBlock++ }

// EndNonBlock closes StartNonBlock.
func (t *Task) EndNonBlock() { t.nonBlock-- }

// MightSleep checks that the task may sleep here.
//
// Kernel: might_sleep, include/linux/kernel.h.
func (t *Task) MightSleep(what string) {
	if t.atomic == 0 && t.nonBlock == 0 {
		return
	}
	why := "sleeping function called with a spinlock held: " + what
	if t.nonBlock > 0 {
		why = "sleeping in a non-blockable window: " + what
	}
	t.sim.Fail(Failure{Verdict: "misuse", Property: "might-sleep", Title: why, Detail: t.name + ": " + why})
	t.stopIfFailed()
}
