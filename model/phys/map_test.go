// SPDX-License-Identifier: MIT

package phys

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// checkMap returns an error when m breaks a promise of its own structure.
func checkMap(m *Map) error {
	var pages, end uint64 // end: of what came before
	for c, ch := range m.chunks {
		key, next := m.keys[c], uint64(MaxPage)
		if c+1 < len(m.keys) {
			next = m.keys[c+1]
		}
		switch {
		case key != block(key) || next <= key:
			return fmt.Errorf("chunk %d: keys %#x, %#x", c, key, next)
		case ch.dense != nil:
			var n, turns uint16
			for o := range uint64(blockPages) {
				if ch.has(o) {
					n++
				}
			}
			if turns = ch.turnsIn(0, blockPages); n != ch.n || turns != ch.turns || n == 0 || turns <= sparseTurns || ch.segs != nil {
				return fmt.Errorf("dense %#x: n %d, counted %d; turns %d, counted %d", key, ch.n, n, ch.turns, turns)
			}
			if end > key {
				return fmt.Errorf("dense %#x: covered up to %#x", key, end)
			}
			pages += uint64(n)
			end = key + blockPages
		case len(ch.segs) == 0 || len(ch.segs) > maxSegs:
			return fmt.Errorf("chunk %d has %d segments", c, len(ch.segs))
		}
		for k := range ch.segs {
			s := &ch.segs[k]
			if s.lo < key || s.lo >= next || s.lo < end || s.hi() <= s.lo || s.hi() == s.lo+1 && s.stride() != 0 {
				return fmt.Errorf("chunk %d [%#x,%#x): segment %d %+v after %#x", c, key, next, k, s.run(), end)
			}
			if k > 0 && s.lo == end {
				if _, ok := join(ch.segs[k-1], *s); ok {
					return fmt.Errorf("segment %+v continues %+v", s.run(), ch.segs[k-1].run())
				}
			}
			if k%strideSegs == 0 && ch.index[k/strideSegs] != s.lo {
				return fmt.Errorf("chunk %d: index of segment %d is %#x, want %#x", c, k, ch.index[k/strideSegs], s.lo)
			}
			pages += s.hi() - s.lo
			end = s.hi()
		}
	}
	if pages != m.pages {
		return fmt.Errorf("%d pages, counted %d", m.pages, pages)
	}
	return nil
}

// dullMap is the reference: a Go map, and runs found by looking at every page.
type dullMap map[uint64]uint64

func (d dullMap) runs(lo, hi uint64) (rs []Run) {
	var keys []uint64
	for i := range d {
		if lo <= i && i < hi {
			keys = append(keys, i)
		}
	}
	slices.SortFunc(keys, cmp.Compare[uint64])
	for _, i := range keys {
		v := d[i]
		if n := len(rs); n > 0 && rs[n-1].Hi == i {
			r := &rs[n-1]
			if stride := v - d[i-1]; stride <= 1 && (r.Len() == 1 || stride == r.Stride) {
				r.Hi, r.Stride = i+1, stride
				continue
			}
		}
		rs = append(rs, Run{i, i + 1, v, 0})
	}
	return rs
}

type mapMachine struct {
	m     Map
	d     dullMap
	space uint64 // keys are below
	base  uint64
}

func (s *mapMachine) rng(t *rapid.T, longest uint64) (lo, hi uint64) {
	lo = s.base + rapid.Uint64Range(0, s.space-1).Draw(t, "lo")
	return lo, min(s.base+s.space, lo+rapid.Uint64Range(1, longest).Draw(t, "n"))
}

func (s *mapMachine) set(lo, hi, v, stride uint64) {
	s.m.Set(lo, hi, v, stride)
	for i := lo; i < hi; i++ {
		s.d[i] = v + (i-lo)*stride
	}
}

func (s *mapMachine) Set(t *rapid.T) {
	lo, hi := s.rng(t, 12)
	s.set(lo, hi, rapid.Uint64Range(0, 3).Draw(t, "v"), rapid.Uint64Range(0, 1).Draw(t, "stride"))
}

func (s *mapMachine) SetPFNs(t *rapid.T) {
	lo, hi := s.rng(t, s.space)
	s.set(lo, hi, lo-s.base+rapid.Uint64Range(0, 1).Draw(t, "shift"), 1)
}

