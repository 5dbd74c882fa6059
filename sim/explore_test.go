// SPDX-License-Identifier: MIT

package sim

import (
	"fmt"
	"hash/fnv"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// toy is a program of the smallest kind: what each task does, over two objects,
// two locks, a queue, a work item.
type toy [][]byte

// What the letters of a toy do. A read remembers what it read; a write leaves a
// value that no other write leaves.
//
//	r R   read object 0, 1          w W   write object 0, 1
//	l L   mutex lock, unlock        t     mutex trylock, and unlock if it was had
//	s S   rwsem read lock, unlock   x X   rwsem write lock, unlock
//	q e   wait until flag is set    g n   set flag and wake, clear flag
//	d     queue work that writes object 0
//	z     sleep                     k     kill the first task
//	f     a call that may fail      p     a point
//	u v   count object 1 up, down
type toyRun struct {
	s     *Sim
	obj   [2]Object
	val   [2]int
	m     Mutex
	rw    RWSem
	q     WaitQueue
	fobj  Object
	flag  bool
	work  DelayedWork
	saw   []string
	at    []int
	tasks []*Task
}

func runToy(p toy, c Chooser) *toyRun { return runToyOn(p, c, false) }

// runToyOn is runToy that writes down what the chooser decides if record is true.
func runToyOn(p toy, c Chooser, record bool) *toyRun {
	r := &toyRun{s: New(Options{Chooser: c}), saw: make([]string, len(p)), at: make([]int, len(p))}
	if record {
		r.s.Record()
	}
	r.obj[0].Init(r.s, "0")
	r.obj[1].Init(r.s, "1")
	r.m.Init(r.s, NewLockClass("m"))
	r.rw.Init(r.s, NewLockClass("rw"))
	r.q.Init(r.s, "q")
	r.fobj.Init(r.s, "flag")
	r.work.Init(r.s, "work", func(t *Task) {
		t.Write(&r.obj[0], 0, 1)
		r.val[0] = 100 + r.val[0]
	})
	for i, ops := range p {
		r.tasks = append(r.tasks, r.s.Go(fmt.Sprint(i), func(t *Task) {
			for k, op := range ops {
				r.at[i] = k
				if len(t.held) == 0 && t.Preemptive() {
					t.Rest(t.Point)
				}
				r.do(t, i, 10*(i+1)+k, op)
			}
		}))
	}
	r.s.State = r.state
	r.s.Run()
	return r
}

// state hashes all that decides what happens next, but for the tasks, and what
// was seen so far.
func (r *toyRun) state() uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, r.val, r.flag, r.saw, r.at, r.work.pending)
	return h.Sum64()
}

func (r *toyRun) do(t *Task, i, v int, op byte) {
	note := func(x any) { r.saw[i] += fmt.Sprint(x, " ") }
	switch op {
	case 'r', 'R':
		o := int(0)
		if op == 'R' {
			o = 1
		}
		t.Read(&r.obj[o], 0, 1)
		note(r.val[o])
	case 'w', 'W':
		o := 0
		if op == 'W' {
			o = 1
		}
		t.Write(&r.obj[o], 0, 1)
		r.val[o] = v
	case 'l':
		r.m.Lock(t)
	case 'L':
		r.m.Unlock(t)
	case 't':
		ok := r.m.TryLock(t)
		note(ok)
		if ok {
			t.Point()
			r.m.Unlock(t)
		}
	case 's':
		r.rw.RLock(t)
	case 'S':
		r.rw.RUnlock(t)
	case 'x':
		r.rw.Lock(t)
	case 'X':
		r.rw.Unlock(t)
	case 'e':
		r.q.WaitEventOn(t, Access{&r.fobj, 0, 1, KindRead}, func() bool { return r.flag })
		note("e")
	case 'n':
		t.Write(&r.fobj, 0, 1)
		r.flag = false
	case 'q':
		t.Read(&r.fobj, 0, 1)
		for !r.flag && !t.Killed() {
			r.q.SleepKillable(t)
		}
		t.Read(&r.fobj, 0, 1)
		note(r.flag)
	case 'g':
		t.Write(&r.fobj, 0, 1)
		r.flag = true
		r.q.WakeAll(t)
	case 'd':
		r.work.Queue(t, Millisecond)
	case 'z':
		t.Sleep(Millisecond)
	case 'k':
		t.Point()
		r.tasks[0].Kill()
		r.q.WakeAll(t)
	case 'f':
		t.Point()
		note(t.MayFail())
	case 'u', 'v':
		k, n := KindUp, 1
		if op == 'v' {
			k, n = KindDown, -1
		}
		t.point(Access{&r.obj[1], 0, 1, k})
		r.val[1] += n
	case 'p':
		t.Point()
	}
}

