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
		o.id = uint64(t.id)<<40 | t.objSeq
	} else {
		s.objSeq++
		o.id = s.objSeq
	}
	o.class = class
}

// ID returns the object's number, stable over interleavings.
func (o *Object) ID() uint64 { return o.id }

// Class returns the kind of object, for reports.
func (o *Object) Class() string { return o.class }

// Access labels one step: what it touches and how. Two steps commute when their
// objects differ, their parts are disjoint, or neither writes.
type Access struct {
	Object *Object
	Lo, Hi uint64
	Write  bool
}

// Conflicts says whether the order of two accesses can matter.
func (a Access) Conflicts(b Access) bool {
	return a.Object != nil && a.Object == b.Object && (a.Write || b.Write) && a.Lo < b.Hi && b.Lo < a.Hi
}

// Next returns the label of the access that the task performs when it runs next.
func (t *Task) Next() Access { return t.pending }

// Read is a scheduling point before a read of o[lo,hi).
func (t *Task) Read(o *Object, lo, hi uint64) {
	if t.sim.attn != 0 {
		t.point(Access{o, lo, hi, false})
	}
}

// Write is a scheduling point before a write of o[lo,hi).
func (t *Task) Write(o *Object, lo, hi uint64) {
	if t.sim.attn != 0 {
		t.point(Access{o, lo, hi, true})
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

func (t *Task) point(a Access) {
	s := t.sim
	if s.attn&attnDirty != 0 {
		s.runCheck()
	}
	if s.failure != nil {
		t.stopIfFailed()
	}
	if s.attn&attnPreempt != 0 {
		t.pending = a
		t.switchOut()
		t.pending = Access{}
	}
}
