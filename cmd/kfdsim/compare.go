// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// comparer is one invocation of compare.
type comparer struct {
	judging
	asTSV   bool
	explore bool
	o       model.ExploreOptions
	budget  time.Duration

	cells []*cell
}

// cell is a trace on a design: one word, and what it cost.
type cell struct {
	Verdict string        `json:"verdict"`
	Design  string        `json:"design"`
	Trace   string        `json:"trace"`
	Extent  string        `json:"extent,omitempty"` // of an exploration
	Good    bool          `json:"ok"`
	Cannot  bool          `json:"-"`
	Counts  []countOfCell `json:"counts"`
}

// countOfCell is a counter and its value.
type countOfCell struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
}

// OK says whether it came out as it must.
func (c *cell) OK() bool { return c.Good }

// Unsupported says whether it could not be judged.
func (c *cell) Unsupported() bool { return c.Cannot }

// compareVerb judges traces on designs and prints a table.
func compareVerb(c *command, f *flags, args []string) int {
	live := newLivenessFlags(f)
	x := &comparer{judging: newJudging(c, "compare")}
	design := f.String("design", "", "`designs` to compare, separated by commas; all means the correct ones, as none does")
	f.BoolVar(&x.explore, "explore", false, "compare what all interleavings say, not recorded order")
	var bound optionalUint
	f.Var(&bound, "bound", "with -explore, interleavings with at most this `number` of preemptions")
	f.DurationVar(&x.budget, "budget", 0, "with -explore, stop each exploration after this `time`, as 30s, but not before its first execution (0: no limit)")
	args, status, done := f.parse(args)
	switch {
	case done:
		return status
	case live.on && len(args) > 0:
		return f.misused("-liveness takes no trace")
	case live.on:
		return c.liveness(f, live, *design)
	case f.given("ranges") || f.given("seed"):
		return f.misused("-ranges and -seed are for -liveness")
	case live.tsv && live.asJSON:
		return f.misused("-tsv and -json are two forms")
	case !x.explore && (bound.n != nil || x.budget != 0):
		return f.misused("-bound and -budget are for -explore")
	case bound.n != nil:
		x.o.Bounded, x.o.Bound = true, int(min(*bound.n, 1<<30))
	}
	x.asTSV, x.asJSON = live.tsv, live.asJSON
	x.o.Workers = runtime.GOMAXPROCS(0)
	forget, status, done := x.prepare(f, cmp.Or(*design, "all"), args)
	defer forget()
	if done {
		return status
	}
	finished := x.each(x.one)
	if !x.badInput || len(x.cells) > 0 {
		x.bad(x.end())
	}
	return finish(&x.judging, finished, x.cells)
}

// one judges a trace on a design.
func (x *comparer) one(_ *input, tr *traces.Trace, design string) error {
	if x.explore {
		o := x.o
		o.Design, o.Stop = design, x.c.stopAfter(x.budget)
		e, err := model.Explore(tr, o)
		if err != nil {
			return err
		}
		x.cells = append(x.cells, &cell{e.Verdict, e.Design, e.Trace, e.Extent, e.OK(), e.Unsupported(), []countOfCell{
			{"executions", e.Executions}, {"states", e.States}, {"deepest", uint64(e.Deepest)}}})
		if x.c.interruptedNow() {
			return errInterrupted
		}
		return nil
	}
	var res *model.Result
	var err error
	if !x.c.await(func() { res, err = model.Run(tr, model.Options{Design: design}) }) {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	n := &res.Counts
	x.cells = append(x.cells, &cell{res.Verdict, res.Design, res.Trace, "", res.OK(), res.Unsupported(), []countOfCell{
		{"evictions", n.Evictions}, {"restore_passes", n.RestorePasses}, {"collisions", n.Collisions}, {"fetches", n.Fetches},
		{"ptes_written", n.PTEsWritten}, {"virtual_us", uint64(sim.Time(res.VirtualNS) / sim.Microsecond)}}})
	return nil
}

// end prints what was found.
func (x *comparer) end() error {
	switch {
	case x.asJSON:
		return writeJSON(x.out, append([]*cell{}, x.cells...))
	case len(x.cells) == 0:
		return nil
	case x.asTSV:
		x.writeTSV(x.out)
		return nil
	}
	if err := x.writeTable(x.out); err != nil {
		return err
	}
	fmt.Fprintln(x.out)
	for _, c := range x.cells {
		fmt.Fprintln(x.out, c.verdictLine())
	}
	return nil
}

// verdictLine is the line that every verb that judges ends with.
func (c *cell) verdictLine() string {
	words := []string{c.Verdict, c.Design, c.Trace}
	if c.Extent != "" {
		words = append(words, c.Extent)
	}
	return strings.Join(words, "\t")
}

// writeTSV prints a line for each cell.
func (x *comparer) writeTSV(w io.Writer) {
	head := []string{"verdict", "design", "trace"}
	if x.explore {
		head = append(head, "extent")
	}
	for _, n := range x.cells[0].Counts {
		head = append(head, n.Name)
	}
	fmt.Fprintln(w, strings.Join(head, "\t"))
	for _, c := range x.cells {
		fmt.Fprint(w, c.verdictLine())
		for _, n := range c.Counts {
			fmt.Fprintf(w, "\t%d", n.Value)
		}
		fmt.Fprintln(w)
	}
}

// writeTable prints a row for each trace and a column for each design: the word, and
// the counts in the order of the line above.
func (x *comparer) writeTable(w io.Writer) error {
	var names, designs []string
	for _, n := range x.cells[0].Counts {
		names = append(names, n.Name)
	}
	fmt.Fprintf(w, "verdict %s\n\n", strings.Join(names, "/"))
	for _, c := range x.cells {
		if !slices.Contains(designs, c.Design) {
			designs = append(designs, c.Design)
		}
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "TRACE\t"+strings.Join(designs, "\t"))
	for i := 0; i < len(x.cells); {
		row, trace := make([]string, len(designs)), x.cells[i].Trace
		for ; i < len(x.cells) && x.cells[i].Trace == trace; i++ {
			c := x.cells[i]
			text := c.Verdict
			for k, n := range c.Counts {
				text += []string{" ", "/"}[min(k, 1)] + fmt.Sprint(n.Value)
			}
			row[slices.Index(designs, c.Design)] = text
		}
		fmt.Fprintln(tw, trace+"\t"+strings.Join(row, "\t"))
	}
	return tw.Flush()
}
