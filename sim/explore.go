// SPDX-License-Identifier: MIT

package sim

import "slices"

// ExploreOptions say how far an exploration goes.
type ExploreOptions struct {
	// Bound is the most preemptions of one execution; negative: no bound.
	Bound int
	// Faults is how many of the calls of MayFail fail in one execution at most.
	Faults int
	// Workers is how many executions run at a time; 0 means 1. Their number
	// changes nothing but the time it takes.
	Workers int
	// NoStates leaves the cache of states out.
	NoStates bool
	// Stop is asked before every execution; true ends the exploration.
	Stop func() bool
}

// Exploration is what an exploration has done.
type Exploration struct {
	Executions uint64 // from the start to an end
	Redundant  uint64 // of them, given up because what is left was explored already
	Known      uint64 // of them, ended in a state that was explored already
	States     uint64 // nodes of the tree: points of choice or steps that no earlier execution went through
	Deepest    int    // steps of the longest execution
	Cached     uint64 // states in the cache, and the accesses kept with them
	Later      uint64
	Marks      Marks // that some execution came to
	Stopped    bool  // by Stop or by visit
	Cut        bool  // Bound kept it from a choice
}

// Complete says whether every order that matters was executed.
func (e *Exploration) Complete() bool { return !e.Stopped && !e.Cut }

// Explore executes a program in all orders that can differ in what they do. run
// makes the program with g as its chooser, runs it to its end, and returns what
// visit is to see; visit returns false to end the exploration. It does not see
// executions that were given up because their rest was explored already. run is
// called from several goroutines if there are several Workers, visit from the
// caller's, in an order that does not depend on their number.
func Explore(o ExploreOptions, run func(g *Guide) any, visit func(out any, g *Guide) bool) Exploration {
	x := &explorer{o: o, pool: newPool(o.Workers, run), numbers: map[uint64]int{}}
	x.states.m = map[uint64]*visited{}
	defer x.pool.close()
	for j := x.newJob(&Guide{}); j != nil; j = x.nextJob() {
		if o.Stop != nil && o.Stop() {
			x.done.Stopped = true
			break
		}
		x.pool.await(j)
		v := x.cut(j)
		x.account(j)
		if j.g.ended() && !visit(j.out, j.g) {
			x.done.Stopped = true
			break
		}
		x.extend(j)
		if v != nil {
			x.meet(v, j.woken)
		}
	}
	return x.done
}

// explorer is the search: a stack of nodes, the deepest last.
type explorer struct {
	o     ExploreOptions
	pool  *pool
	done  Exploration
	stack []node

	states  states
	numbers map[uint64]int // of tasks
}

// node is a point of choice on the way to the execution explored last.
type node struct {
	choice
	enabled  []uint64  // the tasks that could run; nil for a branch
	sleep    []sleeper // of them, those that need not
	touched  []access  // by the choice
	explored []sleeper // choices before this one
	todo     []todo    // choices after it
	// cur is the task that could have gone on, 0 if none; preempted counts the
	// preemptions before the node.
	cur       uint64
	preempted int
	// clock says by task number which steps happened before this one, or are it.
	clock []int32
	// state is not 0 where every task rested; then summary is what came after, and
	// woken who had been woken.
	state   uint64
	summary *summary
	woken   []wake
}

// todo is a choice that has to be explored.
type todo struct {
	choice
	order []uint64 // who is to run then
	job   *job     // under way, nil if not
}

func (x *explorer) bounded() bool { return x.o.Bound >= 0 }

func (x *explorer) newJob(g *Guide) *job {
	g.faults = x.o.Faults
	g.steps = make([]step, 0, x.done.Deepest+16)
	g.accesses = make([]access, 0, 2*x.done.Deepest)
	g.enabled = make([]uint64, 0, 4*x.done.Deepest)
	if x.caching() {
		g.known = x.states.known
	}
	return newJob(g)
}

func (x *explorer) caching() bool {
	return !x.o.NoStates && !x.bounded() && len(x.numbers) < maxTasks
}

