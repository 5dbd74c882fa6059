// SPDX-License-Identifier: MIT

package sim

import "container/heap"

// timer is a task's pending deadline.
type timer struct {
	at    Time
	seq   uint64 // order of arming, breaks ties
	index int    // in the heap, counted from 1; 0 = not armed
	fired bool
}

type timerHeap []*Task

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	a, b := &h[i].timer, &h[j].timer
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer.index, h[j].timer.index = i+1, j+1
}
func (h *timerHeap) Push(x any) {
	t := x.(*Task)
	*h = append(*h, t)
	t.timer.index = len(*h)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	t.timer.index = 0
	return t
}

func (s *Sim) addTimer(t *Task, at Time) {
	if t.timer.index != 0 {
		panic("BUG: task has a timer already")
	}
	s.tmSeq++
	t.timer = timer{at: at, seq: s.tmSeq}
	heap.Push(&s.timers, t)
}

func (s *Sim) cancelTimer(t *Task) {
	if t.timer.index != 0 {
		heap.Remove(&s.timers, t.timer.index-1)
	}
}

// fire makes t runnable by its deadline and moves the clock there.
func (s *Sim) fire(t *Task) {
	heap.Remove(&s.timers, t.timer.index-1)
	if t.timer.at > s.now {
		s.now = t.timer.at
	}
	t.timer.fired = true
	if others := s.steps - t.steps; t.lap != others {
		t.lap, t.laps = others, 0
	}
	t.laps++
	if q := t.queue; q != nil {
		t.touch(&q.obj, 0, 1, KindWrite)
		q.remove(t)
	}
	s.makeRunnable(t)
}

func (s *Sim) fireNext() { s.fire(s.timers[0]) }

// Sleep blocks the task for d of virtual time, or until it is killed.
//
// Kernel: schedule_timeout_killable.
func (t *Task) Sleep(d Time) {
	if t.atomic|t.nonBlock != 0 {
		t.MightSleep("schedule_timeout")
	}
	if t.Killed() {
		return
	}
	t.sim.addTimer(t, t.sim.now+d)
	t.killable = true
	t.pending = Access{&t.signal, 0, 1, KindRead}
	t.block()
	t.pending = Access{}
	t.killable = false
	t.timer.fired = false
	t.stopIfFailed()
}
