// SPDX-License-Identifier: MIT

package model

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/traces"
)

// quietSeeds is how many random orders what is harmless must survive.
const quietSeeds = 200

// exploreAll explores a trace on a design as far as it has to go, or, where one
// execution is long, as far as the tests have time for.
func exploreAll(t testing.TB, tr *traces.Trace, design string) *Exploration {
	r, err := Run(tr, Options{Design: design})
	require.NoError(t, err)
	left := uint64(5e6)
	if testing.Short() {
		left = 5e5
	}
	left /= 100 + r.Events
	e, err := Explore(tr, ExploreOptions{Options: Options{Design: design}, Stop: func() bool {
		left--
		return left == 0
	}})
	require.NoError(t, err)
	return e
}

// TestCorpusExpectationsForAllOrdersHold: what a trace expects of all interleavings
// is what an exploration says.
func TestCorpusExpectationsForAllOrdersHold(t *testing.T) {
	for _, c := range corpus(t) {
		for _, want := range c.Directives.Explore {
			t.Run(c.name+"/"+want.Design, func(t *testing.T) {
				t.Parallel()
				if testing.Short() && want.Verdict == "ok" {
					t.Skip("goes through every order")
				}
				e := exploreAll(t, c.Trace, want.Design)
				if e.Verdict == "unproven" && e.Extent != "complete" {
					t.Skipf("%s after %d executions: %s", e.Extent, e.Executions, e.Reason)
				}
				require.Equal(t, want.Verdict, e.Verdict, e.Reason)
				t.Logf("%s: %s, %d executions", e.Verdict, e.Extent, e.Executions)
			})
		}
	}
}

// TestManyTracesSayWhatAllOrdersGive on the three designs that the review compares.
func TestManyTracesSayWhatAllOrdersGive(t *testing.T) {
	n := 0
	for _, c := range corpus(t) {
		x := c.Directives.Explore
		if wanted(x, "batch") == "ok" && wanted(x, "wide") == "ok" && wanted(x, "single") == "ok" {
			n++
		}
	}
	require.GreaterOrEqual(t, n, 30)
}

// expectations are what the corpus expects of a design, in recorded and in all
// orders: its words, each once.
func expectations(t *testing.T, design string) []string {
	var words []string
	for _, c := range corpus(t) {
		for _, e := range slices.Concat(c.Directives.Result, c.Directives.Explore) {
			if isNameOf(e.Design, design) && !slices.Contains(words, e.Verdict) {
				words = append(words, e.Verdict)
			}
		}
	}
	return words
}

// TestEveryDefectIsInTheCorpusAlone: each defect has a trace that shows it on a
// design which has nothing else wrong, with the word that the table names.
func TestEveryDefectIsInTheCorpusAlone(t *testing.T) {
	for _, d := range Defects() {
		if d.Word == "" {
			require.Empty(t, d.Designs, d.Name)
			continue
		}
		require.NotEmpty(t, d.Designs, d.Name)
		var words []string
		for _, design := range d.Designs {
			words = append(words, expectations(t, design+"+"+d.Name)...)
		}
		require.Contains(t, words, d.Word, d.Name)
	}
}

// savedByCounters are defects that the version which has them survives: it compares
// counters, too.
var savedByCounters = map[string]bool{"single@6.1 no-read-retry": true, "single@6.12.113 seq-per-piece": true}

// TestEveryPostedVersionShowsItsDefects: the trace of each defect names each version
// that has it, with those defects taken away that hide it there.
func TestEveryPostedVersionShowsItsDefects(t *testing.T) {
	traces := corpus(t)
	for _, v := range PostedVersions() {
		for _, d := range v.Defects.List() {
			want := d.Info().Word
			if savedByCounters[v.Name+" "+d.String()] {
				want = "ok"
			}
			shown := false
			for _, c := range traces {
				if !strings.HasPrefix(c.name, strings.ToLower(d.String())) {
					continue
				}
				for _, e := range slices.Concat(c.Directives.Result, c.Directives.Explore) {
					x, err := FindDesign(e.Design)
					require.NoError(t, err, c.name)
					base, _, _ := strings.Cut(x.Name, "-")
					shown = shown || base == v.Name && x.Defects.Has(d) && e.Verdict == want
				}
			}
			require.True(t, shown, "no trace shows %s in %s as %s", d, v.Name, want)
		}
	}
}

func TestADefectIsSwitchedOnByName(t *testing.T) {
	for name, want := range map[string]struct {
		printed string
		defects kfd.Defects
	}{
		"batch":                          {"batch", 0},
		"batch+D3":                       {"batch+D3", kfd.DefectsOf(kfd.D3)},
		"batch+D6+D3":                    {"batch+D3+D6", kfd.DefectsOf(kfd.D3, kfd.D6)},
		"wide+D11+D5":                    {"wide+D5+D11", kfd.DefectsOf(kfd.D5, kfd.D11)},
		"single@6.12":                    {"single@6.12", kfd.DefectsOf(kfd.D15, kfd.D17)},
		"single@6.12-D15":                {"single@6.12-D15", kfd.DefectsOf(kfd.D17)},
		"v3-D2+D5-D14":                   {"v3+D5-D2-D14", kfd.DefectsOf(kfd.D3, kfd.D4, kfd.D5, kfd.D8, kfd.D9, kfd.D10, kfd.D11, kfd.D17)},
		"batch+last-seq-only":            {"batch+last-seq-only", kfd.DefectsOf(kfd.LastSeqOnly, kfd.SeqAlone)},
		"single+seq-per-piece-seq-alone": {"single+seq-per-piece-seq-alone", kfd.DefectsOf(kfd.SeqPerPiece)},
	} {
		d, err := FindDesign(name)
		require.NoError(t, err, name)
		require.Equal(t, want.printed, d.Name)
		require.Equal(t, want.defects, d.Defects, name)
		again, err := FindDesign(d.Name)
		require.NoError(t, err, name)
		require.Equal(t, d.Name, again.Name)
		require.NotEmpty(t, d.Story)
	}
}