// cut shortens an execution to where it came to a state that is known by now, and
// returns what is known of it.
func (x *explorer) cut(j *job) *visited {
	g := j.g
	for k := len(g.prefix); k < len(g.steps); k++ {
		s := &g.steps[k]
		if v := x.states.m[s.state]; v != nil && v.covers(s.asleep) {
			j.woken, g.cutAt = s.woken, s.state
			j.shorten(k)
			return v
		}
	}
	if g.cutAt != 0 {
		j.woken = g.woken
		return x.states.m[g.cutAt]
	}
	return nil
}

func (x *explorer) account(j *job) {
	if j.g.broken {
		panic("BUG: the same choices gave another execution")
	}
	x.done.Executions++
	x.done.Marks |= j.g.marks
	switch {
	case j.g.blocked:
		x.done.Redundant++
	case j.g.cutAt != 0:
		x.done.Known++
	}
	x.done.States += uint64(len(j.g.steps) - max(len(j.g.prefix)-1, 0))
	x.done.Deepest = max(x.done.Deepest, len(j.g.steps))
}

// extend puts the nodes of an execution on the stack and adds what its races ask
// for.
func (x *explorer) extend(j *job) {
	g := j.g
	for _, key := range j.columns {
		x.number(key)
	}
	if len(x.numbers) > maxTasks {
		x.o.NoStates, x.states.m = true, map[uint64]*visited{}
	}
	from := max(len(g.prefix)-1, 0)
	for k := from; k < len(g.steps); k++ {
		s := &g.steps[k]
		if k == len(x.stack) {
			x.push(g, k)
		}
		nd := &x.stack[k]
		nd.touched = slices.Clone(g.touched(s))
		nd.clock = make([]int32, len(x.numbers))
		for c, key := range j.columns {
			nd.clock[x.numbers[key]] = j.clocks[k][c]
		}
		if s.branch >= 0 {
			b := &x.stack[g.base(k)]
			b.touched = append(b.touched, nd.touched...)
		}
	}
	for _, r := range j.races {
		x.add(r)
	}
	x.note(j, from)
}

// add makes the tree have what a race asks for.
func (x *explorer) add(r race) {
	x.backtrack(r.node, r)
	if x.bounded() {
		// The bound may forbid the switch at the node itself; where its task was
		// chosen it may not.
		x.backtrack(x.startOfRun(r.node), r)
	}
}

// push adds the node of step k.
func (x *explorer) push(g *Guide, k int) {
	s := &g.steps[k]
	nd := node{choice: s.choice, cur: s.cur, preempted: s.preemptions}
	if s.branch >= 0 {
		nd.todo = []todo{{choice: choice{s.task, 1}}}
	} else {
		nd.enabled = slices.Clone(g.enabled[s.enabled[0]:s.enabled[1]])
		nd.sleep = x.sleepAt(g, k)
		if nd.state = s.state; nd.state != 0 {
			nd.summary, nd.woken = &summary{}, s.woken
		}
	}
	x.stack = append(x.stack, nd)
}

// sleepAt returns who is asleep at step k: who was asleep where the step before
// began, or was explored there, less the step's task and whatever conflicts with
// the step.
func (x *explorer) sleepAt(g *Guide, k int) []sleeper {
	if k == 0 || x.bounded() {
		return nil
	}
	b := g.base(k - 1)
	before := &x.stack[b]
	touched := g.accesses[g.steps[b].accesses[0]:g.steps[k-1].accesses[1]]
	var out []sleeper
	for _, list := range [2][]sleeper{before.sleep, before.explored} {
		for _, z := range list {
			if z.task != g.steps[b].task && !conflict(z.accesses, touched) {
				out = append(out, z)
			}
		}
	}
	return out
}

// startOfRun returns the node at which the task of node k was last chosen in
// place of another.
func (x *explorer) startOfRun(k int) int {
	for k > 0 && x.stack[k-1].task == x.stack[k].task {
		k--
	}
	return k
}

