// SPDX-License-Identifier: MIT

package sim

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var (
	fnEnter = NewFunc("enter", "who")
	fnLeave = NewFunc("leave", "who")
)

func class(name string) *LockClass { return NewLockClass(name) }

// inOrder returns a chooser for each kind, so that a test holds for both.
func choosers(seed uint64) map[string]Chooser {
	return map[string]Chooser{"recorded order": RecordedOrder{}, "seeded random": NewSeeded(seed)}
}

func TestMutexExcludes(t *testing.T) {
	for name, c := range choosers(7) {
		s := New(Options{Chooser: c})
		var m Mutex
		m.Init(s, class("m"))
		inside, most := 0, 0
		for i := 0; i < 5; i++ {
			s.Go(fmt.Sprint("t", i), func(t *Task) {
				for k := 0; k < 10; k++ {
					m.Lock(t)
					inside++
					most = max(most, inside)
					t.Point()
					inside--
					m.Unlock(t)
				}
			})
		}
		require.Equal(t, Quiescent, s.Run(), name)
		require.Equal(t, 1, most, name)
	}
}

func TestReadersShareAndWritersExclude(t *testing.T) {
	for seed := uint64(1); seed < 50; seed++ {
		s := New(Options{Chooser: NewSeeded(seed)})
		var m RWSem
		m.Init(s, class("rw"))
		readers, writers, shared := 0, 0, false
		body := func(write bool) func(*Task) {
			return func(t *Task) {
				for k := 0; k < 5; k++ {
					if write {
						m.Lock(t)
						writers++
						if writers != 1 || readers != 0 {
							panic("BUG: writer is not alone")
						}
						t.Point()
						writers--
						m.Downgrade(t)
						readers++
						t.Point()
						readers--
						m.RUnlock(t)
						continue
					}
					m.RLock(t)
					readers++
					shared = shared || readers > 1
					if writers != 0 {
						panic("BUG: reader beside a writer")
					}
					t.Point()
					readers--
					m.RUnlock(t)
				}
			}
		}
		for i := 0; i < 4; i++ {
			s.Go(fmt.Sprint("t", i), body(i == 0))
		}
		require.Equal(t, Quiescent, s.Run())
		require.True(t, shared, "readers never met")
	}
}

func TestDelayedWorkRunsOnceForEachQueueingAndNeverTwiceAtATime(t *testing.T) {
	s := New(Options{})
	var w DelayedWork
	runs, inside := 0, 0
	var at []Time
	w.Init(s, "worker", func(t *Task) {
		inside++
		if inside > 1 {
			panic("BUG: two instances")
		}
		runs++
		at = append(at, s.Now())
		if runs == 1 {
			w.Queue(t, 2*Millisecond) // requeue from inside
		}
		t.Point()
		inside--
	})
	s.Go("main", func(t *Task) {
		require.True(t2(t), w.Queue(t, Millisecond))
		require.False(t2(t), w.Queue(t, 0), "pending already")
		t.Sleep(10 * Millisecond)
		w.Queue(t, Millisecond)
	})
	require.Equal(t, Quiescent, s.Run())
	require.Equal(t, []Time{Millisecond, 3 * Millisecond, 11 * Millisecond}, at)
}

// t2 lets require report from inside a task: a failure panics out of Run.
func t2(*Task) require.TestingT { return panics{} }

type panics struct{}

func (panics) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (panics) FailNow()                  { panic("failed") }

func TestCancelSyncWaitsForTheRunningInstance(t *testing.T) {
	s := New(Options{})
	var w DelayedWork
	done := false
	w.Init(s, "worker", func(t *Task) {
		t.Sleep(5 * Millisecond)
		done = true
	})
	s.Go("main", func(t *Task) {
		w.Queue(t, 0)
		t.Sleep(Millisecond)
		w.CancelSync(t)
		require.True(t2(t), done)
		w.Queue(t, Millisecond)
		done = false
		w.CancelSync(t)
		t.Sleep(20 * Millisecond)
		require.False(t2(t), done, "cancelled before it began")
	})
	require.Equal(t, Quiescent, s.Run())
}

