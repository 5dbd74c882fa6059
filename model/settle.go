// SPDX-License-Identifier: MIT

package model

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// settled judges the moment when every line has been performed and nothing
// moves: queues that are stopped now stay stopped, and a task that waits for the
// GPU waits for ever.
func (r *runner) settled() {
	for _, th := range r.lives {
		if th.task != nil && !th.dead && th.inKernel && th.task.Blocked() {
			r.stuck("a task waits for the GPU for ever", fmt.Sprintf("task %d is blocked", th.tid))
			return
		}
	}
	for _, p := range r.drv.Processes() {
		if p.Info == nil || p.Gone() || p.Info.EvictedBOs() == 0 {
			continue
		}
		why := "no restore is pending"
		if p.Info.RestorePending() {
			why = "the restore worker runs again and again without progress"
		}
		r.stuck("queues stay stopped: "+why, fmt.Sprintf("process %s, %d evictions not restored", p.MM.Name, p.Info.EvictedBOs()))
		return
	}
	r.chk.atRest()
}

// stillBlocked judges what has not died after everything was killed.
func (r *runner) stillBlocked() {
	for _, th := range r.lives {
		if th.task != nil && !th.dead {
			r.stuck("a killed task does not die", fmt.Sprintf("task %d is blocked holding %v", th.tid, th.task.HeldLocks()))
			return
		}
	}
}

func (r *runner) stuck(title, detail string) {
	r.s.Fail(sim.Failure{Verdict: "stuck", Property: "restore-ends", Title: title, Detail: detail})
}

// loopFinder finds a state that repeats while time passes and no line is
// performed: a loop without progress. It starts to look after a few steps of
// time, because nearly every wait ends before, and keeps one state to compare
// with, further and further apart (Brent's algorithm).
type loopFinder struct {
	steps, next int
	state       uint64
	found       bool
}

const lookAfter = 8

// patience is how many steps may pass under a preemptive chooser while no line is
// performed. A loop in which chance or an explorer goes on choosing need not come to
// the same state twice.
const patience = 1 << 19

// progress notes that a line is about to be performed.
func (r *runner) progress() {
	r.lasso = loopFinder{}
	r.s.SetPatience(patience)
}

// onLong goes on in recorded order, which is fair: what still loops then comes to a
// state that repeats. The run is one of all interleavings all the same.
func (r *runner) onLong() {
	r.impatient = true
	r.s.SetChooser(sim.RecordedOrder{})
}

// repeats says whether the state before this step of time has been seen before.
func (l *loopFinder) repeats(r *runner) bool {
	if l.found {
		return true
	}
	l.steps++
	if l.steps < lookAfter {
		return false
	}
	d := r.stateDigest()
	if l.next != 0 && d == l.state {
		l.found = true
		return true
	}
	if l.steps >= l.next {
		l.next, l.state = 2*l.steps, d
	}
	return false
}

// stateDigest hashes all that decides what happens next, except the time and which
// frame or swap slot a page has: where memory is short each pass finds others.
func (r *runner) stateDigest() uint64 {
	h := kfd.Mix(r.s.WaitDigest(), r.sys.Shape())
	return kfd.Mix(h, r.drv.Shape())
}
