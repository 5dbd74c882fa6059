// SPDX-License-Identifier: MIT

package sim

import "slices"

// Guide is the chooser of one execution of an exploration: it follows a list of
// choices to its end, goes on in its own way, and writes down every step with
// what it touched.
//
// Its own way is to let a task run until it blocks, then the one with the lowest
// line, kernel tasks after them and sleepers last: the order that a person
// expects, and the fewest preemptions.
//
// Nothing is written down before two tasks can run for the first time, unless calls
// may fail, nor after the driver has taken the chooser away: there is nothing to
// choose.
type Guide struct {
	prefix []choice
	// sleep is what need not run at the step from, the last of the prefix that a
	// task begins.
	sleep  []sleeper
	from   int
	faults int // how many allocations may still fail
	// stacks are of the goroutine that executes.
	stacks *Coroutines
	// order is who runs after the prefix as long as that is possible: to come to
	// what the prefix was made for.
	order []uint64
	// known says whether a state was explored, by whoever is asleep now at most.
	known func(state uint64, asleep []sleeper) bool

	steps    []step
	accesses []access
	enabled  []uint64 // keys, by step
	wakes    []wake
	woken    []wake // tasks that have not run since
	disabled []wake // tasks that a step kept from running
	waiting  []step // what tasks still waited to do at the end
	asleep   []sleeper
	started  bool
	open     bool   // a step is under way
	blocked  bool   // ended because everything that could run was asleep
	broken   bool   // the prefix did not fit
	cutAt    uint64 // ended at this state, which is known; 0 if not
	marks    Marks  // where it has come to

	preemptions int

	seeded  *Seeded           // its own way, if not nil
	classes map[uint64]string // of the objects, if not nil
}

// choice is one element of a schedule: the task that performs a step, or the
// branch that a step takes.
type choice struct {
	task   uint64 // key
	branch int8   // -1: none
}

// step is a node of the exploration and what was done there.
type step struct {
	choice
	name        string // of the task
	enabled     [2]int32
	accesses    [2]int32
	wakes       [2]int32
	cur         uint64 // the task that could have gone on, 0 if none
	preemptions int    // before the step
	state       uint64 // where the step began, if every task rested there, else 0
	woken       []wake // then: who had been woken and had not run
	asleep      []sleeper
	marks       Marks
}

// access is an Access that outlives its run.
type access struct {
	object, lo, hi uint64
	kind           Kind
}

// wake says that a step made a task runnable.
type wake struct {
	task uint64
	by   int32 // step
}

// sleeper is a task whose next step was explored already from an equivalent
// state, and what that step touched.
type sleeper struct {
	task     uint64
	accesses []access
}

func (a access) conflicts(b access) bool {
	return a.object == b.object && !a.kind.commutes(b.kind) && a.lo < b.hi && b.lo < a.hi
}

// Again returns a guide for one more run of the execution that g has guided.
func (g *Guide) Again() *Guide {
	again := &Guide{faults: g.faults}
	for i := range g.steps {
		again.prefix = append(again.prefix, g.steps[i].choice)
		if g.steps[i].branch > 0 {
			again.faults++
		}
	}
	return again
}

// Coroutines returns what a run under g may use and leave for the next one.
func (g *Guide) Coroutines() *Coroutines { return g.stacks }

// ended says whether the execution went to its end, and not only to where the rest
// was explored already.
func (g *Guide) ended() bool { return !g.blocked && g.cutAt == 0 }

// Preemptive is true.
func (g *Guide) Preemptive() bool { return true }

