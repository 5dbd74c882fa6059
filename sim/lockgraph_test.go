// SPDX-License-Identifier: MIT

package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOrdersOfSeveralRunsTogetherMakeACycle that no single run has.
func TestOrdersOfSeveralRunsTogetherMakeACycle(t *testing.T) {
	a, b, c := NewLockClass("a"), NewLockClass("b"), NewLockClass("c")
	var g LockGraph
	run := func(order ...*LockClass) {
		s := New(Options{})
		s.Go("t", func(t *Task) {
			locks := make([]Mutex, len(order))
			for i, class := range order {
				locks[i].Init(s, class)
				locks[i].Lock(t)
			}
			for i := range locks {
				locks[i].Unlock(t)
			}
		})
		s.Run()
		require.Nil(t, s.Failure())
		g.Add(s)
	}
	run(a, b)
	run(b, c)
	require.Nil(t, g.Cycle())
	run(c, a)
	require.Equal(t, []string{"a", "b", "c", "a"}, g.Cycle())
	f := CircularDependency(g.Cycle())
	require.Equal(t, "misuse", f.Verdict)
	require.Contains(t, f.Detail, "a -> b -> c -> a")
}