// backtrack makes sure that one of the tasks of a race (or all of them) is explored
// at node k, or whatever can run where none of them can.
func (x *explorer) backtrack(k int, r race) {
	nd := &x.stack[k]
	var can []uint64
	for _, t := range r.first {
		if !r.all && nd.has(t) {
			return
		}
		if slices.Contains(nd.enabled, t) {
			can = append(can, t)
		}
	}
	switch {
	case len(can) == 0:
		can = nd.enabled
	case !r.all:
		can = can[:1]
	}
	for _, t := range can {
		if !nd.has(t) {
			nd.todo = append(nd.todo, todo{choice: choice{t, -1}, order: without(r.order, t)})
		}
	}
}

// without returns order less the first t.
func without(order []uint64, t uint64) []uint64 {
	k := slices.Index(order, t)
	if k < 0 {
		return order
	}
	return append(slices.Clone(order[:k]), order[k+1:]...)
}

// has says whether the choice of t is explored, will be, or need not be.
func (nd *node) has(t uint64) bool {
	is := func(z sleeper) bool { return z.task == t }
	return nd.task == t || slices.ContainsFunc(nd.explored, is) || slices.ContainsFunc(nd.sleep, is) ||
		slices.ContainsFunc(nd.todo, func(d todo) bool { return d.task == t })
}

// nextJob takes the deepest choice that is left, nil at the end.
func (x *explorer) nextJob() *job {
	for len(x.stack) > 0 {
		k := len(x.stack) - 1
		nd := &x.stack[k]
		for len(nd.todo) > 0 {
			d := nd.todo[0]
			nd.todo = nd.todo[1:]
			if !x.within(nd, d.choice) {
				x.done.Cut = true
				continue
			}
			if d.job == nil {
				d.job = x.prepare(k, &d)
			}
			if d.branch < 0 {
				nd.explored = append(nd.explored, sleeper{nd.task, nd.touched})
			}
			nd.choice, nd.touched = d.choice, nil
			x.speculate()
			return d.job
		}
		x.leave(k)
		x.stack = x.stack[:k]
	}
	return nil
}

// within says whether the bound allows a choice.
func (x *explorer) within(nd *node, c choice) bool {
	return !x.bounded() || nd.cur == 0 || nd.cur == c.task || nd.preempted < x.o.Bound
}

// prepare makes the execution that takes choice d at node k, after the choice that
// the node has now.
func (x *explorer) prepare(k int, d *todo) *job {
	prefix := make([]choice, k+1)
	for i := range k {
		prefix[i] = x.stack[i].choice
	}
	prefix[k] = d.choice
	from := k
	for x.stack[from].enabled == nil {
		from--
	}
	var sleep []sleeper
	if b := &x.stack[from]; !x.bounded() {
		sleep = append(slices.Clone(b.sleep), b.explored...)
		if from == k {
			sleep = append(sleep, sleeper{b.task, b.touched})
		}
	}
	return x.newJob(&Guide{prefix: prefix, sleep: sleep, from: from, order: d.order})
}

// speculate starts executions that will be needed later, the next ones first. What
// they are to do is known already: the first choice left at a node stays its first,
// and who sleeps there then has been decided.
func (x *explorer) speculate() {
	for k := len(x.stack) - 1; k >= 0 && x.pool.wants(); k-- {
		nd := &x.stack[k]
		if len(nd.todo) == 0 || nd.touched == nil || nd.todo[0].job != nil || !x.within(nd, nd.todo[0].choice) || x.branchesBelow(k) {
			continue
		}
		j := x.prepare(k, &nd.todo[0])
		nd.todo[0].job = j
		x.pool.start(j)
	}
}

// branchesBelow says whether the step of node k can still take other branches.
func (x *explorer) branchesBelow(k int) bool {
	for k++; k < len(x.stack) && x.stack[k].enabled == nil; k++ {
		if len(x.stack[k].todo) > 0 {
			return true
		}
	}
	return false
}
