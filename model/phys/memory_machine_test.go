// SPDX-License-Identifier: MIT

package phys

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// dullPage is a frame or a slot of the reference: all its bytes, written out.
type dullPage struct {
	gen, count uint32
	poisoned   bool
	data       [PageSize]byte
}

// memoryMachine runs a Memory beside pages that are written out.
type memoryMachine struct {
	m      *Memory
	frames []dullPage // by PFN
	slots  []dullPage // by slot
}

const (
	testFrames = 64
	testSlots  = 32
)

func newMemoryMachine(nodes int) *memoryMachine {
	return &memoryMachine{
		m:      NewMemory(Config{Pages: testFrames, SwapPages: testSlots, Nodes: nodes}),
		frames: make([]dullPage, uint64(firstPFN)+testFrames),
		slots:  make([]dullPage, 1+testSlots),
	}
}

// held draws a run of pages [at, at+n) that all have a holder.
func held(t *rapid.T, pages []dullPage) (at, n uint64) {
	var starts []uint64
	for i := range pages {
		if pages[i].count > 0 {
			starts = append(starts, uint64(i))
		}
	}
	if len(starts) == 0 {
		t.Skip("nothing is held")
	}
	at = rapid.SampledFrom(starts).Draw(t, "at")
	limit := rapid.Uint64Range(1, 20).Draw(t, "n")
	for n < limit && at+n < uint64(len(pages)) && pages[at+n].count > 0 {
		n++
	}
	return at, n
}

// some draws a run of frames, held or not.
func (s *memoryMachine) some(t *rapid.T, longest uint64) (at, n uint64) {
	at = rapid.Uint64Range(uint64(firstPFN), uint64(len(s.frames))-1).Draw(t, "pfn")
	return at, min(uint64(len(s.frames))-at, rapid.Uint64Range(1, longest).Draw(t, "n"))
}

func (s *memoryMachine) free(node int) (n uint64) {
	for i := uint64(firstPFN); i < uint64(len(s.frames)); i++ {
		if s.frames[i].count == 0 && !s.frames[i].poisoned && (node < 0 || s.m.NodeOf(PFN(i)) == node) {
			n++
		}
	}
	return n
}

func (s *memoryMachine) given(t *rapid.T, pfn PFN, n uint64, node int) {
	for i := range n {
		p := &s.frames[uint64(pfn)+i]
		require.Zero(t, p.count, "pfn %#x was given out twice", uint64(pfn)+i)
		require.False(t, p.poisoned, "pfn %#x is poisoned", uint64(pfn)+i)
		*p = dullPage{gen: p.gen + 1, count: 1}
		if node >= 0 {
			require.Equal(t, node, s.m.NodeOf(pfn+PFN(i)))
		}
	}
}

func (s *memoryMachine) AllocRun(t *rapid.T) {
	node := rapid.IntRange(-1, s.m.Nodes()-1).Draw(t, "node")
	limit := rapid.Uint64Range(1, 24).Draw(t, "limit")
	free := s.free(node)
	pfn, n := s.m.AllocRun(node, limit)
	require.LessOrEqual(t, n, limit)
	require.Equal(t, free == 0, n == 0)
	s.given(t, pfn, n, node)
}

func (s *memoryMachine) AllocAligned(t *rapid.T) {
	node := rapid.IntRange(-1, s.m.Nodes()-1).Draw(t, "node")
	n := uint64(1) << rapid.IntRange(0, 4).Draw(t, "order")
	possible := false
	for at := n; at+n <= uint64(len(s.frames)); at += n {
		fits := at >= uint64(firstPFN)
		for i := at; i < at+n && fits; i++ {
			k := s.m.NodeOf(PFN(i))
			fits = s.frames[i].count == 0 && !s.frames[i].poisoned && k == s.m.NodeOf(PFN(at)) && (node < 0 || k == node)
		}
		possible = possible || fits
	}
	pfn, ok := s.m.AllocAligned(node, n)
	require.Equal(t, possible, ok)
	if ok {
		require.Zero(t, uint64(pfn)%n)
		s.given(t, pfn, n, node)
	}
}

