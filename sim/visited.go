// SPDX-License-Identifier: MIT

package sim

import (
	"slices"
	"sync" // order: see states
)

// states are the states that an exploration has dealt with. Only the goroutine
// that extends the tree adds to it; an execution that is under way meanwhile may
// or may not see what is added, so it is judged again when its turn comes: what
// comes of that does not depend on who was faster.
type states struct {
	mu sync.RWMutex // order: see above
	m  map[uint64]*visited
}

// visited is a state in which every task rested and from which everything was
// explored, but for what the tasks that slept there would have begun.
type visited struct {
	sleep []uint64
	later []later
}

// later is an access of a step after a state.
type later struct {
	access
	task uint64
	// deps are the tasks (by number) that had taken steps since the state which
	// happened before this one; its own task is one of them.
	deps uint64
	// first says that the step is the first one of its task since the state.
	first bool
}

// maxTasks is how many tasks fit into later.deps.
const maxTasks = 64

func (st *states) known(state uint64, asleep []sleeper) bool {
	st.mu.RLock()
	v := st.m[state]
	st.mu.RUnlock()
	return v != nil && v.covers(asleep)
}

// covers says whether all that may begin now was explored from the state.
func (v *visited) covers(asleep []sleeper) bool {
	for _, t := range v.sleep {
		if !slices.ContainsFunc(asleep, func(z sleeper) bool { return z.task == t }) {
			return false
		}
	}
	return true
}

// summary collects what happens after a state while it is explored.
type summary struct {
	later []later
	has   map[later]bool
}

func (s *summary) add(l later) {
	if s.has == nil {
		s.has = map[later]bool{}
	}
	if !s.has[l] {
		s.has[l] = true
		s.later = append(s.later, l)
	}
}

// number returns the number of a task.
func (x *explorer) number(task uint64) int {
	n, ok := x.numbers[task]
	if !ok {
		n = len(x.numbers)
		x.numbers[task] = n
	}
	return n
}

// stateBefore returns the deepest node before k at which every task rested, -1 if
// there is none.
func (x *explorer) stateBefore(k int) int {
	for k--; k >= 0; k-- {
		if x.stack[k].state != 0 {
			return k
		}
	}
	return -1
}

// note adds the steps of an execution that are new to the summary of the state
// before them.
func (x *explorer) note(j *job, from int) {
	if !x.caching() {
		return
	}
	at := x.stateBefore(min(from+1, len(x.stack)))
	for e := from; e < len(j.clocks); e++ {
		if e < len(x.stack) && x.stack[e].state != 0 {
			at = e
		}
		if at < 0 {
			continue
		}
		task, touched := j.step(e)
		l := later{task: task, first: true}
		for c, key := range j.columns {
			if int(j.clocks[e][c]) > at || key == task {
				l.deps |= 1 << x.number(key)
			}
		}
		for k := at; k < min(e, len(x.stack)); k++ {
			l.first = l.first && x.stack[k].task != task
		}
		for _, a := range touched {
			l.access = a
			x.stack[at].summary.add(l)
		}
	}
}

// leave stores the state of a node that is explored, and tells the state before it
// what came after.
func (x *explorer) leave(k int) {
	nd := &x.stack[k]
	if nd.state == 0 || !x.caching() {
		return
	}
	v := &visited{later: nd.summary.later}
	for _, z := range nd.sleep {
		v.sleep = append(v.sleep, z.task)
	}
	x.states.mu.Lock()
	if old := x.states.m[nd.state]; old == nil || len(v.sleep) < len(old.sleep) {
		x.states.m[nd.state] = v
		x.done.Cached++
		x.done.Later += uint64(len(v.later))
	}
	x.states.mu.Unlock()
	if at := x.stateBefore(k); at >= 0 {
		x.hand(v, k, at, nd.woken)
	}
}

// since is what is known at a node of one task: its clock there, with and without
// the steps that woke it.
type since struct {
	clock, woken []int32
	wakers       []int32
	ran          int // its latest node, -1
}

