// SPDX-License-Identifier: MIT

package sim

// race is a pair of steps that conflict, that nothing else orders, and whose
// other order has to be explored: at node, one of first must run, or whatever
// can where none of them can.
type race struct {
	node  int
	end   int // the later step
	first []uint64
	all   bool     // not one of first but all of them
	order []uint64 // the tasks of the steps that then come up to the later one
}

// raceFinder finds the races of an execution. Its fields are for reuse.
type raceFinder struct {
	g       *Guide
	steps   []step         // of g, and what still waited
	column  map[uint64]int // by task key
	width   int
	clocks  []int32           // by step and column: the last step of that task that happened before, plus 1
	last    []int             // by column: the task's latest step, -1
	past    map[uint64]*pasts // by object
	races   []race
	first   []int32 // by column, of initials
	initial []bool
}

// pasts are the accesses of one object, in order of their steps: all of them, and
// those that a read may conflict with.
type pasts struct{ all, writes []past }

// past is an access of an earlier step.
type past struct {
	access
	step int32
}

// find returns the races of g's steps, in order of the later step.
//
// Happened-before is program order, wake-ups, releases before acquisitions, and
// the order of conflicting accesses. Two conflicting steps race when nothing but
// their own conflict orders them. Of acquisitions of one lock the earlier one
// takes part in a race, not its release: while the lock is held the other task
// could not have run. In the same way what a task waited for hides no race of what
// it does first then: before that was taken away it could have run, too.
func (f *raceFinder) find(g *Guide) []race {
	f.g, f.races = g, nil
	f.steps = append(append(f.steps[:0], g.steps...), g.waiting...)
	f.columns()
	n := len(f.steps)
	f.clocks = resize(f.clocks, n*f.width)
	if f.past == nil {
		f.past = map[uint64]*pasts{}
	}
	clear(f.past)
	for i := range f.steps {
		f.step(i)
	}
	for _, w := range g.disabled {
		if int(w.by) >= len(g.prefix)-1 {
			f.races = append(f.races, race{node: g.base(int(w.by)), end: int(w.by), first: []uint64{w.task}})
		}
	}
	return f.races
}

// copy returns the tasks and the clocks of the steps found last.
func (f *raceFinder) copy() (columns []uint64, clocks [][]int32) {
	columns = make([]uint64, f.width)
	for key, c := range f.column { // order: each has its place
		columns[c] = key
	}
	all := append([]int32(nil), f.clocks...)
	for i := range f.steps {
		clocks = append(clocks, all[i*f.width:(i+1)*f.width])
	}
	return columns, clocks
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/2)
	}
	s = s[:n]
	clear(s)
	return s
}

// columns numbers the tasks.
func (f *raceFinder) columns() {
	if f.column == nil {
		f.column = map[uint64]int{}
	}
	clear(f.column)
	for i := range f.steps {
		k := f.steps[i].task
		if _, ok := f.column[k]; !ok {
			f.column[k] = len(f.column)
		}
	}
	f.width = len(f.column)
	f.last = resize(f.last, f.width)
	for i := range f.last {
		f.last[i] = -1
	}
	f.first = resize(f.first, f.width)
	f.initial = resize(f.initial, f.width)
}

func (f *raceFinder) clock(i int) []int32 { return f.clocks[i*f.width : (i+1)*f.width] }

func (f *raceFinder) col(i int) int { return f.column[f.steps[i].task] }

// step computes what happened before step i and the races that it ends.
func (f *raceFinder) step(i int) {
	g, s, c := f.g, &f.steps[i], f.clock(i)
	p := f.col(i)
	if f.last[p] >= 0 {
		copy(c, f.clock(f.last[p]))
	}
	var ends []int
	for _, a := range g.touched(s) {
		ends = f.against(i, a, c, ends)
	}
	for _, w := range g.wakes[s.wakes[0]:s.wakes[1]] {
		join(c, f.clock(int(w.by)))
	}
	c[p] = int32(i + 1)
	f.last[p] = i
	if i >= len(g.prefix)-1 { // else an earlier execution has had them
		for _, d := range ends {
			f.reverse(d, i)
		}
	}
	if i >= len(g.steps) {
		return // it never happened
	}
	for _, a := range g.touched(s) {
		l := f.past[a.object]
		if l == nil {
			l = &pasts{}
			f.past[a.object] = l
		}
		p := past{a, int32(i)}
		l.all = f.remember(l.all, p)
		if !a.kind.reads() {
			l.writes = f.remember(l.writes, p)
		}
	}
}