func (s *memoryMachine) Get(t *rapid.T) {
	pfn, n := held(t, s.frames)
	s.m.Get(PFN(pfn), n)
	for i := range n {
		s.frames[pfn+i].count++
	}
}

func (s *memoryMachine) Put(t *rapid.T) {
	pfn, n := held(t, s.frames)
	var want uint64
	for i := range n {
		if s.frames[pfn+i].count--; s.frames[pfn+i].count == 0 {
			want++
		}
	}
	require.Equal(t, want, s.m.Put(PFN(pfn), n))
}

func (s *memoryMachine) Fill(t *rapid.T) {
	pfn, n := s.some(t, 20)
	b := rapid.ByteRange(0, 3).Draw(t, "b")
	s.m.Fill(PFN(pfn), n, b)
	for i := range n {
		s.frames[pfn+i].data = [PageSize]byte(bytes.Repeat([]byte{b}, PageSize))
	}
}

// bytesOf draws a range of bytes, with a liking for the borders of pages.
func (s *memoryMachine) bytesOf(t *rapid.T) (pfn, off, n uint64) {
	pfn, pages := s.some(t, 4)
	at := rapid.SampledFrom([]uint64{0, 1, 7, 100, PageSize - 1, PageSize, PageSize + 1})
	off = at.Draw(t, "off")
	n = at.Draw(t, "len") + rapid.Uint64Range(0, 3).Draw(t, "pages")*PageSize
	if off >= pages*PageSize {
		off = 0
	}
	return pfn, off, min(n, pages*PageSize-off)
}

func (s *memoryMachine) Write(t *rapid.T) {
	pfn, off, n := s.bytesOf(t)
	b := rapid.ByteRange(0, 3).Draw(t, "b")
	s.m.Write(PFN(pfn), off, n, b)
	for i := off; i < off+n; i++ {
		s.frames[pfn+i/PageSize].data[i%PageSize] = b
	}
}

func (s *memoryMachine) Copy(t *rapid.T) {
	dst, n := s.some(t, 10)
	src, k := s.some(t, 10)
	n = min(n, k)
	if dst < src+n && src < dst+n {
		t.Skip("they overlap")
	}
	s.m.Copy(PFN(dst), PFN(src), n)
	for i := range n {
		s.frames[dst+i].data = s.frames[src+i].data
	}
}

func (s *memoryMachine) SwapAlloc(t *rapid.T) {
	slot, n := s.m.SwapAlloc(rapid.Uint64Range(1, 12).Draw(t, "limit"))
	require.NotEqual(t, n > 0, slot == 0)
	for i := range n {
		require.Zero(t, s.slots[slot+i].count)
		s.slots[slot+i] = dullPage{count: 1}
	}
}

func (s *memoryMachine) SwapGet(t *rapid.T) {
	slot, n := held(t, s.slots)
	s.m.SwapGet(slot, n)
	for i := range n {
		s.slots[slot+i].count++
	}
}

func (s *memoryMachine) SwapPut(t *rapid.T) {
	slot, n := held(t, s.slots)
	var want uint64
	for i := range n {
		if s.slots[slot+i].count--; s.slots[slot+i].count == 0 {
			want++
		}
	}
	require.Equal(t, want, s.m.SwapPut(slot, n))
}

func (s *memoryMachine) SwapOut(t *rapid.T) {
	slot, n := held(t, s.slots)
	pfn, k := s.some(t, 12)
	n = min(n, k)
	s.m.SwapOutCopy(slot, PFN(pfn), n)
	for i := range n {
		s.slots[slot+i].data = s.frames[pfn+i].data
	}
}

func (s *memoryMachine) SwapIn(t *rapid.T) {
	slot, n := held(t, s.slots)
	pfn, k := s.some(t, 12)
	n = min(n, k)
	s.m.SwapInCopy(PFN(pfn), slot, n)
	for i := range n {
		s.frames[pfn+i].data = s.slots[slot+i].data
	}
}

