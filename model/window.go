// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// lineWindow is the part of a trace whose lines interleave, where the rest acts in
// recorded order.
type lineWindow struct {
	span   traces.LineSpan
	inside sim.Chooser
	state  windowState
}

type windowState uint8

const (
	windowAhead windowState = iota
	windowOpen
	windowPast
)

// awaits says whether a line must wait until the window opens.
func (w *lineWindow) awaits(line int) bool {
	return w != nil && w.state == windowAhead && line >= w.span.First
}

// openWindow hands the lines of the window to their tasks, once everything before
// it has begun; false when it is not yet its turn. A call that began before the
// window and has not taken effect takes it there.
func (r *runner) openWindow() bool {
	w := r.window
	if r.cursor >= len(r.tr.Ops) || !w.awaits(r.tr.Ops[r.cursor].Line) {
		return false
	}
	w.state, r.recorded = windowOpen, false
	hand := func(i int32) {
		th := r.lives[r.owner[i]]
		th.queue = append(th.queue, i)
	}
	for _, i := range r.pending {
		r.applied[i] = true
		hand(i)
	}
	r.pending = r.pending[:0]
	for ; r.cursor < len(r.tr.Ops) && r.tr.Ops[r.cursor].Line <= w.span.Last; r.cursor++ {
		if op := &r.tr.Ops[r.cursor]; op.Call != traces.CallResume {
			r.applied[r.cursor] = true
			hand(int32(r.cursor))
		}
	}
	for _, th := range r.lives {
		if len(th.queue) > 0 && th.idle {
			th.task.Unpark()
		}
	}
	r.s.SetChooser(w.inside)
	return true
}

// closeWindow goes back to recorded order when nothing of the window can go on.
func (r *runner) closeWindow() {
	if w := r.window; w != nil && w.state == windowOpen {
		w.state, r.recorded = windowPast, true
		r.s.SetChooser(sim.RecordedOrder{})
	}
}
