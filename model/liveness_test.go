// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/sim"
)

// perFetch is a rate of a Load: p invalidations in each FetchTime.
func perFetch(p float64) uint64 { return uint64(p * (1 << 32)) }

func measure(t testing.TB, l Load) *Liveness {
	x, err := MeasureRestores(l)
	require.NoError(t, err)
	return x
}

func TestTheSameLoadGivesTheSameNumbers(t *testing.T) {
	for _, d := range LivenessDesigns {
		l := Load{Design: d, Ranges: 64, Chance: perFetch(0.02), Seed: 5}
		first, again := measure(t, l), measure(t, l)
		require.Equal(t, first, again, d)
		l.Seed++
		require.NotEqual(t, first.Stopped, measure(t, l).Stopped, "%s: another seed is another experiment", d)
	}
}

// TestPassesOfOneFetchForAllAreGeometric: a pass of multi commits if none of the n
// FetchTimes that it takes had an invalidation. So the number of passes is geometric
// with the success s = (1-p)^n: 1/s on the average, with the variance (1-s)/s^2.
func TestPassesOfOneFetchForAllAreGeometric(t *testing.T) {
	for _, c := range []struct {
		n int
		p float64
	}{{2, 0.3}, {8, 0.1}, {32, 0.05}, {64, 0.02}, {256, 0.004}, {1024, 0.001}} {
		const restores = 300
		x := measure(t, Load{Design: "multi", Ranges: c.n, Chance: perFetch(c.p), Seed: 1, Restores: restores, GiveUp: 1000})
		require.Equal(t, restores, x.Committed)
		s := math.Pow(1-c.p, float64(c.n))
		mean, sigma := float64(x.Passes)/restores, math.Sqrt((1-s)/s/s/restores)
		t.Logf("n=%d p=%v: %.3f passes, %.3f expected, sigma %.3f", c.n, c.p, mean, 1/s, sigma)
		require.InDelta(t, 1/s, mean, 3*sigma)
		spread := float64(x.squares)/restores - mean*mean
		require.InEpsilon(t, (1-s)/s/s, spread, 0.6, "the variance, roughly")
	}
}

// livenessReference is what a design does, in arithmetic: no driver, no pages, no
// tasks. It reads the same random numbers.
type livenessReference struct {
	n          uint64
	l          Load
	sharedSeq  bool // an invalidation anywhere beats every fetch (wide)
	together   bool // and the first one ends the pass (multi)
	drawn      uint64
	now, next  uint64 // FetchTimes; the next invalidation is in the middle of one
	invalid    []uint64
	seq        []uint64 // by range: when its unconfirmed fetch began, plus 1; 0 if there is none
	bo, hits   uint64
	last       uint64 // when the seq moved last, plus 1
	passes, fs uint64
}

func (r *livenessReference) draw() uint64 {
	r.drawn++
	return kfd.Mix(kfd.Mix(0x9e3779b97f4a7c15, r.l.Seed), r.drawn)
}

func (r *livenessReference) schedule() {
	for r.next++; r.draw()>>32 >= r.l.Chance; r.next++ {
	}
}

// pass lets a number of FetchTimes pass.
func (r *livenessReference) wait(n uint64) {
	for r.now += n; r.next < r.now; r.schedule() {
		if r.l.Place == InGap {
			r.draw()
			if r.sharedSeq {
				r.last = r.next + 1
			}
			continue
		}
		i := r.draw() % r.n
		r.invalid[i]++
		r.bo++
		r.hits++
		r.last = r.next + 1
	}
}

func (r *livenessReference) again(i uint64) {
	r.invalid[i]++
	r.bo++
}

// pass is one run of the worker: did it commit?
func (r *livenessReference) pass() bool {
	r.passes++
	for i := range r.n {
		if held := r.seq[i] != 0 && r.invalid[i] == 0; held && (r.together || r.sharedSeq && r.last >= r.seq[i]) {
			r.again(i)
		}
	}
	hits, bo, begin, ok := r.hits, r.bo, r.now, true
	before := append([]uint64(nil), r.invalid...)
	for i := range r.n {
		if before[i] == 0 {
			continue
		}
		r.fs++
		if r.together && r.last > begin {
			return false // EBUSY
		}
		r.seq[i] = r.now + 1
		r.wait(1)
		if r.together {
			continue
		}
		if r.invalid[i] == before[i] {
			r.invalid[i] = 0
		} else {
			ok = false
		}
	}
	if ok = ok && r.bo == bo && r.hits == hits; !ok {
		return false
	}
	r.bo = 0
	for i := range r.n {
		if r.sharedSeq && r.seq[i] != 0 && r.last >= r.seq[i] {
			return false
		}
	}
	clear(r.seq)
	clear(r.invalid)
	return true
}

// run performs the restores of the load, all of which must end in time.
func (r *livenessReference) run() {
	r.invalid, r.seq = make([]uint64, r.n), make([]uint64, r.n)
	r.now = r.n // registering fetched everything
	r.next = r.now
	r.schedule()
	for range r.l.Restores {
		for i := range r.n {
			r.again(i)
		}
		r.hits, r.last = r.hits+1, r.now+1
		for r.wait(uint64(kfd.RestoreDelay / FetchTime)); !r.pass(); r.wait(uint64(kfd.RestoreDelay / FetchTime)) {
		}
	}
}