func (r *toyRun) outcome() string {
	out := fmt.Sprint(r.val, r.flag, " ", strings.Join(r.saw, "|"))
	for _, t := range r.s.BlockedTasks() {
		out += " blocked " + t.Name()
	}
	if f := r.s.Failure(); f != nil {
		out += " " + f.Title
	}
	r.s.Close()
	return out
}

// odometer enumerates all schedules, the dullest way there is.
type odometer struct {
	digits, base []int
	at           int
}

func (o *odometer) Preemptive() bool { return true }

func (o *odometer) Next(_ *Sim, _ *Task, can []*Task) *Task {
	if o.at == len(o.digits) {
		o.digits, o.base = append(o.digits, 0), append(o.base, len(can))
	}
	t := can[o.digits[o.at]]
	o.at++
	return t
}

// turn goes to the next schedule.
func (o *odometer) turn() bool {
	o.at = 0
	for k := len(o.digits) - 1; k >= 0; k-- {
		if o.digits[k]++; o.digits[k] < o.base[k] {
			o.digits, o.base = o.digits[:k+1], o.base[:k+1]
			return true
		}
	}
	return false
}

// bruteForce returns every outcome of a program, and nil when it has too many
// schedules for that.
func bruteForce(p toy, limit int) map[string]bool {
	out := map[string]bool{}
	o := &odometer{}
	for n := 0; n < limit; n++ {
		out[runToy(p, o).outcome()] = true
		if !o.turn() {
			return out
		}
	}
	return nil
}

func explored(p toy, o ExploreOptions) (map[string]bool, Exploration) {
	out := map[string]bool{}
	e := Explore(o, func(g *Guide) any { return runToy(p, g).outcome() },
		func(v any, _ *Guide) bool { out[v.(string)] = true; return true })
	return out, e
}

func keys(m map[string]bool) []string {
	var k []string
	for s := range m {
		k = append(k, s)
	}
	sort.Strings(k)
	return k
}

func (p toy) String() string {
	var s []string
	for _, t := range p {
		s = append(s, string(t))
	}
	return strings.Join(s, " ")
}

// sameAsBruteForce compares the outcomes, unless there are too many schedules to
// try them all.
func sameAsBruteForce(t require.TestingT, p toy) {
	want := bruteForce(p, 5_000)
	if want == nil {
		return
	}
	for _, noStates := range []bool{true, false} {
		got, e := explored(p, ExploreOptions{Bound: -1, NoStates: noStates})
		require.Equal(t, keys(want), keys(got), "%v: %+v", p, e)
		require.True(t, e.Complete())
	}
}

// forAll calls f with every program of n tasks of k steps.
func forAll(n, k int, f func(p toy)) {
	const letters = "rRwW"
	flat := make([]int, n*k)
	for {
		p := make(toy, n)
		for i, v := range flat {
			p[i/k] = append(p[i/k], letters[v])
		}
		canonical := p[0][0] == 'r' || p[0][0] == 'w' // the objects are alike, and the tasks
		for i := 1; i < n; i++ {
			canonical = canonical && string(p[i-1]) <= string(p[i])
		}
		if canonical {
			f(p)
		}
		i := len(flat) - 1
		for ; i >= 0; i-- {
			if flat[i]++; flat[i] < len(letters) {
				break
			}
			flat[i] = 0
		}
		if i < 0 {
			return
		}
	}
}

// interpret returns every outcome of a program of reads and writes: each order of
// its steps, without the package that is tested.
func interpret(p toy) map[string]bool {
	type state struct {
		at  [3]int
		val [2]int
		saw [3]string
	}
	seen, out := map[state]bool{}, map[string]bool{}
	var from func(s state)
	from = func(s state) {
		if seen[s] {
			return
		}
		seen[s] = true
		ended := true
		for i, ops := range p {
			if s.at[i] == len(ops) {
				continue
			}
			ended = false
			n, k := s, s.at[i]
			n.at[i]++
			switch o := strings.IndexByte("rRwW", ops[k]); {
			case o < 2:
				n.saw[i] += fmt.Sprint(s.val[o], " ")
			default:
				n.val[o-2] = 10*(i+1) + k
			}
			from(n)
		}
		if ended {
			out[fmt.Sprint(s.val, false, " ", strings.Join(s.saw[:len(p)], "|"))] = true
		}
	}
	from(state{})
	return out
}

