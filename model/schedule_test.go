// SPDX-License-Identifier: MIT

package model

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/traces"
)

// seedsReplayed is how many random interleavings are compared with their replays.
const seedsReplayed = 1000

// replay runs the interleaving of a recorded run, which goes through a file.
func replay(t *testing.T, c corpusTrace, res *Result, lines traces.LineSpan) *Result {
	text := traces.AppendCounterexample(nil, c.text, res.Counterexample(lines))
	tr, err := traces.Parse(c.name, bytes.NewReader(text))
	require.NoError(t, err)
	got, err := Run(tr, Options{})
	require.NoError(t, err)
	require.Equal(t, res.Design, got.Design)
	require.Equal(t, "schedule", got.Order)
	return got
}

// TestRandomInterleavingsReplayByteForByte: a schedule makes the same history again,
// event for event.
func TestRandomInterleavingsReplayByteForByte(t *testing.T) {
	corpus, n := corpus(t), uint64(seedsReplayed)
	if testing.Short() {
		n /= 10
	}
	for seed := range n {
		c := corpus[seed%uint64(len(corpus))]
		o := Options{Design: designs[seed/uint64(len(corpus))%uint64(len(designs))].Name, Seed: &seed, PCT: int(seed % 4), Record: true}
		want := runCorpus(t, c, o)
		if want.Schedule.Len() == 0 {
			continue // nothing interleaves
		}
		got := replay(t, c, want, traces.LineSpan{})
		require.Equal(t, want.Fingerprint, got.Fingerprint, "%s on %s, seed %d", c.name, o.Design, seed)
		require.Equal(t, want.Verdict, got.Verdict, "%s on %s, seed %d", c.name, o.Design, seed)
		require.Equal(t, want.Reads, got.Reads)
	}
}

func TestWhatAnExplorationFindsReplays(t *testing.T) {
	found := 0
	for _, c := range corpus(t) {
		for _, x := range c.Directives.Explore {
			if x.Verdict == "ok" {
				continue
			}
			left := 2000
			e, err := Explore(c.Trace, ExploreOptions{Options: Options{Design: x.Design}, Stop: func() bool { left--; return left < 0 }})
			require.NoError(t, err)
			if e.Failed == nil {
				continue
			}
			found++
			got := replay(t, c, e.Failed, traces.LineSpan{})
			require.Equal(t, e.Failed.Fingerprint, got.Fingerprint, "%s on %s", c.name, x.Design)
			if e.Failed.Failure != nil { // else a result is another one than the recorded one
				require.Equal(t, e.Failed.Failure.Detail, got.Failure.Detail)
			}
			require.Equal(t, x.Verdict, got.Want, "a schedule is one of all interleavings")
		}
	}
	require.Greater(t, found, 5)
}

func TestAScheduleIsFollowedOnItsOwnDesignOnly(t *testing.T) {
	c, seed := corpusNamed(t, "last-seq-only"), uint64(5)
	want := runCorpus(t, c, Options{Design: "wide", Seed: &seed, Record: true})
	text := traces.AppendCounterexample(nil, c.text, want.Counterexample(traces.LineSpan{}))
	tr, err := traces.Parse(c.name, bytes.NewReader(text))
	require.NoError(t, err)
	own, err := Run(tr, Options{})
	require.NoError(t, err)
	require.Equal(t, want.Fingerprint, own.Fingerprint)
	other, err := Run(tr, Options{Design: "single"})
	require.NoError(t, err)
	require.Empty(t, other.Order)
	require.Equal(t, runCorpus(t, c, Options{Design: "single"}).Fingerprint, other.Fingerprint, "recorded order")
	_, err = Run(tr, Options{Design: "single", Follow: &tr.Directives.Counterexample})
	require.ErrorContains(t, err, "the schedule does not fit single: step ")
	require.ErrorContains(t, err, "runnable are ")
	require.ErrorContains(t, err, "last-seq-only:18:1: ")
}

func TestAScheduleThatIsNoneIsAnErrorInItsLine(t *testing.T) {
	tr, err := traces.Parse("x", strings.NewReader("cpu.read(0x10000, 1)\n#: schedule: 1 x1\n"))
	require.NoError(t, err)
	_, err = Run(tr, Options{})
	require.ErrorContains(t, err, `x:2:1: bad schedule: "1 x1": written `)
}

