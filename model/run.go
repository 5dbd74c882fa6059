// SPDX-License-Identifier: MIT

package model

import (
	"cmp"
	"fmt"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// Options say how to run a trace.
type Options struct {
	// Design is a name of the table; empty means the one of the trace's
	// counterexample, else batch.
	Design string
	// New, if not nil, makes the design in place of the table: one of your own,
	// which Design then names. It is called for every run, from several goroutines
	// if an exploration has several workers.
	New func() kfd.Design
	// Seed, if not nil, runs one random interleaving instead of recorded order.
	Seed *uint64
	// PCT, if not 0, makes the interleaving of Seed one of probabilistic concurrency
	// testing, of that depth: few switches, in the right places.
	PCT int
	// Follow, if not nil, is the interleaving to run, of which Design and New decide
	// the design. A counterexample that the trace brings along is followed on its own
	// design if neither Seed nor Follow says otherwise.
	Follow *traces.Counterexample
	// Lines, if not zero, are the lines that interleave; the rest acts in recorded
	// order. The zero value means all lines, or those that Follow says.
	Lines traces.LineSpan
	// Record makes Result.Schedule say which interleaving ran.
	Record bool
	// keep is how many events of the history are kept, 0 for the usual number.
	keep   int
	stacks *sim.Coroutines
	// failing says that allocations may fail.
	failing bool
	// NoChecks leaves the properties out (for measuring what they cost).
	NoChecks bool

	// observer, if not nil, is told what the driver sees; needs the checks.
	observer *traces.Observer
}

// Run performs a trace on a design and judges it.
//
// The error is an *ErrUnknownDesign, or an *traces.Error when the trace asks for
// what cannot be performed (a GPU access without a queue, a machine without
// memory) or brings a schedule that does not fit. Everything else is a Result.
func Run(tr *traces.Trace, o Options) (*Result, error) {
	if err := o.resolve(tr); err != nil {
		return nil, err
	}
	res, err := runOne(tr, o)
	if err != nil {
		return nil, err
	}
	if w := notEntered(tr, res.Marks); w != "" && res.Verdict == "ok" && !stated(tr, o.Design) {
		res.Verdict, res.Reason = "unproven", unproven(w)
	}
	return res, nil
}

// runOne runs the interleaving that o asks for.
//
// Preconditions: o is resolved.
func runOne(tr *traces.Trace, o Options) (*Result, error) {
	switch {
	case o.Seed != nil && o.PCT > 0:
		steps := sim.NewPCT(*o.Seed, 1, pctFirst)
		if _, err := runOnce(tr, steps, o); err != nil {
			return nil, err
		}
		return runOnce(tr, sim.NewPCT(*o.Seed, o.PCT, steps.Steps()), o)
	case o.Seed != nil:
		return runOnce(tr, sim.NewSeeded(*o.Seed), o)
	case o.Follow != nil && o.Follow.Schedule != nil:
		return follow(tr, o)
	}
	return runOnce(tr, sim.RecordedOrder{}, o)
}

// pctFirst is how many steps a run is taken to have before the first has counted
// them.
const pctFirst = 10000

// resolve finds the design and looks whether the trace's machine can be made.
func (o *Options) resolve(tr *traces.Trace) error {
	own := &tr.Directives.Counterexample
	if o.Design == "" && o.New == nil {
		o.Design = "batch"
		if own.Design != "" {
			o.Design = own.Design
		}
	}
	if o.New == nil {
		info, err := FindDesign(o.Design)
		if err != nil {
			return err
		}
		defects := info.Defects.List()
		o.Design, o.New = info.Name, func() kfd.Design { return info.make(defects...) }
	} else if o.Design == "" {
		o.Design = o.New().Name()
	}
	if o.Follow == nil && o.Seed == nil && isOwn(own, o.Design) {
		o.Follow = own
	}
	if o.Follow != nil && o.Lines == (traces.LineSpan{}) {
		o.Lines = o.Follow.Lines
	}
	if err := checkWindows(tr); err != nil {
		return err
	}
	return checkMachine(tr)
}

// isOwn says whether a trace's counterexample is one of a design.
func isOwn(c *traces.Counterexample, design string) bool {
	return c.Schedule != nil && isNameOf(cmp.Or(c.Design, "batch"), design)
}

// runOnce makes a machine, performs the trace on it, and takes it apart.
//
// Preconditions: o is resolved.
func runOnce(tr *traces.Trace, chooser sim.Chooser, o Options) (*Result, error) {
	r := newRunner(tr, o.New(), chooser, o)
	r.run()
	res := r.result(o)
	r.s.Close()
	if o.Record {
		res.Schedule = r.s.Recorded()
	}
	return res, r.err
}

// run executes the trace to its end and beyond: until every process is dead and
// nothing moves any more.
func (r *runner) run() {
	r.s.Run()
	if r.s.Failure() == nil && !r.s.Stopped() {
		r.endOfRun()
	}
}

// result sums up.
func (r *runner) result(o Options) *Result {
	res := &Result{
		Trace: r.tr.Name, Hash: r.tr.HashString(), Design: o.Design, Seed: o.Seed,
		Differs: r.differs, Reads: r.reads, Dumps: r.dumps,
		Fingerprint: fmt.Sprintf("%016x", r.s.History().Fingerprint()),
		Events:      r.s.History().Len(), VirtualNS: int64(r.s.Now()),
		Counts: r.counts(), Report: r.report(),
		Compared: r.compared(), tail: r.s.History().Tail(200),
	}
	for i := range r.drv.SMI {
		res.SMI = append(res.SMI, r.drv.SMI[i].String())
	}
	switch {
	case o.Follow != nil:
		res.Order = "schedule"
		res.Want = wanted(r.tr.Directives.Explore, o.Design)
	case o.Seed != nil && o.PCT > 0:
		res.Order = fmt.Sprintf("pct %d", o.PCT)
	}
	if res.Compared && res.Want == "" {
		res.Want = wanted(r.tr.Directives.Result, o.Design)
	}
	res.impatient, res.sim = r.impatient, r.s
	res.Verdict, res.Reason = r.verdict()
	res.Failure = r.s.Failure()
	if res.marks = r.marks; r.phase == phaseLines {
		res.marks = r.s.Marks()
	}
	res.Marks = namesOfMarks(res.marks)
	return res
}

// verdict is the first broken property's word; a difference counts only when no
// property broke.
func (r *runner) verdict() (word, reason string) {
	f := r.s.Failure()
	switch {
	case f != nil:
		return f.Verdict, f.Title
	case r.unsupported != "":
		return "unsupported", r.unsupported
	case len(r.differs) > 0:
		d := r.differs[0]
		return "differs", fmt.Sprintf("line %d: %s gives %s, the trace records %s", d.Line, d.Call, d.Got, d.Want)
	}
	return "ok", ""
}

// counts adds up what the parts of the machine counted.
func (r *runner) counts() Counts {
	m, d := r.sys.Counts, r.drv.Counts
	c := Counts{
		Lines: r.lines, Ioctls: d.Ioctls, Retries: d.Retries, BOs: d.BOs, Notifiers: d.Notifiers,
		Windows: m.Windows, Invalidations: m.Invalidations, Evictions: d.Evictions,
		RestorePasses: d.RestorePasses, Restores: d.Restores, Collisions: d.Collisions, Fetches: d.Fetches, Warnings: d.Warnings,
		PagesFaulted: m.PagesFaulted, PagesFetched: m.HMMPages, COWBreaks: m.COWBreaks,
		PagesSwapOut: m.PagesSwapOut, PagesSwapIn: m.PagesSwapIn, OOMKills: m.OOMKills,
		HugeFaults: m.HugeFaults, HugeSplits: m.HugeSplits, HugeCollapses: m.HugeCollapses,
		PagesMigrated: m.PagesMigrated, PagesMerged: m.PagesMerged,
	}
	for _, g := range r.drv.GPUs {
		c.PTEsWritten += g.Counts.PTEsWritten
		c.PTEsCleared += g.Counts.PTEsCleared
		c.Fragments += g.Counts.Fragments
		c.TLBFlushes += g.Counts.TLBFlushes
		c.DMAMapped += g.Counts.DMAMapped
		c.BytesRead += g.Counts.BytesRead
		c.BytesWritten += g.Counts.BytesWritten
		c.VMFaults += g.Counts.VMFaults
	}
	return c
}

func (r *runner) report() Report {
	rep := r.rep
	rep.Skipped, rep.Undecoded = r.tr.Skipped, r.tr.Undecoded
	rep.Processes, rep.Threads = r.nprocs, len(r.lives)
	return rep
}