// alikeWithin is how far back remember looks.
const alikeWithin = 16

// remember appends an access. An earlier one of the same task that is alike goes: the
// later one happened after it, so that whatever is ordered with the later one, or
// races with it, is ordered with the earlier one.
func (f *raceFinder) remember(list []past, p past) []past {
	for k := len(list) - 1; k >= max(0, len(list)-alikeWithin); k-- {
		if list[k].access == p.access && f.steps[list[k].step].task == f.steps[p.step].task {
			list = append(list[:k], list[k+1:]...)
			break
		}
	}
	return append(list, p)
}

func join(to, from []int32) {
	for k, v := range from {
		to[k] = max(to[k], v)
	}
}

// order says how an earlier access b and a later access a that overlap are
// ordered: not at all, because they can be told apart (a race), or because one
// had to wait for the other.
func order(b, a Kind) (race, waits bool) {
	switch {
	case a.commutes(b):
		return false, false
	case b == KindRelease || b == KindReleaseRead:
		return a == KindTry, a == KindAcquire || a == KindAcquireRead
	case a == KindRelease || a == KindReleaseRead:
		return b == KindTry, false
	}
	return true, false
}

// against looks at the accesses before a of step i, latest first, adds their
// clocks to c, and appends to ends the steps that race with i.
func (f *raceFinder) against(i int, a access, c []int32, ends []int) []int {
	l := f.past[a.object]
	if l == nil {
		return ends
	}
	before := l.all
	if a.kind.reads() {
		before = l.writes
	}
	waited := false
	for k := len(before) - 1; k >= 0; k-- {
		b := &before[k]
		if !a.conflicts(b.access) {
			continue
		}
		raced, waits := order(b.kind, a.kind)
		waited = waited || waits
		if !raced {
			continue
		}
		d := int(b.step)
		if q := f.col(d); q != f.col(i) && c[q] <= b.step && !f.woke(d, i) {
			ends = append(ends, d)
		}
		join(c, f.clock(d))
		if !b.kind.commutes(b.kind) && b.lo <= a.lo && a.hi <= b.hi {
			break // what came before it happened before it
		}
	}
	if waited {
		for k := len(before) - 1; k >= 0; k-- {
			if _, waits := order(before[k].kind, a.kind); waits && a.conflicts(before[k].access) {
				join(c, f.clock(int(before[k].step)))
				if before[k].kind == KindRelease {
					break
				}
			}
		}
	}
	return ends
}

// woke says whether step i could not have run before step d.
func (f *raceFinder) woke(d, i int) bool {
	s := &f.steps[i]
	for _, w := range f.g.wakes[s.wakes[0]:s.wakes[1]] {
		if int(w.by) == d {
			return true
		}
	}
	return false
}

// reverse notes that step e must also be explored before step d. Which tasks could
// begin such an execution follows from the steps between that do not depend on d
// (the initials of source sets).
func (f *raceFinder) reverse(d, e int) {
	node := f.g.base(d)
	dc := f.col(node)
	for k := range f.first {
		f.first[k], f.initial[k] = -1, false
	}
	r := race{node: node, end: e}
	var order []int
	for j := node + 1; j <= e; j++ {
		c, q := f.clock(j), f.col(j)
		if j < e && c[dc] > int32(node) {
			continue
		}
		if f.steps[j].branch < 0 {
			r.order = append(r.order, f.steps[j].task)
		}
		if f.first[q] >= 0 {
			continue
		}
		f.initial[q] = true
		for r, at := range f.first {
			if at >= 0 && c[r] > at {
				f.initial[q] = false
			}
		}
		f.first[q] = int32(j)
		order = append(order, q)
	}
	for _, q := range order {
		if f.initial[q] {
			r.first = append(r.first, f.steps[f.first[q]].task)
		}
	}
	f.races = append(f.races, r)
}
