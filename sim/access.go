// SPDX-License-Identifier: MIT

package sim

// Object is a piece of state that several tasks touch. Accesses name the object
// and a half-open part of it, [lo, hi), whose unit the owner defines (pages,
// slots; 0 and 1 for the whole).
type Object struct {
	id    uint64
	class string
}

// Init gives the object its identity. Objects made by a task are numbered per
// task, so that an object is the same one in every interleaving.
//
// Preconditions: t is the running task, or nil during set-up.
func (o *Object) Init(s *Sim, class string) {
	if t := s.cur; t != nil {
		t.objSeq++
		o.id = mix(t.key + t.objSeq)
	} else {
		s.objSeq++
		o.id = mix(s.objSeq)
	}
	o.class = class
}

// ID returns the object's number, stable over interleavings.
func (o *Object) ID() uint64 { return o.id }

// Class returns the kind of object, for reports.
func (o *Object) Class() string { return o.class }

// Kind says what an access does to its object.
type Kind uint8

// Reads and writes conflict as usual. An acquisition conflicts with other
// acquisitions; a release only orders what comes after it. A try may fail, so it
// conflicts with releases, too.
const (
	KindRead Kind = iota
	KindWrite
	KindAcquireRead
	KindAcquire
	KindReleaseRead
	KindRelease
	KindTry
	// KindUp and KindDown count something up and down: steps of one kind commute.
	KindUp
	KindDown
)

// reads says whether two accesses of such kinds may overlap.
func (k Kind) reads() bool { return k == KindRead || k == KindAcquireRead || k == KindReleaseRead }

// commutes says whether the order of two accesses to one thing cannot matter.
func (k Kind) commutes(l Kind) bool {
	return k.reads() && l.reads() || k == l && (k == KindUp || k == KindDown)
}

// Access labels one step: what it touches and how. Two steps commute when their
// objects differ, their parts are disjoint, or neither writes.
type Access struct {
	Object *Object
	Lo, Hi uint64
	Kind   Kind
}

// Conflicts says whether the order of two accesses can matter.
func (a Access) Conflicts(b Access) bool {
	return a.Object != nil && a.Object == b.Object && !a.Kind.commutes(b.Kind) && a.Lo < b.Hi && b.Lo < a.Hi
}

// Next returns the label of the access that the task performs when it runs next.
func (t *Task) Next() Access { return t.pending }

// Read is a scheduling point before a read of o[lo,hi).
func (t *Task) Read(o *Object, lo, hi uint64) {
	if t.sim.attn != 0 {
		t.point(Access{o, lo, hi, KindRead})
	}
}

// Write is a scheduling point before a write of o[lo,hi).
func (t *Task) Write(o *Object, lo, hi uint64) {
	if t.sim.attn != 0 {
		t.point(Access{o, lo, hi, KindWrite})
	}
}

// Point is an explicit preemption point that touches nothing.
//
// Kernel: cond_resched, include/linux/sched.h.
func (t *Task) Point() {
	if t.sim.attn != 0 {
		t.point(Access{})
	}
}

// Touch says that the present step accesses a, too. It is no scheduling point.
func (t *Task) Touch(a Access) { t.touch(a.Object, a.Lo, a.Hi, a.Kind) }

func (t *Task) touch(o *Object, lo, hi uint64, k Kind) {
	if g := t.sim.guide; g != nil {
		g.touch(Access{o, lo, hi, k})
	}
}

func (t *Task) point(a Access) {
	s := t.sim
	if s.attn&attnDirty != 0 {
		s.runCheck()
	}
	if s.failure != nil {
		t.stopIfFailed()
	}
	if s.attn&attnPreempt != 0 {
		t.preempt(a)
	}
}

// preempt lets the chooser decide who performs the next step. The chooser is
// asked here and not in Run, so that going on costs no change of coroutine.
func (t *Task) preempt(a Access) {
	s := t.sim
	t.pending = a
	if s.stopped {
		t.switchOut()
	} else if next := s.chooseAmong(s.enabledTasks()); next == t {
		s.startStep(t)
	} else {
		s.next = next
		t.switchOut()
	}
	t.pending = Access{}
}
