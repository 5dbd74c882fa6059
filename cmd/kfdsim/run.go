// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/traces"
)

// runner is one invocation of run.
type runner struct {
	judging
	o        model.Options
	schedule string // file, if one was named
	file     string // where a counterexample goes, if one was asked for

	results []*model.Result
}

// runVerb runs every trace on every design.
func runVerb(c *command, f *flags, args []string) int {
	r := &runner{judging: newJudging(c, "run")}
	design := f.String("design", "", designUsage)
	var seed optionalUint
	f.Var(&seed, "seed", "run a random interleaving, which this `number` decides, instead of recorded order")
	f.IntVar(&r.o.PCT, "pct", 0, "make the interleaving of -seed one with few switches: probabilistic concurrency testing of this `depth`")
	f.StringVar(&r.schedule, "schedule", "", "run the interleaving that a `file` carries, and its design if -design names none")
	f.Var((*lineSpan)(&r.o.Lines), "lines", "interleave only the lines `A-B`, the rest in recorded order")
	f.BoolVar(&r.asJSON, "json", false, "print one JSON document instead of reports and verdicts")
	f.StringVar(&r.file, "o", "", "write the interleaving that broke a property, with its trace and design, to a `file` that run replays")
	args, status, done := f.parse(args)
	if done {
		return status
	}
	if err := r.order(seed); err != nil {
		return f.misused("%v", err)
	}
	forget, status, done := r.prepare(f, *design, args)
	defer forget()
	switch {
	case done:
		return status
	case r.file != "" && len(r.ins)*len(r.designsFor()) > 1:
		return f.misused("-o takes the interleaving of one trace on one design")
	}
	if err := resultFile(r.file, r.ins); err != nil {
		return f.misused("%v", err)
	}
	r.o.Record = r.file != ""
	if err := r.loadSchedule(); err != nil {
		c.badInput("run", err)
		return exitUsage
	}
	r.lines = r.o.Lines
	finished := r.each(r.one)
	if !r.badInput || len(r.results) > 0 {
		r.end()
	}
	return finish(&r.judging, finished, r.results)
}

// deepestPCT is the largest depth of -pct: no race needs as many orderings.
const deepestPCT = 1000

// order takes the flags that name an interleaving, or says what is wrong with them.
func (r *runner) order(seed optionalUint) error {
	switch {
	case r.o.PCT < 0 || r.o.PCT > deepestPCT || r.o.PCT > 0 && seed.n == nil:
		return fmt.Errorf("-pct is a depth from 1 to %d, for -seed", deepestPCT)
	case seed.n != nil && r.schedule != "":
		return errors.New("-seed and -schedule are two interleavings")
	}
	r.o.Seed = seed.n
	return nil
}

// loadSchedule reads the file of -schedule.
func (r *runner) loadSchedule() error {
	if r.schedule == "" {
		return nil
	}
	in := input{name: r.schedule, path: r.schedule}
	tr, err := in.load()
	if err != nil {
		return err
	}
	r.o.Follow = &tr.Directives.Counterexample
	if r.o.Follow.Schedule == nil {
		return &traces.Error{File: r.schedule, Line: 1, Col: 1, What: "no schedule", Why: "explore and shrink write files that have one"}
	}
	if r.designs == nil && r.o.Follow.Design != "" {
		r.designs, err = designsOf(r.o.Follow.Design)
	}
	return err
}

// one runs a trace on a design and prints the report.
func (r *runner) one(in *input, tr *traces.Trace, design string) error {
	o := r.o
	o.Design = design
	var res *model.Result
	var err error
	if !r.c.await(func() { res, err = model.Run(tr, o) }) {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	r.results = append(r.results, res)
	if r.file != "" && res.Verdict != "ok" && !res.Unsupported() {
		if _, err := in.counterexample(r.file, res.Counterexample(o.Lines)); err != nil {
			return err
		}
	}
	if !r.asJSON {
		r.report(in, res)
		r.out.Flush()
	}
	return nil
}

// report prints one report.
func (r *runner) report(in *input, res *model.Result) {
	writeReport(r.out, res, res.Excerpt())
	if res.Verdict == "ok" || res.Verdict == "unsupported" {
		fmt.Fprintln(r.out)
		return
	}
	path, err := in.keep()
	if err != nil {
		r.c.complain("run: the trace cannot be kept for a replay: %v", err)
		path = in.name
	}
	words := []string{"-design", res.Design}
	if res.Seed != nil {
		words = append(words, "-seed", strconv.FormatUint(*res.Seed, 10))
	}
	if r.o.PCT > 0 {
		words = append(words, "-pct", strconv.Itoa(r.o.PCT))
	}
	if r.o.Lines != (traces.LineSpan{}) {
		words = append(words, "-lines", r.o.Lines.String())
	}
	if r.schedule != "" {
		words = append(words, "-schedule", r.schedule)
	}
	fmt.Fprintf(r.out, "\nTo replay: %s\n", r.c.command(path, append([]string{"run"}, words...)...))
	fmt.Fprintf(r.out, "To shrink: %s\n\n", r.c.command(path, append([]string{"shrink"}, words...)...))
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
