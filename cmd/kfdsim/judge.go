// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"fmt"
	"slices"
	"strings"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/traces"
)

// designUsage is the help of -design.
const designUsage = "`designs`, separated by commas; all means the correct ones; batch+D3 is one with a defect (list defects), v2-D2 one without (default batch, or what the trace names)"

// judging is one invocation of a verb that judges traces on designs.
type judging struct {
	c      *command
	verb   string
	out    *bufio.Writer
	asJSON bool
	// designs are those that were asked for; none: what each trace names, or batch.
	designs []string
	// lines are those that -lines names; the zero value if it was left out.
	lines traces.LineSpan

	ins      []input
	done     int // pairs of trace and design
	badInput bool
}

func newJudging(c *command, verb string) judging {
	return judging{c: c, verb: verb, out: bufio.NewWriter(c.stdout)}
}

// designsOf returns the designs of a flag, each once.
func designsOf(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	var names []string
	for _, n := range strings.Split(list, ",") {
		if n == "all" {
			for _, d := range model.Designs() {
				names = append(names, d.Name)
			}
			continue
		}
		d, err := model.FindDesign(n)
		if err != nil {
			return nil, err
		}
		names = append(names, d.Name)
	}
	var once []string
	for _, n := range names {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	return once, nil
}

// designsFor returns the designs on which a trace is judged; an empty name is the
// trace's own.
func (j *judging) designsFor() []string {
	if j.designs == nil {
		return []string{""}
	}
	return j.designs
}

// prepare reads the names of designs and traces. When done is true the verb ends
// with status. The caller calls forget in the end.
func (j *judging) prepare(f *flags, designs string, args []string) (forget func(), status int, done bool) {
	forget = func() {}
	if len(args) == 0 {
		return forget, f.misused("no trace"), true
	}
	var err error
	if j.designs, err = designsOf(designs); err != nil {
		return forget, f.misused("%v", err), true
	}
	if j.ins, forget, err = j.c.inputs(args); err != nil {
		return forget, j.c.unusable(j.verb, err), true
	}
	return forget, exitOK, false
}

// each judges every trace on every design; all input is checked before anything
// runs. one returns what went wrong with the trace. False at Ctrl-C.
func (j *judging) each(one func(in *input, tr *traces.Trace, design string) error) bool {
	if len(j.ins) > 1 {
		for i := range j.ins {
			var err error
			if !j.c.await(func() { err = j.ins[i].check() }) {
				return false
			}
			j.bad(err)
		}
	}
	if j.badInput {
		return true
	}
	for i := range j.ins {
		var tr *traces.Trace
		var err error
		if !j.c.await(func() { tr, err = j.ins[i].load() }) {
			return false
		}
		if err == nil {
			err = selects(j.lines, tr)
		}
		if j.bad(err) {
			continue
		}
		j.warnUnknown(tr)
		for _, d := range j.designsFor() {
			if err = one(&j.ins[i], tr, d); err == errInterrupted {
				return false
			}
			if j.bad(err) {
				break // what the trace asks for cannot be performed, whatever the design
			}
			j.done++
		}
	}
	return true
}

// selects says, in an error, that a span holds no line of a trace that acts.
func selects(lines traces.LineSpan, tr *traces.Trace) error {
	if lines == (traces.LineSpan{}) {
		return nil
	}
	for i := range tr.Ops {
		if lines.Holds(tr.Ops[i].Line) {
			return nil
		}
	}
	return fmt.Errorf("%s: -lines %s: no line there acts: the trace has %d lines", tr.Name, lines, tr.Lines)
}

// warnUnknown says which expectations no design will ever meet.
func (j *judging) warnUnknown(tr *traces.Trace) {
	for key, list := range [][]traces.Expectation{tr.Directives.Result, tr.Directives.Explore} {
		for _, e := range list {
			if _, err := model.FindDesign(e.Design); err != nil {
				j.c.complain("%s: %s: #: %s: names a design that is not known: %s", j.verb, tr.Name, []string{"result", "explore"}[key], e.Design)
			}
		}
	}
}

// bad notes an error of the input, if it is one.
func (j *judging) bad(err error) bool {
	if err == nil {
		return false
	}
	j.c.badInput(j.verb, err)
	j.badInput = true
	return true
}

// outcome is what a verb that judges has found about a trace and a design.
type outcome interface {
	OK() bool
	Unsupported() bool
}

// finish flushes what was printed and returns the exit status of all outcomes.
func finish[T outcome](j *judging, finished bool, all []T) int {
	if err := j.out.Flush(); err != nil {
		j.bad(err)
	}
	if !finished {
		j.c.complain("%s: interrupted: %d of %d runs were done", j.verb, j.done, len(j.ins)*len(j.designsFor()))
		return exitInterrupted
	}
	status := exitOK
	for _, x := range all {
		switch {
		case x.OK():
		case !x.Unsupported():
			status = exitFailed
		case status == exitOK:
			status = exitUnsupported
		}
	}
	if j.badInput {
		status = exitUsage
	}
	return status
}

// command returns a command line that a shell performs: the verb, its flags, and a
// trace.
func (c *command) command(path string, words ...string) string {
	if strings.HasPrefix(path, "-") {
		path = "./" + path
	}
	for i := range words {
		words[i] = shellWord(words[i])
	}
	return strings.Join(append(append([]string{c.self}, words...), shellWord(path)), " ")
}