// corpusNamed returns one trace of the corpus.
func corpusNamed(t testing.TB, name string) corpusTrace {
	for _, c := range corpus(t) {
		if c.name == name {
			return c
		}
	}
	require.Fail(t, "no trace "+name)
	return corpusTrace{}
}

func TestATraceIsUnprovenIfItsWindowIsNotEntered(t *testing.T) {
	with := func(c corpusTrace, line string) *traces.Trace {
		tr, err := traces.Parse(c.name, strings.NewReader(line+"\n"+string(c.text)))
		require.NoError(t, err)
		return tr
	}
	c := corpusNamed(t, "seq-after-fault")
	e, err := Explore(with(c, "#: window: confirm-retry evicted-again"), ExploreOptions{})
	require.NoError(t, err)
	require.Equal(t, "ok", e.Verdict, e.Reason)
	require.Equal(t, "complete", e.Extent)
	e, err = Explore(with(c, "#: window: gap-hit"), ExploreOptions{})
	require.NoError(t, err)
	require.Equal(t, "unproven", e.Verdict)
	require.False(t, e.OK())
	require.Contains(t, e.Reason, "gap-hit")
	e, err = Explore(with(c, "#: window: gap-hit"), ExploreOptions{Options: Options{Design: "batch+seq-after-fault"}})
	require.NoError(t, err)
	require.Equal(t, "stale", e.Verdict, "a broken property counts first")

	stated, err := Run(with(c, "#: window: gap-hit"), Options{})
	require.NoError(t, err)
	require.Equal(t, "ok", stated.Verdict, "the trace states the verdict of recorded order")
	silent, err := traces.Parse("x", strings.NewReader("#: window: gap-hit\ncpu.read(0x10000, 1) = {0x0*1}\n"))
	require.NoError(t, err)
	run, err := Run(silent, Options{})
	require.NoError(t, err)
	require.Equal(t, "unproven", run.Verdict)

	_, err = Run(with(c, "#: window: nonsense"), Options{})
	require.ErrorContains(t, err, "seq-after-fault:1:1: unknown window nonsense: the windows are callback-during-fetch, ")
}

// TestEveryWindowIsEnteredByATraceOfTheCorpus: a window that nothing enters is no
// window.
func TestEveryWindowIsEnteredByATraceOfTheCorpus(t *testing.T) {
	entered := map[string]string{}
	for _, c := range corpus(t) {
		for seed := uint64(0); seed < 4 && len(entered) < len(windows); seed++ {
			o := Options{Design: []string{"batch", "wide"}[seed%2], Seed: &seed}
			if seed < 2 {
				o.Seed = nil
			}
			for _, m := range runCorpus(t, c, o).Marks {
				entered[m] = c.name
			}
		}
	}
	for _, w := range Windows() {
		require.Contains(t, entered, w.Name)
		require.NotEmpty(t, w.Story)
	}
}

func TestOnlyTheLinesOfTheWindowInterleave(t *testing.T) {
	c := corpusNamed(t, "seq-after-fault")
	lines := traces.LineSpan{First: 14, Last: 16}
	design := Options{Design: "batch+seq-after-fault"}
	all, err := Explore(c.Trace, ExploreOptions{Options: design})
	require.NoError(t, err)
	design.Lines = lines
	some, err := Explore(c.Trace, ExploreOptions{Options: design})
	require.NoError(t, err)
	require.Equal(t, "stale", some.Verdict)
	require.Less(t, some.Deepest, all.Deepest)
	got := replay(t, c, some.Failed, lines)
	require.Equal(t, some.Failed.Fingerprint, got.Fingerprint)

	good, err := Explore(c.Trace, ExploreOptions{Options: Options{Lines: lines}})
	require.NoError(t, err)
	require.Equal(t, "ok", good.Verdict)
	require.Equal(t, "complete", good.Extent)
	one, err := Explore(c.Trace, ExploreOptions{Options: Options{Lines: traces.LineSpan{First: 14, Last: 14}}})
	require.NoError(t, err)
	require.Less(t, one.Executions, good.Executions)
	past, err := Explore(c.Trace, ExploreOptions{Options: Options{Lines: traces.LineSpan{First: 100, Last: 200}}})
	require.NoError(t, err)
	require.EqualValues(t, 1, past.Executions, "nothing interleaves")
	require.Equal(t, "ok", past.Verdict)
}
