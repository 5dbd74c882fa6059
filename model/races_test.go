// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// races is where the diagrams are that docs/found.md shows.
const races = "../testdata/races"

// shownBy is the trace that shows a defect alone, the design that has it, and whether
// that takes all interleavings.
type shownBy struct {
	trace   corpusTrace
	design  string
	explore bool
}

// whatShows looks in the corpus for the trace that is named after the defect and
// expects its word of a design that has nothing else wrong; recorded order first.
func whatShows(t *testing.T, d Defect) shownBy {
	for _, explore := range []bool{false, true} {
		for _, c := range corpus(t) {
			if c.name != d.Name && !strings.HasPrefix(c.name, strings.ToLower(d.Name)+"-") && !showsToo(c.name, d.Name) {
				continue
			}
			list := c.Directives.Result
			if explore {
				list = c.Directives.Explore
			}
			for _, e := range list {
				if base, ok := strings.CutSuffix(e.Design, "+"+d.Name); ok && designNamed(base) != nil && e.Verdict == d.Word {
					return shownBy{c, e.Design, explore}
				}
			}
		}
	}
	require.Fail(t, "no trace shows it alone", d.Name)
	return shownBy{}
}

// showsToo names traces that are not named after the defect that they show.
func showsToo(trace, defect string) bool {
	return defect == "skip-flush" && trace == "queues-stopped-without-a-flush"
}

// TestTheDiagramOfEveryDefectIsTheOneThatIsShown: each defect alone, by the trace that
// shows it, with the command and the race.
func TestTheDiagramOfEveryDefectIsTheOneThatIsShown(t *testing.T) {
	for _, d := range Defects() {
		if d.Word == "" || d.Name == "seq-alone" {
			continue // cannot be switched on; nothing alone
		}
		t.Run(d.Name, func(t *testing.T) {
			got := diagram(t, d, whatShows(t, d))
			path := filepath.Join(races, strings.ToLower(d.Name)+".txt")
			if *update {
				require.NoError(t, os.MkdirAll(races, 0o755))
				require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got, "go test ./model -run Diagram -update, then go test ./docs -update")
		})
	}
}

// diagram is what docs/found.md shows of a defect.
func diagram(t *testing.T, d Defect, s shownBy) string {
	verb, res := "run", (*Result)(nil)
	if s.explore {
		verb = "explore"
		e, err := Explore(s.trace.Trace, ExploreOptions{Options: Options{Design: s.design}, Workers: 2})
		require.NoError(t, err)
		require.Equal(t, d.Word, e.Verdict, e.Reason)
		res = e.Failed
	} else {
		res = runCorpus(t, s.trace, Options{Design: s.design})
		require.Equal(t, d.Word, res.Verdict, res.Reason)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "$ kfdsim %s -design %s \\\n      traces/%s.trace\n\n%s", verb, s.design, s.trace.name, d.Word)
	switch {
	case res != nil && res.Failure != nil:
		fmt.Fprintf(&b, ": %s\n\n%s", res.Reason, sim.Race(excerptOf(res)))
	case res != nil && len(res.Differs) > 0:
		x := res.Differs[0]
		fmt.Fprintf(&b, ": line %d: %s gives %s, the trace records %s\n", x.Line, x.Call, x.Got, x.Want)
	default:
		fmt.Fprintf(&b, ", but\n\n%s", counted(t, s))
	}
	return b.String()
}

// excerptOf is how the run came to its end; of a loop, how it began.
func excerptOf(r *Result) []sim.Event {
	const lines = 24
	tail := r.Tail()
	for i := range tail {
		if r.Verdict == "stuck" && tail[i].Func.Name() == "mn_itree_inv_start_range" {
			return tail[i:min(i+lines, len(tail))]
		}
	}
	return r.Excerpt()
}

// counted compares what a harmless defect changes with the design without it.
func counted(t *testing.T, s shownBy) string {
	base, _, _ := strings.Cut(s.design, "+")
	with, without := worst(t, s.trace.Trace, s.design), worst(t, s.trace.Trace, base)
	return fmt.Sprintf("%-22s %14s %14s\n%-22s %14d %14d\n%-22s %14d %14d\n%-22s %14s %14s\n", "at most", s.design, base,
		"passes of the worker", with.passes, without.passes, "warnings in the log", with.warnings, without.warnings,
		"virtual time", with.time, without.time)
}

type cost struct {
	passes, warnings uint64
	time             string
}

// worst returns the most that a trace costs on a design in many orders.
func worst(t *testing.T, tr *traces.Trace, design string) cost {
	var c cost
	var longest int64
	for seed := range uint64(quietSeeds) {
		r, err := Run(tr, Options{Design: design, Seed: &seed})
		require.NoError(t, err)
		require.Nil(t, r.Failure)
		c.passes, c.warnings = max(c.passes, r.Counts.RestorePasses), max(c.warnings, r.Counts.Warnings)
		longest = max(longest, r.VirtualNS)
	}
	c.time = fmt.Sprintf("%d.%03d s", longest/1e9, longest/1e6%1000)
	return c
}
