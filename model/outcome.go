// SPDX-License-Identifier: MIT

package model

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/traces"
)

// Observe performs a trace in recorded order on the mirror design and returns what a driver saw, to be compared with
// what the observer module sees on a real kernel. The result is that of Run.
//
// Errors: as Run.
func Observe(tr *traces.Trace) (*traces.Outcome, *Result, error) {
	o := &traces.Observer{}
	res, err := Run(tr, Options{Design: "mirror", observer: o})
	if err != nil {
		return nil, nil, err
	}
	out := o.Outcome(tr, "model")
	if res.Verdict == "unsupported" {
		out.Steps, out.Skipped = nil, res.Reason
	}
	return out, res, nil
}

// observed is a checker that also tells an observer what the driver sees.
type observed struct {
	*checker
	to *traces.Observer
	// numbers are the observer's numbers of notifiers that are inserted.
	numbers map[*mm.IntervalNotifier]int
}

// Notifier notes that a notifier was inserted or removed.
func (o *observed) Notifier(n *mm.IntervalNotifier, inserted bool) {
	o.checker.Notifier(n, inserted)
	if inserted {
		o.numbers[n] = o.to.Registered(n.Start<<mm.PageShift, n.End<<mm.PageShift)
	} else {
		o.to.Unregistered(o.numbers[n])
		delete(o.numbers, n)
	}
}

// Invalidating notes a callback.
func (o *observed) Invalidating(n *mm.IntervalNotifier, r *mm.NotifierRange) {
	o.checker.Invalidating(n, r)
	end := r.End << mm.PageShift
	if r.End >= mm.EndOfSpace {
		end = traces.EndOfMemory
	}
	o.to.Invalidated(o.numbers[n], r.Event.String(), r.Start<<mm.PageShift, end, !r.Blockable)
}

// Fetched notes the pages that were fetched.
func (o *observed) Fetched(r *kfd.UserRange) {
	o.checker.Fetched(r)
	frames := make([]traces.Frame, 0, r.Len())
	for _, run := range r.HMM.Runs {
		for i := range run.Hi - run.Lo {
			frames = append(frames, traces.Frame{
				Number: uint64(run.PFN) + i*run.Stride, Present: run.Flags&mm.HMMValid != 0,
				Write: run.Flags&mm.HMMWrite != 0, Order: run.Order,
			})
		}
	}
	o.to.Fetched(o.numbers[&r.Notifier], frames)
}

// FetchFailed notes an attempt that failed.
func (o *observed) FetchFailed(r *kfd.UserRange, err errno.Errno) {
	if err == errno.EAGAIN {
		err = errno.EBUSY // what hmm_range_fault itself says
	}
	o.to.FetchFailed(o.numbers[&r.Notifier], err.String())
}

// observe notes that a line was performed.
func (r *runner) observe(op *traces.Op, val uint64, err errno.Errno, judged bool) {
	if r.observer == nil || r.err != nil || r.unsupported != "" {
		return
	}
	result := "0"
	switch {
	case err != 0:
		result = "-1 " + err.String()
	case !judged:
		result = "?"
	case op.Call == traces.CallCPURead || op.Call == traces.CallGPURead && (op.X == nil || !op.X.Async):
		result = traces.BytesText(recordedRuns(r.reads[len(r.reads)-1].Bytes))
	case hasValue(op.Call) || op.Call == traces.CallMovePages || op.Call == traces.CallMigratePages:
		result = fmt.Sprintf("%#x", val)
	}
	r.observer.Step(op.Line, op.TID, callName(op), result)
}

// recordedRuns turns bytes that were seen into the form of a trace.
func recordedRuns(runs []phys.ByteRun) []traces.ByteRun {
	var out []traces.ByteRun
	for _, run := range runs {
		out = traces.AppendRun(out, traces.ByteRun{Byte: run.Byte, N: run.N})
	}
	return out
}
