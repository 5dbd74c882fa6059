// SPDX-License-Identifier: MIT

package sim

import (
	"iter"
	"testing"
)

// BenchmarkBareSwitch is a coroutine switch and nothing else, to compare
// BenchmarkSwitch with.
func BenchmarkBareSwitch(b *testing.B) {
	next, stop := iter.Pull(func(yield func(struct{}) bool) {
		for yield(struct{}{}) {
		}
	})
	defer stop()
	for k := 0; k < b.N; k++ {
		next()
	}
}

// BenchmarkGuidedSwitch is a step of an exploration that changes the task, with
// labels, lockdep's lists and what the race finder needs.
func BenchmarkGuidedSwitch(b *testing.B) {
	b.ReportAllocs()
	for done := 0; done < b.N; done += 4000 {
		g := &Guide{}
		for range 1000 { // two tasks in turn
			g.prefix = append(g.prefix, choice{mix(1 << 32), -1}, choice{mix(2 << 32), -1}, choice{mix(1 << 32), -1}, choice{mix(2 << 32), -1})
		}
		s := New(Options{Chooser: g, Keep: 1})
		var o Object
		o.Init(s, "o")
		for range 2 {
			s.Go("t", func(t *Task) {
				for range 2000 {
					t.Write(&o, 0, 1)
				}
			})
		}
		s.Run()
		s.Close()
	}
}

// BenchmarkSwitch is what one change of task costs: two coroutine switches and
// the choice between them.
func BenchmarkSwitch(b *testing.B) {
	s := New(Options{Chooser: NewSeeded(1)})
	for i := 0; i < 4; i++ {
		s.Go("t", func(t *Task) {
			for k := 0; k < b.N/4; k++ {
				t.Point()
			}
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	s.Run()
}

// BenchmarkStep is a step of a random run as the model takes them: a lock with
// lockdep, a labelled access, an event of the history.
func BenchmarkStep(b *testing.B) {
	s := New(Options{Chooser: NewSeeded(1)})
	f := NewFunc("f", "a")
	var o Object
	var m Mutex
	o.Init(s, "o")
	m.Init(s, NewLockClass("m"))
	for range 4 {
		s.Go("t", func(t *Task) {
			for k := range b.N / 8 {
				m.Lock(t)
				t.Log(f, uint64(k), 0, 0)
				t.Write(&o, 0, 1)
				m.Unlock(t)
			}
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	s.Run()
}

// BenchmarkPoint is a scheduling point that nobody uses.
func BenchmarkPoint(b *testing.B) {
	s := New(Options{})
	var o Object
	o.Init(s, "o")
	s.Go("t", func(t *Task) {
		for k := 0; k < b.N; k++ {
			t.Write(&o, 0, 1)
		}
	})
	b.ReportAllocs()
	b.ResetTimer()
	s.Run()
}

// BenchmarkLock is an uncontended lock under another one, with lockdep.
func BenchmarkLock(b *testing.B) {
	s := New(Options{})
	var x, y Mutex
	x.Init(s, NewLockClass("x"))
	y.Init(s, NewLockClass("y"))
	s.Go("t", func(t *Task) {
		for k := 0; k < b.N; k++ {
			x.Lock(t)
			y.Lock(t)
			y.Unlock(t)
			x.Unlock(t)
		}
	})
	b.ReportAllocs()
	b.ResetTimer()
	s.Run()
}

// BenchmarkLog is one event of the history.
func BenchmarkLog(b *testing.B) {
	s := New(Options{})
	f := NewFunc("f", "a")
	s.Go("t", func(t *Task) {
		for k := 0; k < b.N; k++ {
			t.Log(f, uint64(k), 0, 0)
		}
	})
	b.ReportAllocs()
	b.ResetTimer()
	s.Run()
}
