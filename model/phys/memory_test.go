// SPDX-License-Identifier: MIT

package phys

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSingleAllocationsInARowAreOneRun(t *testing.T) {
	m := NewMemory(Config{Pages: 32 << 20})
	for i := range PFN(100_000) {
		pfn, n := m.AllocRun(-1, 1)
		require.Equal(t, uint64(1), n)
		require.Equal(t, firstPFN+i, pfn)
	}
	require.Equal(t, 1, m.frames.NumRuns())
	m.Put(firstPFN+10, 50)
	pfn, n := m.AllocRun(-1, 1000)
	require.Equal(t, firstPFN+100_000, pfn, "fresh frames come before freed ones")
	require.Equal(t, uint64(1000), n)
}

func TestFreedFramesAreUsedAgainWithANewGeneration(t *testing.T) {
	m := NewMemory(Config{Pages: 4})
	first, n := m.AllocRun(0, 100)
	require.Equal(t, uint64(4), n)
	m.Fill(first, 4, 0xaa)
	require.Equal(t, uint64(2), m.Put(first+1, 2))
	require.Equal(t, []ByteRun{{0xaa, 4 * PageSize}}, m.AppendBytes(nil, first, 0, 4*PageSize), "what was freed can be read")
	again, n := m.AllocRun(-1, 100)
	require.Equal(t, first+1, again)
	require.Equal(t, uint64(2), n)
	require.Equal(t, Frame{Gen: 2, Count: 1, Allocated: true}, m.Frame(again))
	require.Equal(t, []ByteRun{{0xaa, PageSize}, {0, 2 * PageSize}, {0xaa, PageSize}}, m.AppendBytes(nil, first, 0, 4*PageSize))
	_, n = m.AllocRun(-1, 1)
	require.Zero(t, n)
}

func TestTheGenerationGoesOnAtOne(t *testing.T) {
	require.Equal(t, uint32(1), makeWord(300, genMax, 0).allocated().gen())
	require.Equal(t, uint32(genMax), makeWord(300, genMax-1, 0).allocated().gen())
}

func TestEqualPagesAreOneContentHoweverTheyCameAbout(t *testing.T) {
	m := NewMemory(Config{Pages: 8})
	a, _ := m.AllocRun(-1, 8)
	b := a + 4
	m.Write(a, 100, 50, 1)
	m.Fill(b, 1, 1)
	m.Write(b, 150, PageSize-150, 0)
	m.Write(b, 0, 100, 0)
	require.True(t, m.SameContent(a, b))
	require.Len(t, m.contents.table, 2, "the steps on the way shared entries")
	require.Equal(t, m.ContentDigest(a, 1), m.ContentDigest(b, 1))
	m.Write(a, 100, 50, 0)
	require.True(t, m.SameContent(a, ZeroPFN))
}

func TestMisuseOfMemoryIsABug(t *testing.T) {
	for name, f := range map[string]func(m *Memory){
		"putting a free frame":           func(m *Memory) { m.Put(5, 1) },
		"getting a free frame":           func(m *Memory) { m.Get(5, 1) },
		"frame 0":                        func(m *Memory) { m.Frame(0) },
		"beyond the last frame":          func(m *Memory) { m.Fill(firstPFN+7, 2, 0) },
		"far beyond the last frame":      func(m *Memory) { m.Gen(^PFN(0)) },
		"an address where memory is not": func(m *Memory) { m.AppendBytes(nil, 9, PageSize, 1) },
		"more bytes than there are":      func(m *Memory) { m.Write(2, 1, ^uint64(0), 0) },
		"writing the zero page":          func(m *Memory) { m.Write(ZeroPFN, 0, 1, 1) },
		"copying onto itself, shifted":   func(m *Memory) { m.Copy(3, 2, 2) },
		"slot 0":                         func(m *Memory) { m.SwapPut(0, 1) },
		"putting a free slot":            func(m *Memory) { m.SwapPut(1, 1) },
		"getting a free slot":            func(m *Memory) { m.SwapGet(1, 1) },
		"swapping out to a free slot":    func(m *Memory) { m.SwapOutCopy(1, 2, 1) },
		"swapping in from a free slot":   func(m *Memory) { m.SwapInCopy(2, 1, 1) },
		"an alignment that is not one":   func(m *Memory) { m.AllocAligned(-1, 3) },
		"one holder too many": func(m *Memory) {
			p, _ := m.AllocRun(-1, 1)
			for range countMax {
				m.Get(p, 1)
			}
		},
		"too many holders at once": func(m *Memory) {
			p, _ := m.AllocRun(-1, 1)
			m.GetMany(p, countMax)
		},
		"more holders of a free frame":    func(m *Memory) { m.GetMany(firstPFN, 1) },
		"poison in a free frame":          func(m *Memory) { m.Poison(firstPFN) },
		"no poison in a free frame":       func(m *Memory) { m.Unpoison(firstPFN) },
		"a choice of frames not there":    func(m *Memory) { m.AllocAt(1<<40, 1) },
		"more nodes than frames":          func(*Memory) { NewMemory(Config{Pages: 2, Nodes: 3}) },
		"a range that runs off the slots": func(m *Memory) { m.SwapGet(4, ^uint64(0)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMemory(Config{Pages: 8, SwapPages: 4})
			defer func() { require.Contains(t, recover(), "BUG: ") }()
			f(m)
		})
	}
}