// Next follows the prefix, then its own way among the tasks that are not asleep.
func (g *Guide) Next(s *Sim, cur *Task, can []*Task) *Task {
	g.endStep()
	g.marks = s.marks
	if !g.started && len(can) == 1 && g.faults == 0 {
		return can[0]
	}
	g.started = true
	at := len(g.steps)
	if at == g.from {
		g.asleep = append(g.asleep[:0], g.sleep...)
	}
	var t *Task
	state := uint64(0)
	if at < len(g.prefix) {
		t = find(can, g.prefix[at].task)
		if t == nil || g.prefix[at].branch >= 0 {
			g.broken = true
			return nil
		}
	} else if g.known != nil {
		if state = s.restState(); state != 0 {
			state = mix(state + uint64(g.faults))
		}
	}
	lo := int32(len(g.enabled))
	for _, x := range can {
		g.enabled = append(g.enabled, x.key)
	}
	if state != 0 && g.known(state, g.asleep) {
		g.compare(lo, can)
		g.cutAt = state
		return nil
	}
	if t == nil {
		if t = g.inOrder(can); t == nil {
			t = g.ownWay(cur, can)
		}
		if t == nil {
			g.blocked = true
			return nil
		}
	}
	g.compare(lo, can)
	st := step{choice: choice{t.key, -1}, name: t.name, enabled: [2]int32{lo, int32(len(g.enabled))}, preemptions: g.preemptions, state: state}
	if state != 0 {
		st.woken, st.asleep, st.marks = slices.Clone(g.woken), slices.Clone(g.asleep), s.marks
	}
	if cur != nil {
		st.cur = cur.key
		if cur != t {
			g.preemptions++
		}
	}
	g.steps = append(g.steps, st)
	return t
}

func find(can []*Task, key uint64) *Task {
	for _, t := range can {
		if t.key == key {
			return t
		}
	}
	return nil
}

// inOrder picks the next one of order, nil where that has become impossible.
func (g *Guide) inOrder(can []*Task) *Task {
	if len(g.order) == 0 {
		return nil
	}
	t := find(can, g.order[0])
	if g.order = g.order[1:]; t == nil || g.isAsleep(t.key) {
		g.order = nil
		return nil
	}
	return t
}

// ownWay picks a task that is not asleep, nil if there is none.
func (g *Guide) ownWay(cur *Task, can []*Task) *Task {
	if g.seeded != nil {
		return g.seeded.Next(nil, cur, can)
	}
	if cur != nil && !g.isAsleep(cur.key) {
		return cur
	}
	var best *Task
	for _, t := range can {
		if g.isAsleep(t.key) {
			continue
		}
		if best == nil || before(t, best) {
			best = t
		}
	}
	return best
}

// compare looks at what the last step changed in who can run; the keys of those
// that can begin at lo. Whoever could not and now can waited for that step, unless
// it waits for a lock: that is seen at the lock. Whoever could and now cannot
// might have run in its place.
func (g *Guide) compare(lo int32, can []*Task) {
	last := len(g.steps) - 1
	if last < 0 {
		return
	}
	s := &g.steps[g.base(last)]
	could, now := g.enabled[s.enabled[0]:s.enabled[1]], g.enabled[lo:]
	for i, k := range now {
		if k != s.task && can[i].want == nil && !slices.Contains(could, k) {
			g.woken = append(g.woken, wake{k, int32(last)})
		}
	}
	for _, k := range could {
		if k != s.task && !slices.Contains(now, k) {
			g.disabled = append(g.disabled, wake{k, int32(last)})
		}
	}
}

// before ranks tasks as recorded order does: lines, kernel tasks, sleepers.
func before(a, b *Task) bool {
	if ra, rb := a.state == stateRunnable, b.state == stateRunnable; ra != rb {
		return ra
	}
	return a.Order < b.Order || a.Order == b.Order && a.wake < b.wake
}

func (g *Guide) isAsleep(key uint64) bool {
	for i := range g.asleep {
		if g.asleep[i].task == key {
			return true
		}
	}
	return false
}

// start opens the step that Next has chosen.
func (g *Guide) start(t *Task) {
	if !g.started {
		return
	}
	if len(g.steps) == 0 || g.steps[len(g.steps)-1].task != t.key {
		panic("BUG: a step that nobody chose")
	}
	s := &g.steps[len(g.steps)-1]
	s.accesses = [2]int32{int32(len(g.accesses)), int32(len(g.accesses))}
	s.wakes[0] = int32(len(g.wakes))
	keep := g.woken[:0]
	for _, w := range g.woken {
		if w.task == t.key {
			g.wakes = append(g.wakes, w)
		} else {
			keep = append(keep, w)
		}
	}
	g.woken = keep
	s.wakes[1] = int32(len(g.wakes))
	g.open = true
	if t.pending.Object != nil {
		g.touch(t.pending)
	}
}