func TestVirtualTimeMovesOnlyWhenNothingCanRun(t *testing.T) {
	s := New(Options{})
	var at []Time
	s.Go("sleeper", func(t *Task) { t.Sleep(3 * Millisecond); at = append(at, s.Now()) })
	s.Go("busy", func(t *Task) {
		for i := 0; i < 1000; i++ {
			t.Point()
		}
		at = append(at, s.Now())
	})
	require.Equal(t, Quiescent, s.Run())
	require.Equal(t, []Time{0, 3 * Millisecond}, at)
}

func TestLockdep(t *testing.T) {
	a, b := class("A"), class("B")
	cases := map[string]struct {
		body     func(s *Sim) func(*Task)
		property string
	}{
		"an order that is kept is no misuse": {func(s *Sim) func(*Task) {
			var x, y Mutex
			x.Init(s, a)
			y.Init(s, b)
			return func(t *Task) {
				for i := 0; i < 3; i++ {
					x.Lock(t)
					y.Lock(t)
					y.Unlock(t)
					x.Unlock(t)
				}
			}
		}, ""},
		"the reverse order is a possible deadlock, though none happened": {func(s *Sim) func(*Task) {
			var x, y Mutex
			x.Init(s, a)
			y.Init(s, b)
			return func(t *Task) {
				x.Lock(t)
				y.Lock(t)
				y.Unlock(t)
				x.Unlock(t)
				y.Lock(t)
				x.Lock(t)
			}
		}, "lock-order"},
		"a lock taken twice": {func(s *Sim) func(*Task) {
			var x Mutex
			x.Init(s, a)
			return func(t *Task) { x.Lock(t); x.Lock(t) }
		}, "lockdep"},
		"an unlock by a task that is not the owner": {func(s *Sim) func(*Task) {
			var x Mutex
			x.Init(s, a)
			return func(t *Task) { x.Unlock(t) }
		}, "lockdep"},
		"a mutex under a spinlock": {func(s *Sim) func(*Task) {
			var x Spinlock
			var y Mutex
			x.Init(s, a)
			y.Init(s, b)
			return func(t *Task) { x.Lock(t); y.Lock(t) }
		}, "might-sleep"},
		"a mutex in a non-blockable section": {func(s *Sim) func(*Task) {
			var y Mutex
			y.Init(s, b)
			return func(t *Task) { t.StartNonBlock(); y.Lock(t) }
		}, "might-sleep"},
		"a task that ends with a lock held": {func(s *Sim) func(*Task) {
			var y Mutex
			y.Init(s, b)
			return func(t *Task) { y.Lock(t) }
		}, "lockdep"},
	}
	for name, c := range cases {
		s := New(Options{})
		s.Go("task", c.body(s))
		st := s.Run()
		s.Close()
		if c.property == "" {
			require.Equal(t, Quiescent, st, name)
			continue
		}
		require.Equal(t, Failed, st, name)
		require.Equal(t, "misuse", s.Failure().Verdict, name)
		require.Equal(t, c.property, s.Failure().Property, name)
	}
}

func TestDeadlockLeavesTheTasksBlocked(t *testing.T) {
	s := New(Options{})
	var q WaitQueue
	q.Init(s, "never")
	s.Go("waiter", func(t *Task) { q.Sleep(t) })
	s.GoDaemon("daemon", func(t *Task) { q.Sleep(t) })
	require.Equal(t, Blocked, s.Run())
	require.Len(t, s.BlockedTasks(), 1)
	s.Close()
}

func TestKillEndsAKillableSleep(t *testing.T) {
	s := New(Options{})
	var q WaitQueue
	q.Init(s, "never")
	woke := false
	w := s.Go("waiter", func(t *Task) {
		for !t.Killed() {
			q.SleepKillable(t)
		}
		woke = true
	})
	s.Go("killer", func(t *Task) { t.Sleep(Millisecond); w.Kill() })
	require.Equal(t, Quiescent, s.Run())
	require.True(t, woke)
	require.False(t, q.Waiting())
}