func TestContentsGrowAndShrinkWithWhatIsDifferent(t *testing.T) {
	const n = 300
	m := NewMemory(Config{Pages: 2 * n})
	a, _ := m.AllocRun(-1, 2*n)
	for round := range byte(3) {
		for i := range PFN(n) {
			m.Write(a+i, uint64(i), 1+uint64(round), 7+round)
			m.Copy(a+n+(i*7)%n, a+i, 1)
			require.True(t, m.SameContent(a+n+(i*7)%n, a+i))
		}
		require.LessOrEqual(t, len(m.contents.table), 3*n)
		m.Fill(a, 2*n, 0)
		require.Len(t, m.contents.unused, len(m.contents.table))
		for _, b := range m.contents.buckets {
			require.Zero(t, b)
		}
	}
}

func TestDigestDoesNotDependOnTheOrderOfWrites(t *testing.T) {
	build := func(order ...PFN) *Memory {
		m := NewMemory(Config{Pages: 16, SwapPages: 4})
		pfn, _ := m.AllocRun(-1, 8)
		slot, _ := m.SwapAlloc(1)
		for _, i := range order {
			m.Write(pfn+i, uint64(i)*100, 50, byte(i+1))
		}
		m.SwapOutCopy(slot, pfn+3, 1)
		return m
	}
	a, b := build(0, 1, 2, 3), build(3, 1, 0, 2)
	require.NotEqual(t, a.word(firstPFN), b.word(firstPFN), "the tokens differ, or this shows nothing")
	require.Equal(t, a.Digest(), b.Digest())
	for name, change := range map[string]func(){
		"a byte":     func() { b.Write(firstPFN, 5, 1, 9) },
		"a holder":   func() { b.Get(firstPFN, 1) },
		"a slot":     func() { b.SwapGet(1, 1) },
		"the cursor": func() { b.AllocRun(-1, 1) },
	} {
		before := b.Digest()
		change()
		require.NotEqual(t, before, b.Digest(), name)
	}
}

func TestTheZeroPageIsNotCounted(t *testing.T) {
	m := NewMemory(Config{Pages: 8})
	m.Get(ZeroPFN, 1)
	require.Zero(t, m.Put(ZeroPFN, 1))
	require.Zero(t, m.Put(ZeroPFN, 1))
	require.Equal(t, Frame{Allocated: true}, m.Frame(ZeroPFN))
	require.Equal(t, uint64(8), m.Free())
	require.Equal(t, []ByteRun{{0, PageSize}}, m.AppendBytes(nil, ZeroPFN, 0, PageSize))
}

func TestMemoryDoesNotAllocateInSteadyState(t *testing.T) {
	m := NewMemory(Config{Pages: 1 << 16, SwapPages: 1 << 12})
	base, _ := m.AllocRun(-1, 1<<10)
	for name, f := range map[string]func(i uint64){
		"allocate and free": func(uint64) { pfn, n := m.AllocRun(-1, 3); m.Put(pfn, n) },
		"a huge page":       func(uint64) { pfn, _ := m.AllocAligned(-1, 512); m.Put(pfn, 512) },
		"get and put":       func(i uint64) { m.Get(base+PFN(i), 8); m.Put(base+PFN(i), 8) },
		"fill":              func(i uint64) { m.Fill(base+PFN(i), 5, byte(i)) },
		"write":             func(i uint64) { m.Write(base+PFN(i%16), i%4*8, 8, byte(i%3)) },
		"copy":              func(i uint64) { m.Copy(base+PFN(i), base+PFN((i+512)%1000), 1) },
		"swap out and in": func(i uint64) {
			slot, n := m.SwapAlloc(2)
			m.SwapOutCopy(slot, base+PFN(i), n)
			m.SwapInCopy(base+PFN(i), slot, n)
			m.SwapPut(slot, n)
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := 0
			step := func() { i++; f(order(i, 1000)) }
			for range 10_000 {
				step()
			}
			require.Zero(t, testing.AllocsPerRun(1_000, step))
		})
	}
}

func TestNodesAreEqualSlicesAndTheLastHasTheRest(t *testing.T) {
	m := NewMemory(Config{Pages: 11, Nodes: 3})
	require.Equal(t, 0, m.NodeOf(ZeroPFN))
	for k, want := range []struct{ first, total uint64 }{{2, 3}, {5, 3}, {8, 5}} {
		require.Equal(t, want.total, m.NodeTotal(k))
		require.Equal(t, k, m.NodeOf(PFN(want.first)))
		require.Equal(t, k, m.NodeOf(PFN(want.first+want.total-1)))
		pfn, n := m.AllocRun(k, 100)
		require.Equal(t, PFN(want.first), pfn)
		require.Equal(t, want.total, n)
		require.Equal(t, want.total, m.NodeUsed(k))
	}
	pfn, n := m.AllocRun(-1, 1)
	require.Zero(t, uint64(pfn)+n)
}

func TestFrameRunsGoByStateNotByContent(t *testing.T) {
	m := NewMemory(Config{Pages: 16})
	a, _ := m.AllocRun(-1, 6)
	m.Fill(a+1, 1, 9)
	m.Get(a+4, 1)
	var got []FrameRun
	for r := range m.FrameRuns(ZeroPFN, 17) {
		got = append(got, r)
	}
	require.Equal(t, []FrameRun{
		{ZeroPFN, 1, Frame{0, 0, true}},
		{a, 4, Frame{1, 1, true}},
		{a + 4, 1, Frame{1, 2, true}},
		{a + 5, 1, Frame{1, 1, true}},
		{a + 6, 10, Frame{0, 0, false}},
	}, got)
	for range m.FrameRuns(ZeroPFN, 17) {
		break
	}
	for r := range m.FrameRuns(a, 6) {
		require.Equal(t, uint64(4), r.N)
		break
	}
}
