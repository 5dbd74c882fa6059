// SPDX-License-Identifier: MIT

package sim

import (
	"fmt"
	"strings"
)

// Replay is the chooser that follows a schedule.
type Replay struct {
	schedule *Schedule
	at       int    // element
	done     uint64 // steps of it
	steps    uint64 // of all
	calls    uint64 // of MayFail
	misfit   *Misfit
}

// NewReplay returns a chooser that follows c.
func NewReplay(c *Schedule) *Replay { return &Replay{schedule: c} }

// Misfit says why a schedule does not fit the run that follows it.
type Misfit struct {
	Step uint64 // counted from 1
	Why  string // with who was runnable
}

// Error says at which step, what was wanted, and who was runnable.
func (m *Misfit) Error() string { return fmt.Sprintf("step %d: %s", m.Step, m.Why) }

// Preemptive is true.
func (c *Replay) Preemptive() bool { return true }

// Next picks the task that the schedule names; nil, which ends the run, if that
// task cannot run, if others can run than when the schedule was made, or if it
// ends here.
func (c *Replay) Next(_ *Sim, _ *Task, can []*Task) *Task {
	c.steps++
	e := c.element()
	if e == nil {
		return c.fail(can, "the schedule ends here")
	}
	for _, t := range can {
		if t.scheduleName() != e.task {
			continue
		}
		if c.done == 0 && hashOfNames(can) != e.can {
			return c.fail(can, "%q is wanted, and others could run", e)
		}
		if c.done++; c.done == e.n {
			c.at, c.done = c.at+1, 0
		}
		return t
	}
	return c.fail(can, "%q is wanted, and cannot run", e)
}

// element returns the element that the present step belongs to, nil at the end.
func (c *Replay) element() *scheduleEntry {
	if c.at >= len(c.schedule.entries) || c.schedule.entries[c.at].task == "" {
		return nil
	}
	return &c.schedule.entries[c.at]
}

func (c *Replay) fail(can []*Task, format string, a ...any) *Task {
	names := make([]string, len(can))
	for i, t := range can {
		names[i] = t.scheduleName()
		if t.state != stateRunnable {
			names[i] += " (sleeping)"
		}
	}
	why := fmt.Sprintf(format, a...) + ": runnable are " + strings.Join(names, ", ")
	if at := c.at; at < len(c.schedule.entries) && c.schedule.entries[at].task == "" {
		why = fmt.Sprintf("%q is wanted, and nothing has failed: runnable are %s", &c.schedule.entries[at], strings.Join(names, ", "))
	}
	if c.misfit == nil {
		c.misfit = &Misfit{c.steps, why}
	}
	return nil
}

// mayFail says whether the present call of MayFail fails.
func (c *Replay) mayFail() bool {
	c.calls++
	if c.at < len(c.schedule.entries) {
		if e := &c.schedule.entries[c.at]; e.task == "" && e.n == c.calls {
			c.at++
			return true
		}
	}
	return false
}

// Misfit returns why the schedule did not fit the run, which has ended; nil if it
// did.
func (c *Replay) Misfit() *Misfit {
	if c.misfit == nil && c.at < len(c.schedule.entries) {
		return &Misfit{c.steps + 1, fmt.Sprintf("%q is wanted, and the run has ended", &c.schedule.entries[c.at])}
	}
	return c.misfit
}