// program is a random mix of everything that tasks do, for determinism.
func program(s *Sim, tasks, steps int, seed uint64) {
	var m Mutex
	var q WaitQueue
	var w DelayedWork
	m.Init(s, class("m"))
	q.Init(s, "q")
	w.Init(s, "work", func(t *Task) { t.Log(fnEnter, 99, 0, 0); t.Point(); q.WakeAll(t) })
	for i := 0; i < tasks; i++ {
		r := NewSeeded(seed + uint64(i))
		s.Go(fmt.Sprint("t", i), func(t *Task) {
			for k := 0; k < steps; k++ {
				switch r.next() % 5 {
				case 0:
					m.Lock(t)
					t.Log(fnEnter, uint64(i), 0, 0)
					t.Point()
					t.Log(fnLeave, uint64(i), 0, 0)
					m.Unlock(t)
				case 1:
					t.Sleep(Time(r.next()%3) * Millisecond)
				case 2:
					w.Queue(t, Millisecond)
				case 3:
					q.WakeAll(t)
				case 4:
					t.Log(fnLeave, uint64(k), 0, 0)
					t.Point()
				}
			}
		})
	}
}

func TestSameSeedGivesTheSameHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		var first uint64
		for i := 0; i < 3; i++ {
			s := New(Options{Chooser: NewSeeded(seed)})
			program(s, 4, 20, seed)
			s.Run()
			fp := s.History().Fingerprint()
			if i == 0 {
				first = fp
			}
			require.Equal(t, first, fp)
			s.Close()
		}
	})
}

func TestOtherSeedsGiveOtherHistories(t *testing.T) {
	seen := map[uint64]bool{}
	for seed := uint64(0); seed < 100; seed++ {
		s := New(Options{Chooser: NewSeeded(seed)})
		program(s, 4, 20, 1)
		s.Run()
		seen[s.History().Fingerprint()] = true
		s.Close()
	}
	require.Greater(t, len(seen), 90)
}

func TestRecordedOrderRunsTheLowestLineFirstAndKernelTasksLast(t *testing.T) {
	s := New(Options{})
	var order []string
	s.GoDaemon("kernel", func(t *Task) { order = append(order, "kernel") })
	for _, line := range []uint64{30, 10, 20} {
		t := s.Go(fmt.Sprint(line), func(t *Task) { order = append(order, t.Name()) })
		t.Order = line
	}
	s.Run()
	require.Equal(t, []string{"10", "20", "30", "kernel"}, order)
}

func TestCloseUnwindsEveryTask(t *testing.T) {
	s := New(Options{Chooser: NewSeeded(3)})
	var q WaitQueue
	q.Init(s, "q")
	for i := 0; i < 10; i++ {
		s.Go("t", func(t *Task) { t.Point(); q.Sleep(t) })
	}
	s.Run()
	s.Close()
	require.Empty(t, s.tasks)
}

func TestHistoryKeepsTheLastEventsInOrder(t *testing.T) {
	s := New(Options{Keep: 8})
	s.Go("t", func(t *Task) {
		for i := uint64(0); i < 20; i++ {
			t.Log(fnEnter, i, 0, 0)
		}
	})
	s.Run()
	tail := s.History().Tail(5)
	require.Len(t, tail, 5)
	require.Equal(t, "enter(who=0x13)", tail[4].String())
	require.Equal(t, uint64(15), tail[0].Step)
	require.Equal(t, uint64(20), s.History().Len())
}

func TestConflictingAccesses(t *testing.T) {
	var o, p Object
	cases := map[string]struct {
		a, b Access
		want bool
	}{
		"two reads commute":            {Access{&o, 0, 4, KindRead}, Access{&o, 0, 4, KindRead}, false},
		"a write and a read of it":     {Access{&o, 0, 4, KindWrite}, Access{&o, 3, 5, KindRead}, true},
		"disjoint parts commute":       {Access{&o, 0, 4, KindWrite}, Access{&o, 4, 5, KindWrite}, false},
		"other objects commute":        {Access{&o, 0, 4, KindWrite}, Access{&p, 0, 4, KindWrite}, false},
		"a point that touches nothing": {Access{}, Access{&p, 0, 4, KindWrite}, false},
	}
	for name, c := range cases {
		require.Equal(t, c.want, c.a.Conflicts(c.b), name)
		require.Equal(t, c.want, c.b.Conflicts(c.a), name)
	}
}