// TestPassesAreThoseOfArithmetic compares the driver of the model, pass for pass,
// with what the protocols come to when nothing is left but counters.
func TestPassesAreThoseOfArithmetic(t *testing.T) {
	for _, d := range []string{"batch", "wideseq", "wide", "multi"} {
		for _, place := range []Place{InRange, InGap} {
			for _, n := range []int{2, 7, 64, 300} {
				l := Load{Design: d, Ranges: n, Place: place, Chance: perFetch(1.2 / float64(n)), Seed: uint64(n), Restores: 40, GiveUp: 1000}
				if n == 300 && place == InRange {
					l.Chance = perFetch(0.01)
				}
				t.Run(fmt.Sprint(d, " ", place, " ", n), func(t *testing.T) {
					x := measure(t, l)
					require.Equal(t, 40, x.Committed)
					ref := livenessReference{n: uint64(n), l: l, sharedSeq: d == "wide", together: d == "multi"}
					begin := ref.n
					ref.run()
					require.Equal(t, ref.passes, x.Passes)
					require.Equal(t, ref.fs, x.Fetched)
					require.Equal(t, sim.Time(ref.now-begin)*FetchTime, x.Stopped)
				})
			}
		}
	}
}

func TestOnlyADefectCommitsStalePages(t *testing.T) {
	l := Load{Ranges: 64, Chance: perFetch(0.02), Seed: 1}
	for _, l.Design = range []string{"batch", "wide", "wideseq", "multi", "single"} {
		require.Zero(t, measure(t, l).Stale, l.Design)
	}
	l.Design = "v4-D2"
	require.NotZero(t, measure(t, l).Stale)
}

func TestAGapHitBeatsOnlyTheSeqThatAllRangesShare(t *testing.T) {
	l := Load{Ranges: 256, Place: InGap, Chance: perFetch(0.01), Seed: 1}
	for _, l.Design = range []string{"batch", "wideseq", "multi", "single"} {
		x := measure(t, l)
		require.Equal(t, uint64(x.Committed), x.Passes, l.Design)
		require.Equal(t, 20, x.Committed, l.Design)
	}
	l.Design = "wide"
	require.Greater(t, measure(t, l).Passes, uint64(40))
}

func TestWithoutInvalidationsOnePassIsEnough(t *testing.T) {
	for _, d := range LivenessDesigns {
		x := measure(t, Load{Design: d, Ranges: 100})
		require.Equal(t, []uint64{20, 2000}, []uint64{x.Passes, x.Fetched}, d)
		require.Equal(t, 20*(kfd.RestoreDelay+100*FetchTime), x.Stopped, d)
	}
}

func TestARestoreThatNeverEndsIsSaidSo(t *testing.T) {
	require.Equal(t, "stuck", measure(t, Load{Design: "batch+D1", Ranges: 2}).Verdict)
	require.Equal(t, "misuse", measure(t, Load{Design: "v4", Ranges: 2}).Verdict)
	x := measure(t, Load{Design: "multi", Ranges: 512, Chance: perFetch(0.1), Seed: 1})
	require.Equal(t, "ok", x.Verdict)
	require.False(t, x.Ends())
	require.Zero(t, x.Committed)
}

// TestLimitsFallWithTheRangesWhereOneSeqIsShared: the answer to the question of the
// review. The limit of multi is where half of the restores take more than GiveUp
// passes, (1-(1-p)^n)^32 = 1/2, give or take what seven restores can tell.
func TestLimitsFallWithTheRangesWhereOneSeqIsShared(t *testing.T) {
	limit := func(design string, n int) float64 {
		l, err := FindLimit(Load{Design: design, Ranges: n, Seed: 1, Restores: 7})
		require.NoError(t, err)
		return float64(l.Chance) / (1 << 32)
	}
	for _, n := range []int{64, 512} {
		want := 1 - math.Pow(1-math.Pow(0.5, 1./defaultGiveUp), 1/float64(n))
		require.InEpsilon(t, want, limit("multi", n), 0.3)
		require.InEpsilon(t, want, limit("wide", n), 0.4)
	}
	for _, d := range []string{"batch", "wideseq", "single"} {
		require.InEpsilon(t, limit(d, 64), limit(d, 512), 0.3, d)
	}
}

func TestALimitIsAnyWhereNothingStopsADesign(t *testing.T) {
	l, err := FindLimit(Load{Design: "batch", Ranges: 8, Place: InGap, Restores: 3})
	require.NoError(t, err)
	require.True(t, l.Never)
	l, err = FindLimit(Load{Design: "batch+D1", Ranges: 8, Restores: 3})
	require.NoError(t, err)
	require.Equal(t, "stuck", l.Verdict)
}

func TestALoadThatCannotBePerformedIsAnError(t *testing.T) {
	for why, l := range map[string]Load{
		"design \"nonsense\": not known": {Design: "nonsense", Ranges: 2},
		"0 ranges":                       {Design: "batch"},
		"1 ranges":                       {Design: "batch", Ranges: 1, Place: InGap},
		"2097152 ranges":                 {Design: "batch", Ranges: 2 << 20},
	} {
		_, err := MeasureRestores(l)
		require.ErrorContains(t, err, why)
		_, err = FindLimit(l)
		require.ErrorContains(t, err, why)
	}
}