func sameAsInterpreted(t require.TestingT, p toy) {
	got, e := explored(p, ExploreOptions{Bound: -1})
	want := interpret(p)
	if len(want) == len(got) {
		for o := range want {
			if !got[o] {
				break
			}
			delete(got, o)
		}
		if len(got) == 0 {
			return
		}
	}
	require.Equal(t, keys(want), keys(got), "%v: %+v", p, e)
}

// All programs of 3 tasks of 4 steps are 2.8 million, and thousands of executions
// each: those are drawn at random.
func TestExplorationFindsEveryOutcomeOfEverySmallProgram(t *testing.T) {
	steps := map[int]int{2: 4, 3: 2}
	if testing.Short() {
		steps = map[int]int{2: 3, 3: 1}
	}
	for tasks, most := range steps {
		for k := 1; k <= most; k++ {
			forAll(tasks, k, func(p toy) { sameAsInterpreted(t, p) })
		}
	}
}

func TestExplorationFindsEveryOutcomeOfProgramsOfThreeTasks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sameAsInterpreted(t, toy(rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom([]byte("rRwW")), 1, 4), 2, 3).Draw(t, "program")))
	})
}

// pieces are what random programs with locks, waits and delays are made of.
var pieces = []string{"r", "R", "w", "W", "p", "lwL", "lrL", "lrwL", "lL", "t", "srS", "sRS", "xwX", "xrWX", "q", "e", "g", "n", "ew", "erw", "gwn", "d", "z", "k", "lsrSL", "u", "v", "uv"}

func TestExplorationFindsEveryOutcomeOfProgramsWithLocksAndWaits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p toy
		for range rapid.IntRange(2, 3).Draw(t, "tasks") {
			p = append(p, []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 3).Draw(t, "pieces"), "")))
		}
		sameAsBruteForce(t, p)
	})
}

func TestExplorationFindsADeadlock(t *testing.T) {
	got, _ := explored(toy{[]byte("lwxWXL"), []byte("xWlwLX")}, ExploreOptions{Bound: -1})
	require.Contains(t, strings.Join(keys(got), "\n"), "possible circular locking dependency")
}

func TestStepsThatTouchDifferentThingsAreExploredOnce(t *testing.T) {
	_, e := explored(toy{[]byte("wwww"), []byte("WWWW")}, ExploreOptions{Bound: -1})
	require.EqualValues(t, 1, e.Executions)
	_, e = explored(toy{[]byte("rrrr"), []byte("rrrr"), []byte("rrrr")}, ExploreOptions{Bound: -1})
	require.EqualValues(t, 1, e.Executions)
}

func TestTwoWorkersDoWhatOneDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p toy
		for range rapid.IntRange(2, 3).Draw(t, "tasks") {
			p = append(p, []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(append(pieces, "f")), 1, 4).Draw(t, "pieces"), "")))
		}
		var order [2][]string
		var e [2]Exploration
		for k := range order {
			e[k] = Explore(ExploreOptions{Bound: -1, Faults: 1, Workers: 1 + 2*k},
				func(g *Guide) any { return runToy(p, g).outcome() },
				func(v any, _ *Guide) bool { order[k] = append(order[k], v.(string)); return len(order[k]) < 2000 })
		}
		require.Equal(t, e[0], e[1])
		require.Equal(t, order[0], order[1])
	})
}

func TestEveryCallThatMayFailFailsOnceInSomeExecution(t *testing.T) {
	got, _ := explored(toy{[]byte("fwf"), []byte("rfr")}, ExploreOptions{Bound: -1, Faults: 1})
	text := strings.Join(keys(got), "\n")
	require.Contains(t, text, "true false ")
	require.Contains(t, text, "false true ")
	require.NotContains(t, text, "true true ")
	got, _ = explored(toy{[]byte("fwf"), []byte("rfr")}, ExploreOptions{Bound: -1, Faults: 2})
	require.Contains(t, strings.Join(keys(got), "\n"), "true true ")
}

func TestABoundOnPreemptionsIsSaid(t *testing.T) {
	p := toy{[]byte("wrwr"), []byte("wrwr")}
	all, _ := explored(p, ExploreOptions{Bound: -1})
	var n []int
	for k := 0; ; k++ {
		some, e := explored(p, ExploreOptions{Bound: k})
		for o := range some {
			require.True(t, all[o])
		}
		n = append(n, len(some))
		if e.Complete() {
			require.Equal(t, keys(all), keys(some))
			break
		}
		require.True(t, e.Cut)
		require.Less(t, k, 10)
	}
	require.Greater(t, len(n), 2)
	require.IsIncreasing(t, n[:2])
}