func (s *memoryMachine) Read(t *rapid.T) {
	pfn, off, n := s.bytesOf(t)
	var want []ByteRun
	for i := off; i < off+n; i++ {
		want = appendByteRun(want, s.frames[pfn+i/PageSize].data[i%PageSize], 1)
	}
	require.Equal(t, want, s.m.AppendBytes(nil, PFN(pfn), off, n))
}

func (s *memoryMachine) Compare(t *rapid.T) {
	a, n := s.some(t, 6)
	b, k := s.some(t, 6)
	n = min(n, k)
	same := true
	for i := range n {
		eq := s.frames[a+i].data == s.frames[b+i].data
		require.Equal(t, eq, s.m.SameContent(PFN(a+i), PFN(b+i)))
		same = same && eq
	}
	require.Equal(t, same, s.m.ContentDigest(PFN(a), n) == s.m.ContentDigest(PFN(b), n))
}

func (s *memoryMachine) Check(t *rapid.T) {
	require.NoError(t, checkMap(&s.m.frames))
	require.NoError(t, checkMap(&s.m.slots))
	for i := uint64(firstPFN); i < uint64(len(s.frames)); i++ {
		p := &s.frames[i]
		require.Equal(t, Frame{p.gen, p.count, p.count > 0}, s.m.Frame(PFN(i)))
	}
	next := PFN(0) + ZeroPFN
	var last Frame
	for r := range s.m.FrameRuns(ZeroPFN, testFrames+1) {
		require.Equal(t, next, r.PFN)
		require.NotEqual(t, last, r.Frame)
		for i := range r.N {
			require.Equal(t, s.m.Frame(r.PFN+PFN(i)), r.Frame)
		}
		next, last = r.PFN+PFN(r.N), r.Frame
	}
	require.Equal(t, PFN(len(s.frames)), next)
	require.Equal(t, s.free(-1), s.m.Free())
	require.Equal(t, s.lost(), s.m.Lost())
	require.Equal(t, testFrames-s.free(-1)-s.lost(), s.m.Used())
	var nodes uint64
	for k := range s.m.Nodes() {
		require.Equal(t, s.free(k), s.m.NodeFree(k))
		nodes += s.m.NodeTotal(k)
	}
	require.Equal(t, s.m.Total(), nodes)
	var used uint64
	for i := 1; i < len(s.slots); i++ {
		require.Equal(t, s.slots[i].count, s.m.SwapCount(uint64(i)))
		if s.slots[i].count > 0 {
			used++
		}
	}
	require.Equal(t, used, s.m.SwapUsed())
	s.checkContents(t)
}

// checkContents counts the pages of every mixed content again, and compares all bytes.
func (s *memoryMachine) checkContents(t *rapid.T) {
	refs := make([]uint64, len(s.m.contents.table))
	look := func(w word, p *dullPage) {
		tok := w.content()
		if tok >= firstMixed {
			refs[tok-firstMixed]++
		}
		var one [1]span
		at := uint64(0)
		for _, sp := range s.m.contents.spansOf(tok, &one) {
			want := bytes.Repeat([]byte{sp.byte()}, int(sp.end()-at))
			require.True(t, bytes.Equal(want, p.data[at:sp.end()]), "bytes [%d,%d) are not %d", at, sp.end(), sp.byte())
			at = sp.end()
		}
		require.EqualValues(t, PageSize, at)
	}
	for i := range s.frames {
		look(s.m.word(PFN(i)), &s.frames[i])
	}
	for i := range s.slots {
		if s.slots[i].count > 0 {
			v, _ := s.m.slots.Get(uint64(i))
			look(word(v), &s.slots[i])
		}
	}
	for k := range refs {
		require.Equal(t, refs[k], s.m.contents.table[k].refs, "content %d", k)
	}
}

func TestMemoryIsFramesAndSlots(t *testing.T) {
	for name, nodes := range map[string]int{"one node": 1, "three nodes, the last one larger": 3} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				t.Repeat(rapid.StateMachineActions(newMemoryMachine(nodes)))
			})
		})
	}
}
