// SPDX-License-Identifier: MIT

package model

import (
	"fmt"

	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// Options say how to run a trace.
type Options struct {
	// Design is a name of the table; empty means batch.
	Design string
	// Seed, if not nil, runs one random interleaving instead of recorded order.
	Seed *uint64
	// NoChecks leaves the properties out (for measuring what they cost).
	NoChecks bool

	// observer, if not nil, is told what the driver sees; needs the checks.
	observer *traces.Observer
}

// Run performs a trace on a design and judges it.
//
// The error is an *ErrUnknownDesign, or an *traces.Error when the trace asks for
// what cannot be performed (a GPU access without a queue, a machine without
// memory). Everything else is a Result.
func Run(tr *traces.Trace, o Options) (*Result, error) {
	if o.Design == "" {
		o.Design = "batch"
	}
	info, err := FindDesign(o.Design)
	if err != nil {
		return nil, err
	}
	if err := checkMachine(tr); err != nil {
		return nil, err
	}
	var chooser sim.Chooser = sim.RecordedOrder{}
	if o.Seed != nil {
		chooser = sim.NewSeeded(*o.Seed)
	}
	r := newRunner(tr, info.make(), chooser, o)
	r.run()
	res := r.result(o)
	r.s.Close()
	return res, r.err
}

// run executes the trace to its end and beyond: until every process is dead and
// nothing moves any more.
func (r *runner) run() {
	r.s.Run()
	if r.err != nil || r.unsupported != "" {
		return
	}
	if r.s.Failure() == nil {
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
	for _, e := range r.tr.Directives.Result {
		if e.Design == o.Design && res.Compared {
			res.Want = e.Verdict
		}
	}
	res.Verdict, res.Reason = r.verdict()
	res.Failure = r.s.Failure()
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
		RestorePasses: d.RestorePasses, Restores: d.Restores, Collisions: d.Collisions, Fetches: d.Fetches,
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
