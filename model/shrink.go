// SPDX-License-Identifier: MIT

package model

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/kfdsim/kfdsim/traces"
)

// ShrinkOptions say what to shrink and how hard to look for the failure.
type ShrinkOptions struct {
	// Options name the design, and the interleaving that fails if it is known.
	Options
	// Faults is as in ExploreOptions.
	Faults int
	// Executions is how many interleavings of a trace are tried at most for each
	// number of preemptions; 0 means 2000.
	Executions int
	// Stop is asked now and then; true ends the shrinking with what it has by then.
	Stop func() bool
}

// Shrunk is what shrinking made of a trace: the smallest that was found whose
// failure is the same, and the interleaving with the fewest preemptions.
type Shrunk struct {
	Text   []byte  // of the file: trace, design and schedule
	Result *Result // of the interleaving that Text carries
	// Preemptions of the interleaving, -1 where it was found by a seed or by the
	// schedule that came with the trace, and exploring did not find one.
	Preemptions int
	Tried       int // texts
	Stopped     bool
}

// ErrNothingToShrink says that the failure was not found.
var ErrNothingToShrink = errors.New("nothing fails")

// Shrink makes a failing trace and its interleaving as small as it can.
//
// A trace fails if the property that the first run breaks is broken in recorded
// order, or in an interleaving with no more preemptions than the first needs, or, if
// exploring does not find any, with the seed or schedule that is given. The result is
// the same every time, whatever the machine.
//
// The error wraps ErrNothingToShrink when no interleaving that was tried fails;
// others are those of Run.
func Shrink(name string, text []byte, o ShrinkOptions) (*Shrunk, error) {
	s := &shrinker{name: name, o: o}
	if s.o.Executions == 0 {
		s.o.Executions = 2000
	}
	tr, err := traces.Parse(name, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if err := s.resolve(tr); err != nil {
		return nil, err
	}
	if s.o.Lines == (traces.LineSpan{}) {
		if text, tr, err = s.fewerRanges(text, tr); err != nil {
			return nil, err
		}
	}
	if err := s.begin(tr); err != nil {
		return nil, err
	}
	if s.given.Lines == (traces.LineSpan{}) {
		text = traces.Minimize(text, s.fails)
	}
	return s.sum(text)
}

// shrinker is a shrinking under way.
type shrinker struct {
	name  string
	o     ShrinkOptions
	given Options // with the interleaving that was given

	want  string   // the property that has to break
	first *failing // in the interleaving that is given, nil if none is
	made  uint64   // ambient mappings of the first failure: what is smaller makes no more up
	how   failureKind
	bound int // preemptions of the first failure

	tried   int
	stopped bool
}

// failureKind says in which interleavings a failure is looked for.
type failureKind uint8

const (
	inRecordedOrder failureKind = iota
	inBounded
	asGiven
)

// resolve reads the options, and makes the run that is given.
func (s *shrinker) resolve(tr *traces.Trace) error {
	s.given = s.o.Options
	s.given.Record = true
	if err := s.given.resolve(tr); err != nil {
		return err
	}
	s.o.Lines = s.given.Lines
	if s.given.Seed == nil && (s.given.Follow == nil || s.given.Follow.Schedule == nil) {
		return nil
	}
	res, err := runOne(tr, s.given)
	if err != nil {
		return err
	}
	if s.want = brokenBy(res); s.want == "" {
		return fmt.Errorf("%w: %s on %s, in the interleaving that is given", ErrNothingToShrink, tr.Name, res.Design)
	}
	s.first = &failing{res, -1}
	return nil
}

// quickly is how many executions decide whether a trace with fewer ranges fails.
const quickly = 20

// fewerRanges takes out ranges as long as any interleaving fails soon: what is left to
// do costs as much as the trace has ranges. A trace that does not fail soon stays.
func (s *shrinker) fewerRanges(text []byte, tr *traces.Trace) ([]byte, *traces.Trace, error) {
	soon := func(tr *traces.Trace) *Result {
		res, err := s.recorded(tr)
		if err == nil && brokenBy(res) == "" {
			var e *Exploration
			if e, err = s.explore(tr, -1, quickly); err == nil {
				res = e.Failed
			}
		}
		if err != nil || res == nil || brokenBy(res) == "" || s.want != "" && brokenBy(res) != s.want {
			return nil
		}
		return res
	}
	first := soon(tr)
	if first == nil {
		return text, tr, nil
	}
	want := s.want
	s.want = brokenBy(first)
	text = traces.MinimizeRanges(text, func(text []byte) bool {
		s.tried++
		tr, err := traces.Parse(s.name, bytes.NewReader(text))
		return err == nil && !s.stop() && soon(tr) != nil
	})
	s.want = want
	tr, err := traces.Parse(s.name, bytes.NewReader(text))
	return text, tr, err
}

// begin finds out how the trace fails.
func (s *shrinker) begin(tr *traces.Trace) error {
	first := s.first
	f, err := s.simplest(tr)
	switch {
	case err != nil:
		return err
	case f != nil:
		first = f
	case first != nil:
		s.how = asGiven
	default:
		return fmt.Errorf("%w: %s on %s, in recorded order and in the interleavings with up to %d preemptions that were tried",
			ErrNothingToShrink, tr.Name, s.given.Design, maxShrinkBound)
	}
	s.want, s.made = brokenBy(first.Result), first.Report.Ambient+first.Report.MadeRoom
	return nil
}

// simplest looks for the failure where it is simplest: in recorded order, else with
// few preemptions, and only of the given lines only if need be. nil says that it is in
// none of these.
func (s *shrinker) simplest(tr *traces.Trace) (*failing, error) {
	res, err := s.recorded(tr)
	if err != nil {
		return nil, err
	}
	if by := brokenBy(res); by != "" && (by == s.want || s.want == "") {
		s.how = inRecordedOrder
		return &failing{res, 0}, nil
	}
	lines := s.given.Lines
	s.given.Lines = traces.LineSpan{} // lines will move
	f, err := s.fewest(tr, maxShrinkBound)
	if f == nil && err == nil && lines != (traces.LineSpan{}) {
		s.given.Lines = lines
		f, err = s.fewest(tr, maxShrinkBound)
	}
	if f != nil {
		s.how, s.bound = inBounded, f.preemptions
	}
	return f, err
}

// maxShrinkBound is the most preemptions that an interleaving is looked for with.
const maxShrinkBound = 4

// brokenBy identifies what a run broke, empty if nothing: the property, or the call
// whose result differs.
func brokenBy(res *Result) string {
	switch {
	case res.Failure != nil:
		return res.Failure.Verdict + " " + res.Failure.Property
	case len(res.Differs) > 0:
		d := res.Differs[0]
		return fmt.Sprintf("differs %s gives %s, recorded %s", d.Call, d.Got, d.Want)
	}
	return ""
}

// recorded runs a trace in recorded order.
func (s *shrinker) recorded(tr *traces.Trace) (*Result, error) {
	o := s.given
	o.Seed, o.PCT, o.Follow = nil, 0, &traces.Counterexample{}
	return runOne(tr, o)
}

// failing is a run that failed, and how many preemptions it took, -1 if that is not
// known.
type failing struct {
	*Result
	preemptions int
}

// fewest looks for the interleaving with the fewest preemptions, up to a bound,
// that breaks what has to break; nil if it finds none. If nothing is known yet, the
// first that breaks something decides.
func (s *shrinker) fewest(tr *traces.Trace, bound int) (*failing, error) {
	for k := 0; k <= bound; k++ {
		e, err := s.explore(tr, k, s.o.Executions)
		if err != nil {
			return nil, err
		}
		if e.Failed != nil && (s.want == "" || brokenBy(e.Failed) == s.want) {
			return &failing{e.Failed, k}, nil
		}
		if e.Extent == "complete" || s.stopped {
			return nil, nil
		}
	}
	return nil, nil
}

// explore explores a trace with at most bound preemptions, -1 for any number, in at
// most left executions.
func (s *shrinker) explore(tr *traces.Trace, bound, left int) (*Exploration, error) {
	o := ExploreOptions{Options: s.given, Bounded: bound >= 0, Bound: bound, Faults: s.o.Faults, Workers: 1}
	o.Stop = func() bool {
		left--
		return left < 0 || s.stop()
	}
	return Explore(tr, o)
}

func (s *shrinker) stop() bool {
	s.stopped = s.stopped || s.o.Stop != nil && s.o.Stop()
	return s.stopped
}

// fails says whether a text is a trace that still fails.
func (s *shrinker) fails(text []byte) bool {
	if s.stop() {
		return false
	}
	s.tried++
	tr, err := traces.Parse(s.name, bytes.NewReader(text))
	if err != nil || len(tr.Ops) == 0 {
		return false
	}
	f, err := s.failure(tr)
	return err == nil && f != nil && f.Report.Ambient+f.Report.MadeRoom <= s.made
}

// failure returns the run of a trace that breaks what has to break, nil if it does
// not fail.
func (s *shrinker) failure(tr *traces.Trace) (*failing, error) {
	res, err := s.recorded(tr)
	switch {
	case err != nil:
		return nil, err
	case brokenBy(res) == s.want:
		return &failing{res, 0}, nil
	case s.how == inBounded:
		return s.fewest(tr, s.bound)
	case s.how == asGiven:
		if res, err = runOne(tr, s.given); err == nil && brokenBy(res) == s.want {
			return &failing{res, -1}, nil
		}
	}
	return nil, err
}

// sum finds the interleaving of the smallest trace, and writes the file.
func (s *shrinker) sum(text []byte) (*Shrunk, error) {
	out := &Shrunk{Tried: s.tried, Stopped: s.stopped}
	tr, err := traces.Parse(s.name, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	s.o.Stop, s.stopped = nil, false // what is left to do is little
	f, err := s.failure(tr)
	if err != nil {
		return nil, err
	}
	if f == nil {
		panic("BUG: a trace that failed does not")
	}
	out.Result, out.Preemptions = f.Result, f.preemptions
	c := out.Result.Counterexample(s.given.Lines)
	out.Text = traces.AppendCounterexample(nil, text, c)
	return out, nil
}