func TestAWrongDesignNameSaysWhy(t *testing.T) {
	for name, why := range map[string]string{
		"":               "not known: have batch, ",
		"v5":             "single@6.12, ",
		"batch+":         "is no defect",
		"batch+D3D6":     "D3D6 is no defect: see kfdsim list defects",
		"batch+d3":       "d3 is no defect",
		"batch+D3+D3":    "D3 is named twice",
		"batch+D3-D3":    "D3 is named twice",
		"batch+D15":      "batch cannot have the defect D15: have D1, ",
		"mirror+D9":      "mirror has no defects to switch on",
		"batch+D13":      "CRIU dumps only, which are not modelled",
		"wide-D3":        "it does not have the defect D3",
		"v2+D2":          "it has the defect D2 as it is",
		"v2-D4":          "it does not have the defect D4",
		"single@6.12.99": "not known",
	} {
		_, err := FindDesign(name)
		require.ErrorContains(t, err, why, name)
		var unknown *ErrUnknownDesign
		require.ErrorAs(t, err, &unknown, name)
	}
}

// TestTheTableOfDefectsIsInOrder: D1 to D17 by number, then the others by name.
func TestTheTableOfDefectsIsInOrder(t *testing.T) {
	var others []string
	for i, d := range kfd.DefectTable {
		require.Equal(t, kfd.Defect(i), d.Defect, d.Name)
		require.NotEmpty(t, d.Source, d.Name)
		require.NotEmpty(t, d.Story, d.Name)
		require.NotContains(t, d.Name, "+")
		require.Contains(t, append([]string{""}, traces.Verdicts...), d.Word, d.Name)
		if i >= 17 {
			others = append(others, d.Name)
		}
	}
	require.True(t, slices.IsSorted(others), strings.Join(others, " "))
}

// TestTheTreeOfRangesIsWatched: no broken part of a test can reach it.
func TestTheTreeOfRangesIsWatched(t *testing.T) {
	e := exploreAll(t, corpusNamed(t, "d11-freed-while-a-callback-walks").Trace, "wide+D11")
	require.NotNil(t, e.Failed)
	require.Equal(t, "range-tree", e.Failed.Failure.Property)
}

// TestHarmlessDefectsShowInTheCounts: what breaks nothing costs something.
func TestHarmlessDefectsShowInTheCounts(t *testing.T) {
	t.Run("D12 warns", func(t *testing.T) {
		tr, warned := corpusNamed(t, "d12-invalidation-in-a-gap-during-restore").Trace, false
		for seed := uint64(0); seed < 20000 && !warned; seed++ {
			r, err := Run(tr, Options{Design: "wide+D12", Seed: &seed})
			require.NoError(t, err)
			warned = r.Counts.Warnings > 0
			if warned {
				good, err := Run(tr, Options{Design: "wide", Seed: &seed})
				require.NoError(t, err)
				require.Zero(t, good.Counts.Warnings)
				require.Less(t, r.Counts.Fetches, good.Counts.Fetches, "it does not fetch again")
			}
		}
		require.True(t, warned)
	})
	t.Run("stale-seq takes a second", func(t *testing.T) {
		tr := corpusNamed(t, "stale-seq").Trace
		good, err := Run(tr, Options{Design: "single"})
		require.NoError(t, err)
		bad, err := Run(tr, Options{Design: "single+stale-seq"})
		require.NoError(t, err)
		require.Less(t, good.VirtualNS, int64(100e6))
		require.Greater(t, bad.VirtualNS, int64(1e9))
	})
}

// TestInvalidationsBetweenTheRangesBeatAWideSeqAlone: that is what the designs with
// one notifier and those with a seq for each range differ in.
func TestInvalidationsBetweenTheRangesBeatAWideSeqAlone(t *testing.T) {
	collisions := map[string]uint64{}
	for _, c := range corpus(t) {
		if c.name != "d12-invalidation-in-a-gap-during-restore" {
			continue
		}
		for _, d := range []string{"batch", "multi", "wide", "wideseq"} {
			for seed := range uint64(300) {
				collisions[d] += runCorpus(t, c, Options{Design: d, Seed: &seed}).Counts.Collisions
			}
		}
	}
	require.NotZero(t, collisions["wide"])
	delete(collisions, "wide")
	require.Equal(t, map[string]uint64{"batch": 0, "multi": 0, "wideseq": 0}, collisions)
}