func (s *mapMachine) SetLong(t *rapid.T) {
	lo, hi := s.rng(t, s.space)
	s.set(lo, hi, 7, 0)
}

// Scatter gives many pages a value of their own: the way into dense blocks.
func (s *mapMachine) Scatter(t *rapid.T) {
	lo, hi := s.rng(t, s.space)
	step := rapid.Uint64Range(1, 4).Draw(t, "step")
	salt := rapid.Uint64Range(1, 1000).Draw(t, "salt")
	for i := lo; i < hi; i += step {
		s.set(i, i+1, mix(salt, i), 0)
	}
}

// Even gives pages one by one the value that makes them one run: the way out of dense blocks.
func (s *mapMachine) Even(t *rapid.T) {
	lo, hi := s.rng(t, s.space)
	down := rapid.Bool().Draw(t, "down")
	for k := range hi - lo {
		i := lo + k
		if down {
			i = hi - 1 - k
		}
		s.set(i, i+1, i-s.base, 0)
	}
}

func (s *mapMachine) Clear(t *rapid.T) {
	lo, hi := s.rng(t, rapid.SampledFrom([]uint64{1, 12, s.space}).Draw(t, "longest"))
	s.m.Clear(lo, hi)
	for i := lo; i < hi; i++ {
		delete(s.d, i)
	}
}

func (s *mapMachine) ClearEveryOther(t *rapid.T) {
	lo, hi := s.rng(t, s.space)
	for i := lo; i < hi; i += 2 {
		s.m.Clear(i, i+1)
		delete(s.d, i)
	}
}

func (s *mapMachine) Update(t *rapid.T) {
	lo, hi := s.rng(t, s.space)
	flag := uint64(1) << rapid.IntRange(32, 63).Draw(t, "bit")
	f := func(v uint64) uint64 { return v ^ flag }
	s.m.Update(lo, hi, f)
	for i := lo; i < hi; i++ {
		if v, ok := s.d[i]; ok {
			s.d[i] = f(v)
		}
	}
}

func (s *mapMachine) Look(t *rapid.T) {
	lo, hi := s.rng(t, s.space)
	want := s.d.runs(lo, hi)
	require.Equal(t, want, s.m.AppendRuns(nil, lo, hi))
	require.Equal(t, len(want) == 0, s.m.Empty(lo, hi))

	all := s.d.runs(lo, MaxPage)
	r, ok := s.m.Next(lo)
	require.Equal(t, len(all) > 0, ok)
	if ok {
		require.Equal(t, all[0], r)
	}

	gap := lo
	for _, set := s.d[gap]; set; _, set = s.d[gap] {
		gap++
	}
	end := uint64(MaxPage)
	if after := s.d.runs(gap, MaxPage); len(after) > 0 {
		end = after[0].Lo
	}
	l, h := s.m.NextGap(lo)
	require.Equal(t, [2]uint64{gap, end}, [2]uint64{l, h})
}

func (s *mapMachine) Rebuild(t *rapid.T) {
	runs := s.d.runs(0, MaxPage)
	require.Equal(t, len(runs), s.m.NumRuns())
	var other Map
	for k := range runs {
		r := runs[len(runs)-1-k]
		for i := r.Hi; i > r.Lo; i-- {
			other.Set(i-1, i, r.At(i-1), 0)
		}
	}
	require.NoError(t, checkMap(&other))
	require.True(t, s.m.Equal(&other))
	require.Equal(t, s.m.Digest(), other.Digest())
	if len(runs) > 0 {
		i := runs[0].Lo
		other.Update(i, i+1, func(v uint64) uint64 { return v + 5 })
		require.False(t, s.m.Equal(&other))
		require.NotEqual(t, s.m.Digest(), other.Digest())
	}
}

func (s *mapMachine) Check(t *rapid.T) {
	require.NoError(t, checkMap(&s.m))
	require.Equal(t, uint64(len(s.d)), s.m.Len())
	for i := s.base; i < s.base+s.space; i++ {
		v, ok := s.m.Get(i)
		want, set := s.d[i]
		if ok != set || v != want {
			t.Fatalf("Get(%#x) = %#x, %v; want %#x, %v", i, v, ok, want, set)
		}
	}
}

