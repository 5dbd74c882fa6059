// SPDX-License-Identifier: MIT

package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/traces"
)

// laterBytes is what an access takes that the cache keeps with a state.
const laterBytes = 56

// BenchmarkExplore explores 2000 executions of the reference scenario: three ranges,
// two threads that take two of them away each, the restore worker and a reader.
func BenchmarkExplore(b *testing.B) {
	f, err := traces.Corpus().Open("three-ranges-taken-by-two-threads.trace")
	require.NoError(b, err)
	tr, err := traces.Parse("reference", f)
	require.NoError(b, err)
	b.ReportAllocs()
	var executions, states, cached, later uint64
	for range b.N {
		left := 2000
		e, err := Explore(tr, ExploreOptions{Stop: func() bool { left--; return left < 0 }})
		require.NoError(b, err)
		require.Equal(b, "ok", e.Verdict)
		executions, states = executions+e.Executions, states+e.States
		cached, later = cached+e.Cached, later+e.Later
	}
	b.ReportMetric(float64(executions)/b.Elapsed().Seconds(), "executions/s")
	b.ReportMetric(float64(states)/b.Elapsed().Seconds(), "states/s")
	b.ReportMetric(float64(later*laterBytes)/float64(max(cached, 1)), "B/cached-state")
}
