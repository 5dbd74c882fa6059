// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/traces"
)

// shrinkVerb makes a failing trace and its interleaving small.
func shrinkVerb(c *command, f *flags, args []string) int {
	r := &runner{judging: newJudging(c, "shrink")}
	var o model.ShrinkOptions
	design := f.String("design", "", "`design` that fails (default batch, or what the trace names)")
	var seed optionalUint
	f.Var(&seed, "seed", "the interleaving that fails is the random one of this `number`")
	f.IntVar(&r.o.PCT, "pct", 0, "of this `depth`, as for run")
	f.StringVar(&r.schedule, "schedule", "", "the interleaving that fails is the one that a `file` carries")
	f.Var((*lineSpan)(&r.o.Lines), "lines", "only the lines `A-B` interleave")
	f.IntVar(&o.Faults, "faults", 0, "let up to this `number` of allocations and DMA mappings of the driver fail in an execution")
	f.StringVar(&r.file, "o", "", "write the result to a `file`, and the report to standard output")
	args, status, done := f.parse(args)
	if done {
		return status
	}
	if err := r.order(seed); err != nil {
		return f.misused("%v", err)
	}
	if o.Faults < 0 {
		return f.misused("-faults is at least 0")
	}
	forget, status, done := r.prepare(f, *design, args)
	defer forget()
	switch {
	case done:
		return status
	case len(r.ins) > 1 || len(r.designsFor()) > 1:
		return f.misused("it takes one trace and one design")
	}
	if err := resultFile(r.file, r.ins); err != nil {
		return f.misused("%v", err)
	}
	if err := r.loadSchedule(); err != nil {
		return c.unusable("shrink", err)
	}
	o.Options = r.o
	o.Design = r.designsFor()[0]
	o.Stop = c.stopAfter(0)
	return r.shrink(&r.ins[0], o)
}

// shrink shrinks one trace and prints what comes of it.
func (r *runner) shrink(in *input, o model.ShrinkOptions) int {
	text, err := in.text()
	var least *model.Shrunk
	if err == nil && o.Lines != (traces.LineSpan{}) {
		var tr *traces.Trace
		if tr, err = in.load(); err == nil {
			err = selects(o.Lines, tr)
		}
	}
	if err == nil {
		least, err = model.Shrink(in.name, text, o)
	}
	switch {
	case errors.Is(err, model.ErrNothingToShrink) && r.c.interruptedNow():
		return r.c.interrupted("shrink") // before all that may fail was tried
	case errors.Is(err, model.ErrNothingToShrink):
		r.c.complain("shrink: %v", err)
		return exitFailed
	case err != nil:
		return r.c.unusable("shrink", err)
	}
	r.c.complain("shrink: %s", summary(least))
	if r.file == "" {
		_, err = r.c.stdout.Write(least.Text)
	} else if err = os.WriteFile(r.file, least.Text, 0o644); err == nil {
		least.Result.Trace = r.file
		writeReport(r.out, least.Result, least.Result.Excerpt())
		fmt.Fprintf(r.out, "\nTo replay: %s\n", r.c.command(r.file, "run"))
		fmt.Fprintf(r.out, "To shrink: %s\n\n", r.c.command(r.file, "shrink"))
		fmt.Fprintf(r.out, "%s\t%s\t%s\n", least.Result.Verdict, least.Result.Design, r.file)
		err = r.out.Flush()
	}
	switch {
	case err != nil:
		return r.c.unusable("shrink", err)
	case least.Stopped:
		return r.c.interrupted("shrink")
	}
	return exitOK
}

// summary says what shrinking came to.
func summary(s *model.Shrunk) string {
	order := fmt.Sprintf("an interleaving with %d preemptions", s.Preemptions)
	switch {
	case s.Preemptions < 0:
		order = "the interleaving that was given"
	case s.Result.Schedule.Len() == 0:
		order = "recorded order"
	}
	return fmt.Sprintf("%d lines act, in %s; %d smaller traces were tried", s.Result.Counts.Lines, order, s.Tried)
}
