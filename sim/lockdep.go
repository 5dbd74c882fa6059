// SPDX-License-Identifier: MIT

package sim

import "strings"

// LockClass groups the locks that play the same role; order is checked between
// classes, as lockdep does.
//
// Kernel: struct lock_class_key, include/linux/lockdep_types.h.
type LockClass struct {
	name string
}

// NewLockClass names a class. Call it once, for a package variable.
func NewLockClass(name string) *LockClass { return &LockClass{name: name} }

// Name returns the class's name.
func (c *LockClass) Name() string { return c.name }

// heldLock is an entry of a task's stack of held locks.
type heldLock struct {
	class *LockClass
	lock  any
}

type lockEdge struct{ from, to *LockClass }

// lockdep is the graph of lock classes of one run: an edge from A to B says that
// B was once acquired with A held (model/FIDELITY.md S-LOCKDEP).
type lockdep struct {
	edges map[lockEdge]bool
	next  map[*LockClass][]*LockClass
}

// acquire notes that t is about to take a lock, checks the order and pushes it.
func (t *Task) acquire(class *LockClass, lock any, read bool) {
	for i := range t.held {
		h := &t.held[i]
		if h.class == class {
			if h.lock == lock && read {
				continue
			}
			t.lockMisuse("possible recursive locking: ", class)
			return
		}
		e := lockEdge{h.class, class}
		if !t.sim.lockdep.edges[e] {
			t.addLockEdge(e)
		}
	}
	t.held = append(t.held, heldLock{class, lock})
}

func (t *Task) addLockEdge(e lockEdge) {
	d := &t.sim.lockdep
	if d.edges == nil {
		d.edges = map[lockEdge]bool{}
		d.next = map[*LockClass][]*LockClass{}
	}
	if path := d.path(e.to, e.from, nil); path != nil {
		names := []string{e.from.name}
		for _, c := range path {
			names = append(names, c.name)
		}
		t.sim.Fail(Failure{Verdict: "misuse", Property: "lock-order",
			Title:  "possible circular locking dependency: " + e.from.name + " -> " + e.to.name,
			Detail: t.name + " takes " + e.to.name + " with " + e.from.name + " held; known order: " + strings.Join(names[1:], " -> ")})
		t.stopIfFailed()
	}
	d.edges[e] = true
	d.next[e.from] = append(d.next[e.from], e.to)
}

// path returns a chain of classes from a to b, nil if there is none.
func (d *lockdep) path(a, b *LockClass, seen []*LockClass) []*LockClass {
	if a == b {
		return []*LockClass{a}
	}
	for _, c := range seen {
		if c == a {
			return nil
		}
	}
	seen = append(seen, a)
	for _, n := range d.next[a] {
		if p := d.path(n, b, seen); p != nil {
			return append([]*LockClass{a}, p...)
		}
	}
	return nil
}

// release pops a lock, wherever in the stack it is.
func (t *Task) release(lock any) {
	for i := len(t.held) - 1; i >= 0; i-- {
		if t.held[i].lock == lock {
			t.held = append(t.held[:i], t.held[i+1:]...)
			return
		}
	}
}

func (t *Task) holds(lock any) bool {
	for i := range t.held {
		if t.held[i].lock == lock {
			return true
		}
	}
	return false
}

// HeldLocks returns the names of the locks that t holds, outermost first.
func (t *Task) HeldLocks() []string {
	var n []string
	for _, h := range t.held {
		n = append(n, h.class.name)
	}
	return n
}

func (t *Task) lockMisuse(what string, class *LockClass) {
	t.sim.Fail(Failure{Verdict: "misuse", Property: "lockdep", Title: what + class.name, Detail: t.name + ": " + what + class.name})
	t.stopIfFailed()
}
