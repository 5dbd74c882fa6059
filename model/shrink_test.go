// SPDX-License-Identifier: MIT

package model

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/traces"
)

// manyRanges returns a trace of the corpus with n ranges in its batch, and the memory
// for them.
func manyRanges(t testing.TB, name string, n int) []byte {
	ranges := make([]string, n)
	for i := range ranges {
		ranges[i] = fmt.Sprintf("{start=%#x, size=0x2000}", 0x10000*(i+1))
	}
	text := string(corpusNamed(t, name).text)
	text = regexp.MustCompile(`ranges=\[.*?\]`).ReplaceAllString(text, "ranges=["+strings.Join(ranges, ", ")+"]")
	text = regexp.MustCompile(`total_size=\w+`).ReplaceAllString(text, fmt.Sprintf("total_size=%#x", 0x2000*n))
	text = regexp.MustCompile(`(?m)^1 mmap\(0x20000.*\n`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`1 mmap\(0x10000, \w+`).ReplaceAllString(text, fmt.Sprintf("1 mmap(0x10000, %dK", 64*n))
	return []byte(text)
}

// TestShrinkingFindsTheFewestLinesAndPreemptions: what is left of a batch of any size
// is the same.
func TestShrinkingFindsTheFewestLinesAndPreemptions(t *testing.T) {
	for _, defect := range []string{"last-seq-only", "seq-after-fault"} {
		var first *Shrunk
		for _, n := range []int{3, 1024} {
			s, err := Shrink(defect, manyRanges(t, defect, n), ShrinkOptions{Options: Options{Design: "batch+" + defect}})
			require.NoError(t, err)
			require.Equal(t, 2, s.Preemptions)
			tr, err := traces.Parse("x", bytes.NewReader(s.Text))
			require.NoError(t, err)
			require.LessOrEqual(t, len(tr.Ops), 8)
			got, err := Run(tr, Options{})
			require.NoError(t, err)
			require.Equal(t, s.Result.Fingerprint, got.Fingerprint)
			require.Equal(t, "stale", got.Verdict)
			fewer, err := Explore(tr, ExploreOptions{Options: Options{}, Bounded: true, Bound: 1})
			require.NoError(t, err)
			require.Nil(t, fewer.Failed, "one preemption is not enough")
			if first == nil {
				first = s
			}
			require.Equal(t, first.Result.Failure.Property, s.Result.Failure.Property)
			require.Equal(t, len(strings.Split(string(first.Text), "\n")), len(strings.Split(string(s.Text), "\n")))
		}
	}
}

func TestShrinkingIsTheSameEveryTime(t *testing.T) {
	c := corpusNamed(t, "d11-freed-while-a-callback-walks")
	var first *Shrunk
	for range 2 {
		s, err := Shrink(c.name, c.text, ShrinkOptions{Options: Options{Design: "wide+D11"}})
		require.NoError(t, err)
		if first == nil {
			first = s
		}
		require.Equal(t, string(first.Text), string(s.Text))
	}
	require.Equal(t, "misuse", first.Result.Verdict)
}

func TestShrinkingKeepsWhatASeedFound(t *testing.T) {
	c := corpusNamed(t, "last-seq-only")
	found := uint64(0)
	for ; ; found++ {
		if r := runCorpus(t, c, Options{Design: "batch+last-seq-only", Seed: &found}); r.Failure != nil {
			break
		}
	}
	s, err := Shrink(c.name, c.text, ShrinkOptions{Options: Options{Design: "batch+last-seq-only", Seed: &found}})
	require.NoError(t, err)
	require.Equal(t, "stale", s.Result.Verdict)
	require.GreaterOrEqual(t, s.Preemptions, 0, "exploring finds it, too")
}

func TestWhatFailsInRecordedOrderNeedsNoSchedule(t *testing.T) {
	c := corpusNamed(t, "d3-only-a-middle-range-evicted")
	s, err := Shrink(c.name, c.text, ShrinkOptions{Options: Options{Design: "batch+D3"}})
	require.NoError(t, err)
	require.Equal(t, 0, s.Result.Schedule.Len())
	require.NotContains(t, string(s.Text), "#: schedule:")
	require.Less(t, len(s.Text), len(c.text))
}

func TestThereIsNothingToShrinkWhereNothingFails(t *testing.T) {
	c := corpusNamed(t, "seq-after-fault")
	_, err := Shrink(c.name, c.text, ShrinkOptions{Options: Options{Design: "batch"}, Executions: 50})
	require.ErrorIs(t, err, ErrNothingToShrink)
	_, err = Shrink(c.name, []byte("nonsense(\n"), ShrinkOptions{})
	require.ErrorContains(t, err, c.name+":1:")
}

// BenchmarkShrinking1024Ranges is the shortest counterexample of a batch of 1024
// ranges.
func BenchmarkShrinking1024Ranges(b *testing.B) {
	for _, defect := range []string{"last-seq-only", "seq-after-fault"} {
		b.Run(defect, func(b *testing.B) {
			text, tried := manyRanges(b, defect, 1024), 0
			for b.Loop() {
				s, err := Shrink(defect, text, ShrinkOptions{Options: Options{Design: "batch+" + defect}})
				require.NoError(b, err)
				tried = s.Tried
			}
			b.ReportMetric(float64(tried), "traces/op")
		})
	}
}