func TestMapIsAMapOfPages(t *testing.T) {
	for name, c := range map[string]struct{ base, space uint64 }{
		"within one block":       {0, 40},
		"across a block border":  {blockPages - 20, 40},
		"several blocks":         {3*blockPages - 100, 2*blockPages + 200},
		"at the end of the keys": {MaxPage - blockPages - 30, blockPages + 30},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := &mapMachine{d: dullMap{}, base: c.base, space: c.space}
				t.Repeat(rapid.StateMachineActions(s))
			})
		})
	}
}

// TestMapHoldsManyChunks works a map of thousands of chunks, where rapid's small steps do not get.
func TestMapHoldsManyChunks(t *testing.T) {
	const space = 1 << 17
	s := &mapMachine{d: dullMap{}}
	h := uint64(1)
	next := func(n uint64) uint64 { h = mix(h, n); return h % n }
	look := func() {
		require.NoError(t, checkMap(&s.m))
		require.Equal(t, s.d.runs(0, MaxPage), s.m.AppendRuns(nil, 0, MaxPage))
	}
	for range 60_000 {
		lo := next(space)
		s.set(lo, lo+1+next(3), next(1<<40), next(2))
	}
	look()
	for range 20_000 {
		lo := next(space)
		hi := lo + 1 + next(10)
		s.m.Clear(lo, hi)
		for i := lo; i < hi; i++ {
			delete(s.d, i)
		}
	}
	look()
	for range 200 {
		lo := next(space)
		s.set(lo, lo+next(3000), next(1<<40), next(2))
	}
	look()
	for i := uint64(0); i < space; i++ {
		s.set(i, i+1, i, 0)
	}
	look()
	require.Equal(t, 1, s.m.NumRuns()-len(s.d.runs(space, MaxPage)))
}

// A run that is cut down to one page has a free stride, and may then continue the run before it. The two tests below do that across
// chunks, where random steps seldom get.

func TestChunksThatJoinLeaveNoSeamBetweenThem(t *testing.T) {
	m, _ := scattered(400)
	require.Greater(t, len(m.keys), 2)
	border := m.keys[1]
	m.Set(border-2, border, 5, 1)
	m.Set(border, border+3, 7, 0)
	m.Clear(border+1, border+3)
	require.Equal(t, border, m.chunks[1].segs[0].lo)
	m.Clear(0, border-2)
	m.Clear(border+1, m.keys[2])
	require.NoError(t, checkMap(m))
	r, _ := m.Next(0)
	require.Equal(t, Run{border - 2, border + 1, 5, 1}, r)
	require.Equal(t, seg{border - 2, (border+1)<<1 | 1, 5}, m.chunks[0].segs[0])
}

func TestADenseBlockLeavesNoSeamBeforeIt(t *testing.T) {
	const base = 100 * blockPages
	m := &Map{}
	for k := range uint64(60) {
		m.Set(k*blockPages, k*blockPages+1, mix(1, k), 0)
	}
	m.Set(base-3, base-1, 3, 1)
	m.Set(base-1, base+10, 5, 0)
	for i := uint64(base + 11); m.chunks[len(m.chunks)-1].dense == nil; i++ {
		m.Set(i, i+1, mix(1, i), 0)
		require.NoError(t, checkMap(m))
	}
	before := m.chunks[len(m.chunks)-2].segs
	require.Equal(t, Run{base - 3, base, 3, 1}, before[len(before)-1].run())
	r, _ := m.Next(base)
	require.Equal(t, Run{base, base + 10, 5, 0}, r)
}

// TestABlockThatTurnsDenseWhileAPageOfItIsSetKeepsItsOtherPages: a page in the middle
// of a run that reaches over from the block before cuts the run in two, which is one
// segment too many for the chunk.
func TestABlockThatTurnsDenseWhileAPageOfItIsSetKeepsItsOtherPages(t *testing.T) {
	m := &Map{}
	for i := range uint64(60) {
		m.Set(2*i, 2*i+1, 10*i, 0)
	}
	for i := range uint64(maxSegs) {
		m.Set(540+2*i, 541+2*i, 10*i, 0)
	}
	m.Set(500, 530, 7, 0)
	require.Nil(t, m.chunks[m.find(512)].dense)
	m.Set(514, 515, 8, 0)
	require.NotNil(t, m.chunks[m.find(512)].dense)
	require.NoError(t, checkMap(m))
	for i := uint64(500); i < 530; i++ {
		want := uint64(7)
		if i == 514 {
			want = 8
		}
		v, ok := m.Get(i)
		require.True(t, ok)
		require.Equal(t, want, v, "page %d", i)
	}
}