// tasksAt returns what is known of every task at node k, by number.
func (x *explorer) tasksAt(k int, woken []wake) []since {
	at := make([]since, len(x.numbers))
	n := len(x.numbers)
	for i := range at {
		at[i] = since{make([]int32, n), make([]int32, n), nil, -1}
	}
	for i := range k {
		nd := &x.stack[i]
		s := &at[x.number(nd.task)]
		copy(s.clock, nd.clock)
		s.ran = i
	}
	for i := range at {
		copy(at[i].woken, at[i].clock)
	}
	for _, w := range woken {
		if int(w.by) < k {
			s := &at[x.number(w.task)]
			s.wakers = append(s.wakers, w.by)
			join(s.woken, x.stack[w.by].clock)
		}
	}
	return at
}

// hand tells the state at node at what comes after the state at node k.
func (x *explorer) hand(v *visited, k, at int, woken []wake) {
	tasks := x.tasksAt(k, woken)
	for _, l := range v.later {
		c := x.clockOf(tasks, &l)
		for n, t := range c {
			if int(t) > at {
				l.deps |= 1 << n
			}
		}
		l.first = l.first && tasks[x.number(l.task)].ran < at
		x.stack[at].summary.add(l)
	}
}

// clockOf returns what of the steps before the state happened before l.
func (x *explorer) clockOf(tasks []since, l *later) []int32 {
	c := make([]int32, len(tasks))
	for n := range tasks {
		if l.deps>>n&1 != 0 {
			join(c, tasks[n].woken)
		}
	}
	return c
}

// meet adds the races between the steps on the stack and what is known to come
// after the state that it ends in.
func (x *explorer) meet(v *visited, woken []wake) {
	k := len(x.stack)
	tasks := x.tasksAt(k, woken)
	past := map[uint64][]int{} // nodes by object
	for i := range x.stack {
		for _, a := range x.stack[i].touched {
			if p := past[a.object]; len(p) == 0 || p[len(p)-1] != i {
				past[a.object] = append(p, i)
			}
		}
	}
	for i := range v.later {
		l := &v.later[i]
		c := x.clockOf(tasks, l)
		var wakers []int32
		if l.first {
			// What woke a task hides no race of what it does first.
			s := &tasks[x.number(l.task)]
			c, wakers = slices.Clone(s.clock), s.wakers
		}
		nodes := past[l.object]
		for n := len(nodes) - 1; n >= 0; n-- {
			d := nodes[n]
			if !x.racesWith(d, l) {
				continue
			}
			if nd := &x.stack[d]; nd.task != l.task && int(c[x.number(nd.task)]) <= d && !slices.Contains(wakers, int32(d)) {
				x.reverseLater(d, k, l)
			}
			join(c, x.stack[d].clock)
		}
	}
	if at := x.stateBefore(k); at >= 0 {
		x.hand(v, k, at, woken)
	}
}

// knows returns the clock of a task (by number) at the node.
func (nd *node) knows(n int) int {
	if n < len(nd.clock) {
		return int(nd.clock[n])
	}
	return 0 // there was no such task
}

func (x *explorer) racesWith(d int, l *later) bool {
	for _, b := range x.stack[d].touched {
		if l.conflicts(b) {
			if raced, _ := order(b.kind, l.kind); raced {
				return true
			}
		}
	}
	return false
}

// reverseLater makes sure that what comes after the state is also explored before
// node d, as reverse does. Steps between that do not depend on d can begin; else
// any task that the later step depends on.
func (x *explorer) reverseLater(d, k int, l *later) {
	for x.stack[d].enabled == nil {
		d--
	}
	r := race{node: d}
	dn := x.number(x.stack[d].task)
	seen := map[uint64]int{}
	for j := d + 1; j < k; j++ {
		nd := &x.stack[j]
		if nd.knows(dn) > d {
			continue
		}
		if _, again := seen[nd.task]; again {
			continue
		}
		initial := true
		for t, at := range seen { // order: all of them are asked
			initial = initial && nd.knows(x.numbers[t]) <= at
		}
		seen[nd.task] = j
		if initial {
			r.first = append(r.first, nd.task)
		}
	}
	if len(r.first) == 0 {
		r.all = true
		for t, n := range x.numbers { // order: sorted below
			if l.deps>>n&1 != 0 {
				r.first = append(r.first, t)
			}
		}
		slices.Sort(r.first)
	}
	x.add(r)
}
