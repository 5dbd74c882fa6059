// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/traces"
)

// runner is one invocation of run.
type runner struct {
	c       *command
	out     *bufio.Writer
	asJSON  bool
	designs []string
	seed    *uint64

	ins      []input
	results  []*model.Result
	badInput bool
}

// runVerb runs every trace on every design.
func runVerb(c *command, f *flags, args []string) int {
	r := &runner{c: c, out: bufio.NewWriter(c.stdout)}
	design := f.String("design", "batch", "`designs` to run, separated by commas; all means the correct ones; batch+D3 is one with a defect (list defects), v2-D2 one without")
	var seed optionalUint
	f.Var(&seed, "seed", "run a random interleaving, which this `number` decides, instead of recorded order")
	f.BoolVar(&r.asJSON, "json", false, "print one JSON document instead of reports and verdicts")
	schedule := f.String("schedule", "", "run the interleaving of a `file` (not built yet)")
	args, status, done := f.parse(args)
	if done {
		return status
	}
	if *schedule != "" {
		c.complain("run: -schedule: not built yet")
		return exitUnsupported
	}
	if len(args) == 0 {
		return f.misused("no trace")
	}
	r.seed = seed.n
	var err error
	if r.designs, err = designsOf(*design); err != nil {
		return f.misused("%v", err)
	}
	ins, forget, err := c.inputs(args)
	defer forget()
	if err != nil {
		return c.unusable("run", err)
	}
	r.ins = ins
	return r.run()
}

// designsOf returns the designs of a flag, each once.
func designsOf(list string) ([]string, error) {
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

// run does what the flags ask for: all input is checked before anything runs.
func (r *runner) run() int {
	if len(r.ins) > 1 {
		for i := range r.ins {
			var err error
			if !r.c.await(func() { err = r.ins[i].check() }) {
				return r.c.interrupted("run")
			}
			r.bad(err)
		}
	}
	if r.badInput {
		return exitUsage
	}
	finished := r.runAll()
	if !r.badInput || len(r.results) > 0 {
		r.end()
	}
	if err := r.out.Flush(); err != nil {
		r.bad(err)
	}
	if !finished {
		r.c.complain("run: interrupted: %d of %d runs were done", len(r.results), len(r.ins)*len(r.designs))
		return exitInterrupted
	}
	return r.status()
}

// runAll makes every run and prints its report; false at Ctrl-C.
func (r *runner) runAll() bool {
	for i := range r.ins {
		var tr *traces.Trace
		var err error
		if !r.c.await(func() { tr, err = r.ins[i].load() }) {
			return false
		}
		if r.bad(err) {
			continue
		}
		r.warnUnknown(tr)
		for _, d := range r.designs {
			var res *model.Result
			if !r.c.await(func() { res, err = model.Run(tr, model.Options{Design: d, Seed: r.seed}) }) {
				return false
			}
			if r.bad(err) {
				break // what the trace asks for cannot be performed, whatever the design
			}
			r.results = append(r.results, res)
			if !r.asJSON {
				r.report(&r.ins[i], res)
				r.out.Flush()
			}
		}
	}
	return true
}

// warnUnknown says which expectations no design will ever meet.
func (r *runner) warnUnknown(tr *traces.Trace) {
	for _, e := range tr.Directives.Result {
		if _, err := model.FindDesign(e.Design); err != nil {
			r.c.complain("run: %s: #: result: names a design that is not known: %s", tr.Name, e.Design)
		}
	}
}

// bad notes an error of the input, if it is one.
func (r *runner) bad(err error) bool {
	if err == nil {
		return false
	}
	r.c.badInput("run", err)
	r.badInput = true
	return true
}

// report prints one report.
func (r *runner) report(in *input, res *model.Result) {
	writeReport(r.out, res, lastEvents(res))
	if res.Verdict == "ok" || res.Verdict == "unsupported" {
		fmt.Fprintln(r.out)
		return
	}
	path, err := in.keep()
	if err != nil {
		r.c.complain("run: the trace cannot be kept for a replay: %v", err)
		path = in.name
	}
	fmt.Fprintf(r.out, "\nTo replay: %s\n\n", r.replay(path, res))
}

// replay returns the command that makes the same run again.
func (r *runner) replay(path string, res *model.Result) string {
	words := []string{r.c.self, "run", "-design", res.Design}
	if res.Seed != nil {
		words = append(words, "-seed", fmt.Sprint(*res.Seed))
	}
	if strings.HasPrefix(path, "-") {
		path = "." + string(os.PathSeparator) + path
	}
	return strings.Join(append(words, shellWord(path)), " ")
}

// end prints what comes after the reports.
func (r *runner) end() {
	if r.asJSON {
		if err := writeDocument(r.out, r.results); err != nil {
			r.bad(err)
		}
		return
	}
	for _, res := range r.results {
		fmt.Fprintf(r.out, "%s\t%s\t%s\n", res.Verdict, res.Design, res.Trace)
	}
}

// status is the exit status of all runs together.
func (r *runner) status() int {
	status := exitOK
	for _, res := range r.results {
		switch {
		case res.OK():
		case !res.Unsupported():
			status = exitFailed
		case status == exitOK:
			status = exitUnsupported
		}
	}
	if r.badInput {
		status = exitUsage
	}
	return status
}
