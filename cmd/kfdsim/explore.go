// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/traces"
)

// mostWorkers is how many executions are made at a time at most: each has a
// goroutine and a queue of its own.
const mostWorkers = 64

// explorer is one invocation of explore.
type explorer struct {
	judging
	o      model.ExploreOptions
	budget time.Duration
	file   string // where a counterexample goes, if one was asked for

	found []*model.Exploration
}

// exploreVerb explores every trace on every design.
func exploreVerb(c *command, f *flags, args []string) int {
	x := &explorer{judging: newJudging(c, "explore")}
	design := f.String("design", "", designUsage)
	var bound optionalUint
	f.Var(&bound, "bound", "explore interleavings with at most this `number` of preemptions")
	f.DurationVar(&x.budget, "budget", time.Minute, "stop the exploration of a trace on a design after this `time`, as 30s, but not before its first execution (0: no limit)")
	f.IntVar(&x.o.Workers, "workers", 0, "run this `number` of executions at a time; it changes nothing but the time (0: one for each processor; at most 64)")
	f.IntVar(&x.o.Faults, "faults", 0, "let up to this `number` of allocations and DMA mappings of the driver fail in an execution")
	f.Var((*lineSpan)(&x.o.Lines), "lines", "interleave only the lines `A-B`, the rest in recorded order")
	f.BoolVar(&x.asJSON, "json", false, "print one JSON document instead of reports and verdicts")
	f.StringVar(&x.file, "o", "", "write the interleaving that broke a property, with its trace and design, to a `file` that run replays")
	args, status, done := f.parse(args)
	switch {
	case done:
		return status
	case x.o.Workers < 0 || x.o.Faults < 0 || x.budget < 0:
		return f.misused("-workers, -faults and -budget are at least 0")
	case bound.n != nil && *bound.n > 1<<30:
		return f.misused("-bound: %d preemptions are no bound", *bound.n)
	case bound.n != nil:
		x.o.Bounded, x.o.Bound = true, int(*bound.n)
	}
	if x.o.Workers == 0 {
		x.o.Workers = runtime.GOMAXPROCS(0)
	}
	x.o.Workers = min(x.o.Workers, mostWorkers)
	forget, status, done := x.prepare(f, *design, args)
	defer forget()
	switch {
	case done:
		return status
	case x.file != "" && len(x.ins)*len(x.designsFor()) > 1:
		return f.misused("-o takes the interleaving of one trace on one design")
	}
	if err := resultFile(x.file, x.ins); err != nil {
		return f.misused("%v", err)
	}
	x.lines = x.o.Lines
	finished := x.each(x.one)
	if !x.badInput || len(x.found) > 0 {
		x.end()
	}
	return finish(&x.judging, finished, x.found)
}

// stopAfter returns a function that says, asked before every execution, when a
// budget is used up or Ctrl-C came; no budget is 0. A budget leaves time for the
// first execution, however small it is.
func (c *command) stopAfter(budget time.Duration) func() bool {
	end := time.Now().Add(budget)
	first := true
	return func() bool {
		if c.interruptedNow() {
			return true
		}
		late := !first && budget > 0 && time.Now().After(end)
		first = false
		return late
	}
}

// interruptedNow says whether Ctrl-C came.
func (c *command) interruptedNow() bool {
	select {
	case <-c.interrupt:
		return true
	default:
		return false
	}
}

// one explores a trace on a design and prints the report. Ctrl-C ends the
// exploration; what it knows by then is printed, too.
func (x *explorer) one(in *input, tr *traces.Trace, design string) error {
	o := x.o
	o.Design = design
	o.Stop = x.c.stopAfter(x.budget)
	e, err := model.Explore(tr, o)
	if err != nil {
		return err
	}
	x.found = append(x.found, e)
	path := ""
	if e.Failed != nil {
		if path, err = in.counterexample(x.file, e.Failed.Counterexample(o.Lines)); err != nil {
			return err
		}
	}
	if !x.asJSON {
		writeExploration(x.out, e, o.Lines)
		if path != "" {
			fmt.Fprintf(x.out, "\nTo replay: %s\n", x.c.command(path, "run"))
			fmt.Fprintf(x.out, "To shrink: %s\n", x.c.command(path, "shrink"))
		}
		fmt.Fprintln(x.out)
		x.out.Flush()
	}
	if x.c.interruptedNow() {
		return errInterrupted
	}
	return nil
}

// writeExploration prints what an exploration says.
func writeExploration(w io.Writer, e *model.Exploration, lines traces.LineSpan) {
	fmt.Fprintf(w, lineFormat, "trace", e.Trace)
	fmt.Fprintf(w, lineFormat, "hash", e.Hash)
	fmt.Fprintf(w, lineFormat, "design", e.Design)
	if lines == (traces.LineSpan{}) {
		fmt.Fprintf(w, lineFormat, "seed", "none (every interleaving)")
	} else {
		fmt.Fprintf(w, lineFormat, "seed", "none (every interleaving of lines "+lines.String()+")")
	}
	writeVerdict(w, e.Verdict, e.Want)
	fmt.Fprintf(w, lineFormat, "extent", e.Extent)
	fmt.Fprintf(w, lineFormat, "executions", e.Executions)
	fmt.Fprintf(w, lineFormat, "redundant", e.Redundant)
	fmt.Fprintf(w, lineFormat, "known", e.Known)
	fmt.Fprintf(w, lineFormat, "states", e.States)
	fmt.Fprintf(w, lineFormat, "deepest", fmt.Sprintf("%d steps", e.Deepest))
	fmt.Fprintf(w, lineFormat, "windows", orDash(strings.Join(e.Marks, ", ")))
	switch {
	case e.Failed != nil:
		writeFailure(w, e.Failed, e.Failed.Excerpt())
	case e.Verdict != "ok":
		fmt.Fprintf(w, "\n%s: %s\n", e.Verdict, e.Reason)
	}
}

// end prints what comes after the reports.
func (x *explorer) end() {
	if x.asJSON {
		if err := writeExplorations(x.out, x.found); err != nil {
			x.bad(err)
		}
		return
	}
	for _, e := range x.found {
		fmt.Fprintf(x.out, "%s\t%s\t%s\t%s\n", e.Verdict, e.Design, e.Trace, e.Extent)
	}
}
