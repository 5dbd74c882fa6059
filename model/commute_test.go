// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// An exploration rests on labels: steps that touch nothing in common commute. These
// tests exchange such steps and look whether that is so. A label that is missing
// hides an order that matters, and no exploration would notice.

// moreOf is by how much KFDSIM_MORE in the environment multiplies what the tests of explorations try.
func moreOf(t testing.TB) int {
	if s := os.Getenv("KFDSIM_MORE"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	return 1
}

func runGuided(t testing.TB, tr *traces.Trace, design string, g *sim.Guide) *Result {
	o := Options{Design: design, Follow: &traces.Counterexample{}}
	require.NoError(t, o.resolve(tr))
	o.Follow = nil
	r := newRunner(tr, o.New(), g, o)
	for _, d := range r.drv.GPUs {
		d.PageAtATime() // which frames are neighbours depends on the order of allocations
	}
	r.run()
	out := r.result(o)
	r.s.Close()
	require.NoError(t, r.err)
	return out
}

// sameResult says in what two runs differ for whoever looks on; empty if in nothing.
// Lines are compared, not their order.
func sameResult(a, b *Result) string {
	sorted := func(r *Result) (reads, differs []string) {
		for _, x := range r.Reads {
			reads = append(reads, fmt.Sprint(x))
		}
		for _, x := range r.Differs {
			differs = append(differs, fmt.Sprint(x))
		}
		slices.Sort(reads)
		slices.Sort(differs)
		return reads, differs
	}
	ra, da := sorted(a)
	rb, db := sorted(b)
	switch {
	case a.Verdict != b.Verdict:
		return fmt.Sprintf("verdict %s: %s, not %s: %s", b.Verdict, b.Reason, a.Verdict, a.Reason)
	case a.Failure != nil:
		return ""
	case !slices.Equal(ra, rb):
		return fmt.Sprintf("reads %v, not %v", rb, ra)
	case !slices.Equal(da, db):
		return fmt.Sprintf("differences %v, not %v", db, da)
	case !slices.Equal(byProcess(a.SMI), byProcess(b.SMI)):
		return fmt.Sprintf("events %v, not %v", byProcess(b.SMI), byProcess(a.SMI))
	case withoutFragments(a) != withoutFragments(b):
		return fmt.Sprintf("counts %+v, not %+v", b.Counts, a.Counts)
	}
	return ""
}

// withoutFragments are the counts, but for what depends on which frames are
// neighbours.
func withoutFragments(r *Result) Counts {
	c := r.Counts
	c.Fragments = 0
	return c
}

// byProcess orders events by whose they are: processes get only their own.
func byProcess(events []string) []string {
	whose := func(e string) string { return strings.Fields(e)[1] }
	out := slices.Clone(events)
	slices.SortStableFunc(out, func(a, b string) int { return strings.Compare(whose(a), whose(b)) })
	return out
}

// exchangeSteps exchanges steps of an execution that do not conflict, every one or,
// if there are more, about most of them.
func exchangeSteps(t testing.TB, tr *traces.Trace, design string, g *sim.Guide, most int, seed uint64) (tried int, bad string) {
	before := runGuided(t, tr, design, g)
	every := max(1, g.Steps()/most)
	for i := int(seed % uint64(every)); i+1 < g.Steps(); i += every {
		x, ok := g.Exchanged(i)
		if !ok {
			continue
		}
		tried++
		after := runGuided(t, tr, design, x)
		why := ""
		if before.Failure == nil {
			why = g.Disagreement(i, x)
		}
		if why != "" && endsWindow(g, i) {
			continue // the rest of the schedule is for other steps
		}
		if why == "" {
			why = sameResult(before, after)
		}
		if why != "" {
			return tried, fmt.Sprintf("exchanged:\n  %s\n  %s\nthen %s", g.Step(i), g.Step(i+1), why)
		}
	}
	return tried, ""
}

// endsWindow says whether one of steps i and i+1 ends a notifier window and the other
// ends one or begins to read. Which of two ends is the last one, and whether a reader
// comes in time to have to wait for it, moves a step from one task to another; what
// comes of it is the same.
func endsWindow(g *sim.Guide, i int) bool {
	a, b := g.Step(i), g.Step(i+1)
	ends := func(s string) bool { return strings.Contains(s, "down subscriptions") }
	waits := func(s string) bool { return ends(s) || strings.Contains(s, "read interval notifier") }
	return ends(a) && waits(b) || ends(b) && waits(a)
}

// commuting are the traces on which every run is short.
func commuting(t testing.TB) []corpusTrace {
	return slices.DeleteFunc(corpus(t), func(c corpusTrace) bool {
		r := runCorpus(t, c, Options{})
		return r.Counts.PagesFaulted+r.Counts.PagesFetched > 200 || len(c.text) > 4000 || c.Directives.RAM >= 0
	})
}

func TestStepsThatDoNotConflictCommute(t *testing.T) {
	more := moreOf(t)
	for _, c := range commuting(t) {
		t.Run(c.name, func(t *testing.T) {
			for k, d := range slices.Concat(designNamesOfTests, oneDefect(len(c.text))) {
				for seed := range uint64(more) {
					s := seed*16 + uint64(k)
					g := sim.RandomGuide(s)
					n, bad := exchangeSteps(t, c.Trace, d, g, 10*more, s)
					if bad != "" {
						t.Errorf("%s, seed %d, %d pairs: %s", d, s, n, bad)
					}
				}
			}
		})
	}
}

// oneDefect returns a design with a defect, another one for every n.
func oneDefect(n int) []string {
	all := Defects()
	for ; ; n++ {
		if x := all[n%len(all)]; len(x.Designs) > 0 {
			return []string{x.Designs[n%len(x.Designs)] + "+" + x.Name}
		}
	}
}

// TestStepsOfExploredExecutionsCommute: the executions that an exploration goes
// through are not like random ones.
func TestStepsOfExploredExecutionsCommute(t *testing.T) {
	most := 20 * moreOf(t)
	for i, c := range raceTraces(t) {
		d := designNamesOfTests[i%len(designNamesOfTests)]
		t.Run(c.name+"/"+d, func(t *testing.T) {
			left := most
			x := explored{tr: c.Trace, o: ExploreOptions{Options: Options{Design: d, Follow: &traces.Counterexample{}}}}
			require.NoError(t, x.o.resolve(c.Trace))
			x.o.Follow = nil
			sim.Explore(sim.ExploreOptions{Bound: -1}, x.run, func(_ any, g *sim.Guide) bool {
				left--
				_, bad := exchangeSteps(t, c.Trace, d, g.Alike(), 5, uint64(left))
				require.Empty(t, bad)
				return left > 0
			})
		})
	}
}
