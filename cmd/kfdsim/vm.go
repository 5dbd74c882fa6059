// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kfdsim/kfdsim/hw/vm"
	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/traces"
)

// vmRun is one invocation of vm.
type vmRun struct {
	c       *command
	out     *bufio.Writer
	options vm.Options
	traces  []vm.Trace
	quiet   bool
}

// vmVerb performs traces on a real kernel, and compares it with the model.
func vmVerb(c *command, f *flags, args []string) int {
	r := &vmRun{c: c, out: bufio.NewWriter(c.stdout)}
	f.StringVar(&r.options.Series, "kernel", "6.12", "`series` of the kernel: the newest of it that is at hand")
	f.BoolVar(&r.options.Fetch, "fetch", false, "ask apt whether there is a newer one")
	f.DurationVar(&r.options.Limit, "limit", 10*time.Minute, "`time` after which the virtual machine is ended")
	f.BoolVar(&r.quiet, "q", false, "diff: print divergences and verdicts only")
	fuzz := f.Int("fuzz", 0, "add `N` random traces")
	seed := f.Uint64("seed", 1, "`number` of the first random trace")
	noShrink := f.Bool("noshrink", false, "diff: leave diverging traces as they are")
	args, status, done := f.parse(args)
	if done {
		return status
	}
	if len(args) == 0 || args[0] != "run" && args[0] != "diff" && args[0] != "module" {
		return f.misused("run, diff or module")
	}
	verb, args := args[0], args[1:]
	if verb == "module" {
		return r.end(exitOK, vm.BuildObserver(r.options, r.out))
	}
	if len(args) == 0 && *fuzz <= 0 {
		return f.misused("no trace")
	}
	if status := r.load(args); status != exitOK {
		return status
	}
	for i := range max(0, *fuzz) {
		n := *seed + uint64(i)
		r.traces = append(r.traces, vm.Trace{Name: traces.RandomName(n), Text: traces.Random(n)})
	}
	if verb == "run" {
		return r.end(r.perform())
	}
	return r.end(r.diff(!*noShrink))
}

// load reads every trace before anything is booted.
func (r *vmRun) load(args []string) int {
	ins, forget, err := r.c.inputs(args)
	defer forget()
	if err != nil {
		return r.c.unusable("vm", err)
	}
	bad := false
	for i := range ins {
		text, err := ins[i].text()
		if err == nil {
			err = ins[i].check()
		}
		if err != nil {
			r.c.badInput("vm", err)
			bad = true
		}
		r.traces = append(r.traces, vm.Trace{Name: ins[i].name, Text: text})
	}
	if bad {
		return exitUsage
	}
	return exitOK
}

// boot performs traces on the kernel.
func (r *vmRun) boot(batch []vm.Trace, each func(*traces.Outcome)) (*vm.Report, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-r.c.interrupt:
			cancel()
		case <-ended:
		}
	}()
	return vm.Perform(ctx, r.options, batch, each)
}

// perform prints the outcome of every trace.
func (r *vmRun) perform() (int, error) {
	status := exitOK
	_, err := r.boot(r.traces, func(o *traces.Outcome) {
		r.out.Write(o.AppendText(nil))
		r.out.Flush()
		if o.Crash != "" {
			status = exitFailed
		}
	})
	return status, err
}

// end turns what happened into an exit status.
func (r *vmRun) end(status int, err error) int {
	var lacking *vm.Unsupported
	r.out.Flush()
	switch {
	case err == nil:
		return status
	case errors.Is(err, context.Canceled):
		return r.c.interrupted("vm")
	case errors.As(err, &lacking):
		r.c.complain("vm: %v", err)
		return exitUnsupported
	}
	r.c.complain("vm: %v", err)
	return exitUnsupported
}

// diff compares every trace on the kernel with the model.
func (r *vmRun) diff(shrink bool) (int, error) {
	status, i := exitOK, 0
	lines, notes, count := 0, 0, map[string]int{}
	verdicts := []string{}
	var worst *vm.Trace // the first surprise
	var first judged
	var modelTime time.Duration
	rep, err := r.boot(r.traces, func(o *traces.Outcome) {
		start := time.Now()
		j, err := judgeOutcome(r.traces[i], o)
		modelTime += time.Since(start)
		if err != nil {
			r.c.badInput("vm", err)
			j = judged{verdict: "unsupported"}
			status = exitUsage
		}
		count[j.verdict]++
		lines += len(o.Steps)
		for k := range o.Steps {
			notes += len(o.Steps[k].Notes)
		}
		if j.verdict == "surprise" {
			status = exitFailed
			j.print(r.out, r.traces[i])
			if worst == nil {
				worst, first = &r.traces[i], j
			}
		}
		if !r.quiet || j.verdict == "surprise" {
			verdicts = append(verdicts, fmt.Sprintf("%s\tmirror\t%s\t%s", j.verdict, o.Trace, j.why))
		}
		i++
		r.out.Flush()
	})
	if err != nil {
		return status, err
	}
	fmt.Fprintf(r.out, "%s: %d traces, %d lines, %d observations: %d agree, %d surprise, %d unsupported; model %.1f s, kernel %.1f s in %d boots (%.1f s until ready)\n",
		rep.Kernel, i, lines, notes, count["agree"], count["surprise"], count["unsupported"], modelTime.Seconds(), rep.Took.Seconds(), rep.Boots, rep.Boot.Seconds())
	if worst != nil && shrink {
		if err := r.shrinkFirst(*worst, first); err != nil {
			return status, err
		}
	}
	for _, v := range verdicts {
		fmt.Fprintln(r.out, v)
	}
	return status, nil
}

// judged is what comes of comparing one outcome.
type judged struct {
	verdict, why  string
	model, kernel *traces.Outcome
	d             *traces.Divergence
}

// judgeOutcome compares what the kernel showed with what the model shows.
func judgeOutcome(t vm.Trace, kernel *traces.Outcome) (judged, error) {
	if kernel.Skipped != "" {
		return judged{verdict: "unsupported", why: kernel.Skipped}, nil
	}
	tr, err := traces.Parse(t.Name, bytes.NewReader(t.Text))
	if err != nil {
		return judged{}, err
	}
	m, res, err := model.Observe(tr)
	if err != nil {
		return judged{}, err
	}
	if m.Skipped != "" {
		return judged{verdict: "unsupported", why: m.Skipped}, nil
	}
	d := traces.Diverge(m, kernel)
	switch {
	case res.Failure != nil:
		return judged{"surprise", "the model breaks a property: " + res.Reason, m, kernel, d}, nil
	case d != nil:
		return judged{"surprise", fmt.Sprintf("line %d: %s", d.Line, d.What), m, kernel, d}, nil
	}
	return judged{verdict: "agree"}, nil
}

// print prints the histories side by side.
func (j *judged) print(w io.Writer, t vm.Trace) {
	fmt.Fprintf(w, "%s: %s\n", t.Name, j.why)
	if j.d != nil {
		fmt.Fprint(w, j.d.SideBySide(j.model, j.kernel, 40))
	}
	fmt.Fprintln(w)
}
