// SPDX-License-Identifier: MIT

package sim

import "testing"

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
