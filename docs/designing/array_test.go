// SPDX-License-Identifier: MIT

package designing_test

import (
	"flag"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/docs/designing"
	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

var update = flag.Bool("update", false, "write race.txt")

func array() kfd.Design { return &designing.Array{} }

func firstVersion() kfd.Design { return &designing.Array{SeqInLoop: true} }

// TestEveryTraceIsOKOnTheDesign is the property test: each shipped trace in recorded
// order, where its results are judged too, and in some random orders.
func TestEveryTraceIsOKOnTheDesign(t *testing.T) {
	names, err := fs.Glob(traces.Corpus(), "*.trace")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		f, err := traces.Corpus().Open(name)
		require.NoError(t, err)
		tr, err := traces.Parse(name, f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		r, err := model.Run(tr, model.Options{New: array})
		require.NoError(t, err)
		if r.Verdict != "unproven" { // it is about a race, which one order need not enter
			require.Equal(t, "ok", r.Verdict, "%s: %s", name, r.Reason)
		}
		for seed := range uint64(3) {
			r, err := model.Run(tr, model.Options{New: array, Seed: &seed})
			require.NoError(t, err)
			require.Nil(t, r.Failure, "%s, seed %d: %s", name, seed, r.Reason)
		}
	}
}

// TestTheRaceOfTheFirstVersionIsTheOneThatIsShown compares the diagram in race.txt,
// which docs/designing.md shows.
func TestTheRaceOfTheFirstVersionIsTheOneThatIsShown(t *testing.T) {
	tr, err := traces.Parse("two-ranges.trace", strings.NewReader(twoRanges))
	require.NoError(t, err)
	x, err := model.Explore(tr, model.ExploreOptions{Options: model.Options{New: firstVersion}})
	require.NoError(t, err)
	require.Equal(t, "stale", x.Verdict)
	got := x.Reason + "\n\n" + sim.Race(fromTheWorkerOn(x.Failed.Tail()))
	if *update {
		require.NoError(t, os.WriteFile("race.txt", []byte(got), 0o644))
	}
	want, err := os.ReadFile("race.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), got, "go test ./docs/designing -update, then ./docs -update")
}

// fromTheWorkerOn leaves out what comes before the restore worker runs.
func fromTheWorkerOn(events []sim.Event) []sim.Event {
	for i := range events {
		if events[i].Func.Name() == "amdgpu_amdkfd_restore_userptr_worker" {
			return events[i:]
		}
	}
	return events
}
