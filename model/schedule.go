// SPDX-License-Identifier: MIT

package model

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// scheduleWidth is how wide the lines of a schedule are in a file.
const scheduleWidth = 100

// Counterexample returns the interleaving of a run that was recorded
// (Options.Record), as a file carries it behind the trace. In recorded order it has
// no schedule.
func (r *Result) Counterexample(lines traces.LineSpan) *traces.Counterexample {
	c := &traces.Counterexample{Design: r.Design, Lines: lines}
	if r.Schedule != nil {
		c.Schedule = r.Schedule.Lines(scheduleWidth)
	}
	return c
}

// follow runs the interleaving of o.Follow.
//
// Preconditions: o is resolved.
func follow(tr *traces.Trace, o Options) (*Result, error) {
	bad := func(what string, why error) error {
		return &traces.Error{File: cmp.Or(o.Follow.File, tr.Name), Line: max(o.Follow.Line, 1), Col: 1, What: what, Why: why.Error()}
	}
	schedule, err := sim.ParseSchedule(strings.Join(o.Follow.Schedule, " "))
	if err != nil {
		return nil, bad("bad schedule", err)
	}
	o.failing = schedule.Fails()
	c := sim.NewReplay(schedule)
	res, err := runOnce(tr, c, o)
	if err != nil {
		return nil, err
	}
	if m := c.Misfit(); m != nil && res.Failure == nil {
		return nil, bad("the schedule does not fit "+o.Design, m)
	}
	return res, nil
}

// wanted returns the verdict that a trace expects of a design, empty if it does not
// say.
func wanted(list []traces.Expectation, design string) string {
	for _, x := range list {
		if isNameOf(x.Design, design) {
			return x.Verdict
		}
	}
	return ""
}

// stated says whether a trace has a verdict for a design, in recorded order or over all
// interleavings: then it knows that one order need not enter its windows.
func stated(tr *traces.Trace, design string) bool {
	return wanted(tr.Directives.Result, design) != "" || wanted(tr.Directives.Explore, design) != ""
}

// unproven says why a verdict is.
func unproven(window string) string {
	return fmt.Sprintf("the race window %s, which the trace is about, was not entered", window)
}
