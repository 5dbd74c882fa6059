// SPDX-License-Identifier: MIT

package model

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/traces"
)

// raceTraces are those that state what they expect of all orders and that end
// soon on a design without defects.
func raceTraces(t testing.TB) []corpusTrace {
	var out []corpusTrace
	for _, c := range corpus(t) {
		if len(c.Directives.Explore) > 0 && len(c.text) < 4000 && c.name != "seq-per-piece" && c.name != "d9-reaper-waits-for-the-gpu" {
			out = append(out, c)
		}
	}
	return out
}

// TestExplorationFindsWhatRandomOrdersFind: a design with any one defect that some
// random order of a trace breaks is broken by an exploration, too, and what an
// exploration has gone through completely no random order breaks.
func TestExplorationFindsWhatRandomOrdersFind(t *testing.T) {
	seeds := uint64(10 * moreOf(t))
	if testing.Short() {
		seeds = 2
	}
	for i, c := range raceTraces(t) {
		for k, x := range Defects() {
			for j, d := range x.Designs {
				if (i+j+k)%4 != 0 && moreOf(t) < 30 {
					continue
				}
				t.Run(c.name+"/"+d+"+"+x.Name, func(t *testing.T) {
					t.Parallel()
					requireFound(t, c, d+"+"+x.Name, seeds)
				})
			}
		}
	}
}

func requireFound(t *testing.T, c corpusTrace, design string, seeds uint64) {
	for seed := range seeds {
		r := runCorpus(t, c, Options{Design: design, Seed: &seed})
		if r.Failure == nil {
			continue
		}
		e := exploreAll(t, c.Trace, design)
		if e.Failed == nil && e.Extent != "complete" {
			t.Skipf("%s after %d executions", e.Extent, e.Executions)
		}
		require.NotNil(t, e.Failed, "seed %d finds %s: %s; an exploration that is %s does not", seed, r.Verdict, r.Reason, e.Extent)
		return
	}
}

// BenchmarkExploreDefects says what it costs to find each defect alone, in the trace
// of the corpus that is about it.
func BenchmarkExploreDefects(b *testing.B) {
	for _, x := range Defects() {
		for _, c := range corpus(b) {
			if !strings.HasPrefix(c.name, strings.ToLower(x.Name)) {
				continue
			}
			for _, d := range x.Designs {
				b.Run(c.name+"/"+d, func(b *testing.B) { benchmarkExplore(b, c.Trace, d+"+"+x.Name, x.DefectInfo) })
			}
		}
	}
}

func benchmarkExplore(b *testing.B, tr *traces.Trace, design string, x *kfd.DefectInfo) {
	var executions uint64
	for range b.N {
		e := exploreAll(b, tr, design)
		executions += e.Executions
	}
	b.ReportMetric(float64(executions)/float64(b.N), "executions")
	b.ReportMetric(0, x.Word)
}
