// SPDX-License-Identifier: MIT

package model

import (
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
}

// Exploration is what all interleavings of a trace say about a design.
type Exploration struct {
	Trace  string `json:"trace"`
	Hash   string `json:"hash"`
	Design string `json:"design"`

	// Verdict is the word of the first execution that broke a property, else ok;
	// Want is what the trace says it must be, empty when it does not say.
	Verdict string `json:"verdict"`
	Want    string `json:"want,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Failed is the execution that broke a property, nil if none did.
	Failed *Result `json:"failed,omitempty"`

	Extent     string `json:"extent"` // complete, bounded (k preemptions) or stopped (budget)
	Executions uint64 `json:"executions"`
	Redundant  uint64 `json:"redundant"` // of them, given up because their rest was explored already
	Known      uint64 `json:"known"`     // of them, ended in a state that was explored already
	States     uint64 `json:"states"`
	Deepest    int    `json:"deepest"` // steps of the longest execution

	Outcomes []OutcomeCount `json:"outcomes"`
}

// OutcomeCount is one way in which executions ended and how many did.
type OutcomeCount struct {
	Outcome string `json:"outcome"`
	Count   uint64 `json:"count"`
}

// Explore performs a trace on a design in every order that can matter.
//
// The order of the lines of one task stays, as do fork before child, exit before
// wait4, and barriers; everything else, kernel tasks included, interleaves at
// every point where the kernel could be preempted. It ends at the first broken
// property.
//
// Errors are those of Run.
func Explore(tr *traces.Trace, o ExploreOptions) (*Exploration, error) {
	if err := o.resolve(tr); err != nil {
		return nil, err
	}
	e := &Exploration{Trace: tr.Name, Hash: tr.HashString(), Design: o.Design, Verdict: "ok"}
	for _, x := range tr.Directives.Explore {
		if isNameOf(x.Design, o.Design) {
			e.Want = x.Verdict
		}
	}
	so := sim.ExploreOptions{Bound: -1, Faults: o.Faults, NoStates: o.NoStates, Workers: o.Workers, Stop: o.Stop}
	if o.Bounded {
		so.Bound = o.Bound
	}
	outcomes := map[string]uint64{}
	type ended struct {
		res *Result
		err error
	}
	var err error
	done := sim.Explore(so, func(g *sim.Guide) any {
		res, err := runOnce(tr, g, o.Options)
		return ended{res, err}
	}, func(out any, _ *sim.Guide) bool {
		x := out.(ended)
		if err = x.err; err != nil {
			return false
		}
		outcomes[x.res.Outcome()]++
		if x.res.Verdict != "ok" {
			e.Verdict, e.Reason, e.Failed = x.res.Verdict, x.res.Reason, x.res
			return false
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	e.Executions, e.Redundant, e.Known, e.States, e.Deepest = done.Executions, done.Redundant, done.Known, done.States, done.Deepest
	for k, n := range outcomes { // order: sorted below
		e.Outcomes = append(e.Outcomes, OutcomeCount{k, n})
	}
	sort.Slice(e.Outcomes, func(i, j int) bool { return e.Outcomes[i].Outcome < e.Outcomes[j].Outcome })
	return e, nil
}

// Outcome is what user space saw of a run, in one line.
func (r *Result) Outcome() string { return r.Verdict }