func TestADenseBlockThatIsClearedAtOnceIsGone(t *testing.T) {
	m := &Map{}
	m.Set(0, 5, 1, 0)
	for i := uint64(0); i < 200; i++ {
		m.Set(3*blockPages+i, 3*blockPages+i+1, mix(1, i), 0)
	}
	require.NotNil(t, m.chunks[len(m.chunks)-1].dense)
	m.Clear(3*blockPages, 3*blockPages+300)
	require.NoError(t, checkMap(m))
	require.Equal(t, []Run{{0, 5, 1, 0}}, m.AppendRuns(nil, 0, MaxPage))
}

func TestRunsStopsWhereItsLoopStops(t *testing.T) {
	m, _ := scattered(10)
	var seen []Run
	for r := range m.Runs(3, 300) {
		if seen = append(seen, r); len(seen) == 2 {
			break
		}
	}
	require.Equal(t, []Run{{3, 16, 3, 1}, {32, 48, 1 << 20, 1}}, seen)
	m.Reset()
	require.True(t, m.Empty(0, MaxPage))
	require.True(t, m.Equal(&Map{}))
}

func TestMapRefusesWhatItCannotHold(t *testing.T) {
	for name, f := range map[string]func(m *Map){
		"a key beyond the last": func(m *Map) { m.Set(MaxPage, MaxPage+1, 0, 0) },
		"a stride of two":       func(m *Map) { m.Set(0, 4, 0, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { require.Contains(t, recover(), "BUG: ") }()
			f(&Map{})
		})
	}
	m := &Map{}
	m.Set(5, 5, 1, 0)
	m.Set(6, 5, 1, 0)
	m.Clear(6, 5)
	require.Zero(t, m.Len(), "an empty range is no change")
}

func TestMapDoesNotAllocateInSteadyState(t *testing.T) {
	m, span := scattered(2_000)
	for i := range uint64(blockPages) {
		m.Set(span+i, span+i+1, mix(1, i), 0)
	}
	n := 0
	for name, f := range map[string]func(i uint64){
		"get":            func(i uint64) { m.Get(i) },
		"set and unset":  func(i uint64) { m.Set(i, i+1, 1<<40, 0); m.Clear(i, i+1) },
		"set a range":    func(i uint64) { m.Set(i, i+300, i, 1) },
		"next, next gap": func(i uint64) { m.Next(i); m.NextGap(i); m.Empty(i, i+9) },
		"update":         func(i uint64) { m.Update(i, i+200, func(v uint64) uint64 { return v ^ 1<<63 }) },
		"walk": func(i uint64) {
			for it := m.Iter(i, i+500); it.Next(); {
				n++
			}
			for r := range m.Runs(i, i+500) {
				n += int(r.Len())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := 0
			step := func() { i++; f(order(i, span)) }
			for range 20_000 {
				step()
			}
			require.Zero(t, testing.AllocsPerRun(2_000, step))
		})
	}
}

// TestAFullChunkThatGrowsByTwoAtItsEndIsCutWithinTheLimit: the last run of a full
// chunk is cut at the end of a block, so that only the last of the new pieces
// lies in another block.
func TestAFullChunkThatGrowsByTwoAtItsEndIsCutWithinTheLimit(t *testing.T) {
	for n := uint64(maxSegs - 8); n < maxSegs+4; n++ {
		var m Map
		const step = 16 // 32 runs a block: too few for it to become dense
		for i := uint64(0); i < n; i++ {
			m.Set(i*step, i*step+2, i*1000, 0)
		}
		end := block(n*step) + blockPages
		m.Set(n*step, end+10, 5000000, 0)
		m.Set(end-1, end, 7, 0)
		require.NoError(t, checkMap(&m))
		m.Set(end+3, end+4, 9, 0)
		require.NoError(t, checkMap(&m))
	}
}
