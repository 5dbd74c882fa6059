// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"sort"

	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// ExploreOptions say what to explore and how far.
type ExploreOptions struct {
	Options
	// Bounded says that Bound is the most preemptions of one execution.
	Bounded bool
	Bound   int
	// Faults is how many allocations and DMA mappings of the driver fail in one
	// execution at most.
	Faults int
	// NoStates leaves the cache of visited states out.
	NoStates bool
	// Workers is how many executions run at a time; it changes no result.
	Workers int
	// Stop is asked before every execution; true ends the exploration.
	Stop func() bool

	// accept, if not nil, says of an execution that broke a property whether it is one
	// to end with.
	accept func(*Result) bool
}

// Exploration is what all interleavings of a trace say about a design.
type Exploration struct {
	Trace  string `json:"trace"`
	Hash   string `json:"hash"`
	Design string `json:"design"`

	// Verdict is the word of the first execution that broke a property, else ok, or
	// unproven; Want is what the trace says it must be, empty when it does not say.
	Verdict string `json:"verdict"`
	Want    string `json:"want,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Failed is the execution that broke a property, with its schedule; nil if none
	// did.
	Failed *Result `json:"failed,omitempty"`

	// Extent is complete, bounded (k preemptions) or stopped (budget). A broken
	// property ends an exploration: what is left cannot make it ok, so that counts as
	// complete, or as bounded.
	Extent     string `json:"extent"`
	Executions uint64 `json:"executions"`
	Redundant  uint64 `json:"redundant"` // of them, given up because their rest was explored already
	Known      uint64 `json:"known"`     // of them, ended in a state that was explored already
	States     uint64 `json:"states"`
	Deepest    int    `json:"deepest"` // steps of the longest execution
	// Cached are the states that the cache has, Later the accesses kept with them.
	Cached uint64 `json:"cached_states"`
	Later  uint64 `json:"cached_accesses"`
	// Marks are the race windows that some execution entered, by name.
	Marks []string `json:"windows,omitempty"`

	Outcomes []OutcomeCount `json:"outcomes"`
}

// OutcomeCount is one way in which executions ended and how many did.
type OutcomeCount struct {
	Outcome string `json:"outcome"`
	Count   uint64 `json:"count"`
}

// OK says whether the exploration came out as it must: ok, or as the trace says.
func (e *Exploration) OK() bool {
	if e.Want != "" {
		return e.Verdict == e.Want
	}
	return e.Verdict == "ok"
}

// Unsupported says whether the trace could not be explored.
func (e *Exploration) Unsupported() bool { return e.Verdict == "unsupported" && e.Want != e.Verdict }

// Explore performs a trace on a design in every order that can matter.
//
// The order of the lines of one task stays, as do fork before child, exit before
// wait4, and barriers; everything else, kernel tasks included, interleaves at
// every point where the kernel could be preempted. With Lines, only those lines do.
// It ends at the first broken property.
//
// Errors are those of Run.
func Explore(tr *traces.Trace, o ExploreOptions) (*Exploration, error) {
	if o.Lines == (traces.LineSpan{}) {
		o.Lines = tr.Directives.Lines
	}
	o.Follow, o.Seed, o.Record = &traces.Counterexample{}, nil, false
	if err := o.resolve(tr); err != nil {
		return nil, err
	}
	o.Follow, o.failing = nil, o.Faults > 0
	x := &explored{tr: tr, o: o, outcomes: map[string]uint64{}}
	so := sim.ExploreOptions{Bound: -1, Faults: o.Faults, NoStates: o.NoStates, Workers: o.Workers, Stop: o.Stop}
	if o.Bounded {
		so.Bound = o.Bound
	}
	done := sim.Explore(so, x.run, x.visit)
	if x.err == nil && x.failed != nil {
		x.err = x.again()
	}
	if x.err != nil {
		return nil, x.err
	}
	if c := x.locks.Cycle(); c != nil && x.failed == nil {
		x.circle = sim.CircularDependency(c)
	}
	return x.sum(&done), nil
}

// explored is an exploration under way.
type explored struct {
	tr       *traces.Trace
	o        ExploreOptions
	outcomes map[string]uint64
	cut      bool // an execution was too long
	locks    sim.LockGraph
	circle   *sim.Failure // of the orders of several executions
	failed   *Result
	guide    *sim.Guide // of failed
	err      error
}

// execution is one of them.
type execution struct {
	res *Result
	err error
}

func (x *explored) run(g *sim.Guide) any {
	o := x.o.Options
	o.keep, o.stacks = 1, g.Coroutines()
	res, err := runOnce(x.tr, g, o)
	return execution{res, err}
}

// visit looks at an execution; false ends the exploration.
func (x *explored) visit(out any, g *sim.Guide) bool {
	e := out.(execution)
	if x.err = e.err; x.err != nil {
		return false
	}
	x.outcomes[e.res.Outcome()]++
	x.cut = x.cut || e.res.impatient
	x.locks.Add(e.res.sim)
	e.res.sim = nil
	if e.res.Verdict == "ok" || x.o.accept != nil && !x.o.accept(e.res) {
		return true
	}
	x.failed, x.guide = e.res, g
	return false
}

// again runs the failed execution once more and writes its schedule down.
func (x *explored) again() error {
	o := x.o.Options
	o.Record = true
	res, err := runOnce(x.tr, x.guide.Again(), o)
	if err == nil && res.Fingerprint != x.failed.Fingerprint {
		panic("BUG: the same choices gave another execution")
	}
	res.Order = "schedule"
	x.failed = res
	return err
}

// sum says what came of it.
func (x *explored) sum(done *sim.Exploration) *Exploration {
	e := &Exploration{Trace: x.tr.Name, Hash: x.tr.HashString(), Design: x.o.Design, Verdict: "ok", Failed: x.failed,
		Executions: done.Executions, Redundant: done.Redundant, Known: done.Known, States: done.States, Deepest: done.Deepest, Cached: done.Cached, Later: done.Later,
		Marks: namesOfMarks(done.Marks), Want: wanted(x.tr.Directives.Explore, x.o.Design)}
	if w := wanted(x.tr.Directives.Result, x.o.Design); e.Want == "" && w != "differs" {
		e.Want = w // recorded order is one of all
	}
	switch w := notEntered(x.tr, e.Marks); {
	case x.failed != nil:
		e.Verdict, e.Reason = x.failed.Verdict, x.failed.Reason
	case x.circle != nil:
		e.Verdict, e.Reason = x.circle.Verdict, x.circle.Title+": "+x.circle.Detail
	case w != "":
		e.Verdict, e.Reason = "unproven", unproven(w)
	}
	switch {
	case (done.Stopped || x.cut) && x.failed == nil:
		e.Extent = "stopped (budget)"
	case x.o.Bounded && (done.Cut || x.failed != nil):
		e.Extent = fmt.Sprintf("bounded (%d preemptions)", x.o.Bound)
	default:
		e.Extent = "complete"
	}
	for k, n := range x.outcomes { // order: sorted below
		e.Outcomes = append(e.Outcomes, OutcomeCount{k, n})
	}
	sort.Slice(e.Outcomes, func(i, j int) bool { return e.Outcomes[i].Outcome < e.Outcomes[j].Outcome })
	return e
}

// Outcome is what user space saw of a run, in one line.
func (r *Result) Outcome() string { return r.Verdict }
