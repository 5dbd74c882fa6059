// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// assignLives decides which task performs which op. A label names one task from
// its creation to its end; after that a clone may return the same label for
// another one. The k-th clone that returns a label makes its k-th life.
func (r *runner) assignLives() {
	ops := r.tr.Ops
	r.owner = make([]int32, len(ops))
	r.child = make([]int32, len(ops))
	r.applied = make([]bool, len(ops))
	type label struct {
		lives []int32
		cur   int  // index of the life that acts now
		ended bool // its end was seen
		made  int  // clones that returned the label so far
	}
	labels := map[int]*label{}
	get := func(tid int) *label {
		l := labels[tid]
		if l == nil {
			l = &label{}
			labels[tid] = l
		}
		return l
	}
	life := func(l *label, k, tid int) int32 {
		for len(l.lives) <= k {
			l.lives = append(l.lives, int32(len(r.lives)))
			r.lives = append(r.lives, &thread{r: r, tid: tid, life: len(r.lives)})
		}
		return l.lives[k]
	}
	first := get(r.tr.FirstTID)
	life(first, 0, r.tr.FirstTID)
	first.made = 1
	for i := range ops {
		op := &ops[i]
		l := get(op.TID)
		if l.ended && op.Call != traces.CallExited && op.Call != traces.CallKilled {
			l.cur, l.ended = l.cur+1, false
		}
		r.owner[i] = life(l, l.cur, op.TID)
		r.child[i] = -1
		switch op.Call {
		case traces.CallExited, traces.CallKilled:
			l.ended = true
		case traces.CallSuperseded:
			// The thread that called execve goes on under this label.
			by := get(int(op.A[0]))
			t := life(by, by.cur, int(op.A[0]))
			by.ended = true
			l.lives = append(l.lives[:l.cur+1], t)
			l.cur++
		case traces.CallClone:
			if tid := childLabel(op); tid > 0 {
				c := get(tid)
				r.child[i] = life(c, c.made, tid)
				c.made++
			}
		}
		if !r.recorded && op.Call != traces.CallResume {
			th := r.lives[r.owner[i]]
			th.queue = append(th.queue, int32(i))
		}
	}
}

// childLabel returns the label of the task that a clone created, 0 if none.
func childLabel(op *traces.Op) int {
	switch op.Result.Kind {
	case traces.ResultOK, traces.ResultUnknown:
		return int(op.Result.Val)
	}
	return 0
}

// next returns the op that the thread performs now, -1 when it has none left.
// Between its lines a thread waits for its turn.
func (th *thread) next(t *sim.Task) int {
	r := th.r
	for {
		if th.dead || t.Killed() || r.err != nil || r.unsupported != "" {
			return -1
		}
		th.at = -1
		if len(th.queue) > 0 {
			i := th.queue[0]
			t.Order = uint64(r.tr.Ops[i].Line)
			if t.Preemptive() {
				t.Rest(t.Point)
				if t.Killed() {
					return -1
				}
			}
			th.queue, th.at = th.queue[1:], int(i)
			r.progress()
			return int(i)
		}
		if r.recorded && r.active == th {
			if r.dispatch() && len(th.queue) > 0 {
				continue
			}
			if r.openWindow() {
				t.Point()
				continue
			}
		}
		if th.killed() {
			return -1
		}
		t.StartDaemonWait()
		th.idle = true
		t.Rest(t.Park)
		th.idle = false
		t.EndDaemonWait()
	}
}

// dispatch hands the next line of the trace to its task; false when none is left.
func (r *runner) dispatch() bool {
	for {
		i := r.nextLine()
		if i < 0 {
			return false
		}
		th := r.lives[r.owner[i]]
		if th.dead {
			continue
		}
		if th.task == nil {
			// Its clone did not happen in the model: the difference is noted there.
			continue
		}
		th.queue = append(th.queue, int32(i))
		r.active = th
		r.progress()
		if th.idle {
			th.task.Unpark()
		}
		return true
	}
}

// nextLine returns the op that acts next in recorded order, -1 at the end. A call
// that strace printed in two parts acts at its second part, or before the first
// line that needs it.
func (r *runner) nextLine() int {
	for r.cursor < len(r.tr.Ops) {
		i := r.cursor
		op := &r.tr.Ops[i]
		if r.window.awaits(op.Line) {
			return -1
		}
		if op.Phase == traces.Unfinished && op.Call != traces.CallResume && r.waits(op) {
			r.pending = append(r.pending, int32(i))
			r.cursor++
			continue
		}
		if op.Call == traces.CallResume {
			r.cursor++
			if r.applied[op.Ref] {
				continue
			}
			r.take(op.Ref)
			return int(op.Ref)
		}
		if len(r.pending) > 0 {
			if p := r.neededBy(op); p >= 0 {
				r.take(p)
				return int(p)
			}
		}
		r.cursor++
		return i
	}
	return -1
}

// waits says whether an unfinished call may act later than its first line. One
// that never returns acts at once.
func (r *runner) waits(op *traces.Op) bool {
	switch op.Call {
	case traces.CallExit, traces.CallExitGroup:
		return false
	}
	return true
}

// take notes that an unfinished call acts now.
func (r *runner) take(i int32) {
	r.applied[i] = true
	for k, p := range r.pending {
		if p == i {
			r.pending = append(r.pending[:k], r.pending[k+1:]...)
			return
		}
	}
}

// onIdle is asked when nothing can run and no time would help: hand out lines,
// then kill what lives, then end.
func (r *runner) onIdle() bool {
	if r.err != nil || r.unsupported != "" {
		return false
	}
	r.closeWindow()
	if r.recorded && r.phase == phaseLines {
		for r.dispatch() {
			if !r.active.task.Blocked() {
				return true // else its earlier call has not returned
			}
		}
		if r.openWindow() {
			return true
		}
	}
	switch r.phase {
	case phaseLines:
		r.phase, r.marks = phaseSettled, r.s.Marks()
		// What is left is the same whatever came before it, so it has one order.
		r.s.SetChooser(sim.RecordedOrder{})
		r.settled()
		return r.s.Failure() == nil && r.killAll()
	case phaseSettled:
		r.phase = phaseKilled
		r.stillBlocked()
	}
	return false
}

// killAll kills every process that lives and says whether there was one.
func (r *runner) killAll() bool {
	any := false
	for _, th := range r.lives {
		if th.task != nil && !th.dead {
			th.kill()
			any = true
		}
	}
	return any
}

// onAdvance is asked before time moves on. Waiting is in vain once the state
// repeats itself.
func (r *runner) onAdvance() bool {
	return !r.lasso.repeats(r)
}