// touch adds an access to the open step.
func (g *Guide) touch(a Access) {
	if !g.open {
		return
	}
	if g.classes != nil {
		g.classes[a.Object.id] = a.Object.class
	}
	x := access{a.Object.id, a.Lo, a.Hi, a.Kind}
	s := &g.steps[len(g.steps)-1]
	for k := len(g.accesses) - 1; k >= int(s.accesses[0]) && k >= len(g.accesses)-8; k-- {
		if g.accesses[k] == x {
			return
		}
	}
	g.accesses = append(g.accesses, x)
}

// wake notes that the open step made t runnable.
func (g *Guide) wake(t *Task) {
	if g.open {
		g.woken = append(g.woken, wake{t.key, int32(len(g.steps) - 1)})
	}
}

// endStep closes the open step: what conflicts with it wakes up.
func (g *Guide) endStep() {
	if !g.open {
		return
	}
	g.open = false
	last := len(g.steps) - 1
	g.steps[last].accesses[1] = int32(len(g.accesses))
	if len(g.asleep) == 0 {
		return
	}
	first := g.base(last)
	touched := g.accesses[g.steps[first].accesses[0]:]
	keep := g.asleep[:0]
	for _, z := range g.asleep {
		if z.task != g.steps[last].task && !conflict(z.accesses, touched) {
			keep = append(keep, z)
		}
	}
	g.asleep = keep
}

// end closes the last step of an execution: nobody can run any more, or what is
// left was explored already. What tasks still wait for may have been there before.
func (g *Guide) end(s *Sim) {
	g.marks = s.marks
	if g.open {
		g.endStep()
		g.compare(int32(len(g.enabled)), nil)
	} else if !g.blocked {
		return
	}
	for _, t := range s.tasks {
		if t.state != stateRunnable || t.pending.Object == nil || !t.waits() {
			continue
		}
		lo, n := int32(len(g.accesses)), int32(len(g.wakes))
		a := t.pending
		g.accesses = append(g.accesses, access{a.Object.id, a.Lo, a.Hi, a.Kind})
		g.waiting = append(g.waiting, step{choice: choice{t.key, -1}, accesses: [2]int32{lo, lo + 1}, wakes: [2]int32{n, n}})
	}
}

// base returns the step that step i is a part of: branches divide it.
func (g *Guide) base(i int) int {
	for g.steps[i].branch >= 0 {
		i--
	}
	return i
}

func (g *Guide) touched(s *step) []access { return g.accesses[s.accesses[0]:s.accesses[1]] }

func conflict(a, b []access) bool {
	for i := range a {
		for j := range b {
			if a[i].conflicts(b[j]) {
				return true
			}
		}
	}
	return false
}

// branch takes one of two ways in the middle of a step; 0 is the usual one, and
// the other may be taken as often as the exploration allows.
func (g *Guide) branch(t *Task) int {
	if !g.open || g.faults == 0 {
		return 0
	}
	end := int32(len(g.accesses))
	g.steps[len(g.steps)-1].accesses[1] = end
	at, b := len(g.steps), int8(0)
	if at < len(g.prefix) {
		if b = g.prefix[at].branch; b < 0 {
			g.broken, b = true, 0
		}
	}
	n := int32(len(g.wakes))
	g.steps = append(g.steps, step{choice: choice{t.key, b}, name: t.name, accesses: [2]int32{end, end}, wakes: [2]int32{n, n}})
	if b != 0 {
		g.faults--
	}
	return int(b)
}

// MayFail says whether something that usually works fails here: a choice of the
// exploration.
func (t *Task) MayFail() bool {
	s := t.sim
	fails := s.guide != nil && s.guide.branch(t) != 0
	if c, ok := s.chooser.(*Replay); ok {
		fails = c.mayFail()
	}
	if s.rec != nil {
		s.rec.mayFail(fails)
	}
	return fails
}
