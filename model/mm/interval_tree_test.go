// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// naive is the dullest index: a slice in order of start, equal starts in order of
// insertion.
type naive []*IntervalNotifier

func (s naive) overlaps(lo, hi uint64) []*IntervalNotifier {
	var out []*IntervalNotifier
	for _, n := range s {
		if n.Start < hi && lo < n.End {
			out = append(out, n)
		}
	}
	return out
}

// checkIntervals compares every derived field with what it is derived from.
func checkIntervals(t require.TestingT, it *intervalTree) {
	var prev, prefix uint64
	n := 0
	for c, ch := range it.chunks {
		require.Positive(t, ch.n)
		require.Equal(t, ch.start[0], it.first[c])
		var m uint64
		for i := 0; i < ch.n; i++ {
			require.LessOrEqual(t, prev, ch.start[i])
			prev = ch.start[i]
			m = max(m, ch.end[i])
			require.Equal(t, ch.item[i].Start, ch.start[i])
		}
		prefix = max(prefix, m)
		require.Equal(t, m, it.maxEnd[c])
		require.Equal(t, prefix, it.prefix[c])
		n += ch.n
	}
	require.Equal(t, n, it.n)
}

func TestIntervalTreeAgreesWithASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var it intervalTree
		var ref naive
		space := rapid.SampledFrom([]uint64{20, 500, 100000}).Draw(t, "space")
		bound := rapid.SampledFrom([]uint64{1, 5, 2000}).Draw(t, "longest")
		t.Repeat(map[string]func(*rapid.T){
			"insert some": func(t *rapid.T) {
				for k := rapid.IntRange(1, 60).Draw(t, "n"); k > 0; k-- {
					lo := rapid.Uint64Range(0, space).Draw(t, "lo")
					n := &IntervalNotifier{Start: lo, End: lo + rapid.Uint64Range(1, bound).Draw(t, "len")}
					it.insert(n)
					i := sort.Search(len(ref), func(i int) bool { return ref[i].Start > n.Start })
					ref = append(ref, nil)
					copy(ref[i+1:], ref[i:])
					ref[i] = n
				}
			},
			"remove some": func(t *rapid.T) {
				for k := rapid.IntRange(1, 60).Draw(t, "n"); k > 0 && len(ref) > 0; k-- {
					i := rapid.IntRange(0, len(ref)-1).Draw(t, "which")
					require.True(t, it.remove(ref[i]))
					require.False(t, it.remove(ref[i]), "twice")
					ref = append(ref[:i], ref[i+1:]...)
				}
			},
			"": func(t *rapid.T) {
				checkIntervals(t, &it)
				lo := rapid.Uint64Range(0, space+bound).Draw(t, "query")
				hi := lo + rapid.Uint64Range(1, space).Draw(t, "span")
				want := ref.overlaps(lo, hi)
				got := it.appendOverlaps(nil, lo, hi)
				require.Len(t, got, len(want))
				for i := range want {
					require.Equal(t, want[i].Start, got[i].Start)
				}
				require.Equal(t, len(want) > 0, it.overlaps(lo, hi))
			},
		})
	})
}

// BenchmarkStab finds the 8 of n notifiers that a window overlaps.
func BenchmarkStab(b *testing.B) {
	for _, n := range []uint64{1e3, 1e4, 1e5, 1e6} {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			var it intervalTree
			all := make([]IntervalNotifier, n)
			for i := range all {
				all[i] = IntervalNotifier{Start: uint64(i) * 4, End: uint64(i)*4 + 3}
				it.insert(&all[i])
			}
			var hits []*IntervalNotifier
			x := uint64(1)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				x = x*6364136223846793005 + 1442695040888963407
				lo := (x >> 33) % (n - 10) * 4
				hits = it.appendOverlaps(hits[:0], lo, lo+32)
			}
			b.ReportMetric(float64(len(hits)), "hits/op")
		})
	}
}
