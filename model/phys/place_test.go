// SPDX-License-Identifier: MIT

package phys

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// More actions of memoryMachine: which frames are given out, and which never again.

func (s *memoryMachine) lost() (n uint64) {
	for i := range s.frames {
		if s.frames[i].count == 0 && s.frames[i].poisoned {
			n++
		}
	}
	return n
}

func (s *memoryMachine) AllocAt(t *rapid.T) {
	pfn, n := s.some(t, 6)
	k := s.m.NodeOf(PFN(pfn))
	possible := true
	for i := pfn; i < pfn+n; i++ {
		if s.m.NodeOf(PFN(i)) != k {
			n = i - pfn
			break
		}
		possible = possible && s.frames[i].count == 0 && !s.frames[i].poisoned
	}
	require.Equal(t, possible, s.m.AllocAt(PFN(pfn), n))
	if possible {
		s.given(t, PFN(pfn), n, k)
	}
}

func (s *memoryMachine) Free(t *rapid.T) {
	for k := range s.m.Nodes() {
		var want, got []uint64
		for i := uint64(firstPFN); i < uint64(len(s.frames)); i++ {
			if s.frames[i].count == 0 && !s.frames[i].poisoned && s.m.NodeOf(PFN(i)) == k {
				want = append(want, i)
			}
		}
		last := uint64(0)
		for _, r := range s.m.AppendFree(nil, k) {
			require.Less(t, last, r.Lo, "runs that touch are one")
			last = r.Hi
			for i := r.Lo; i < r.Hi; i++ {
				got = append(got, i)
			}
		}
		require.Equal(t, want, got)
	}
}

func (s *memoryMachine) GetMany(t *rapid.T) {
	pfn, _ := held(t, s.frames)
	n := rapid.Uint32Range(0, 300).Draw(t, "count")
	if s.frames[pfn].count > 1000 {
		t.Skip("enough holders")
	}
	s.m.GetMany(PFN(pfn), n)
	s.frames[pfn].count += n
}

func (s *memoryMachine) Poison(t *rapid.T) {
	if s.free(-1) < testFrames/2 {
		t.Skip("something must stay")
	}
	pfn, _ := held(t, s.frames)
	s.m.Poison(PFN(pfn))
	s.frames[pfn].poisoned = true
}

func (s *memoryMachine) Unpoison(t *rapid.T) {
	pfn, _ := held(t, s.frames)
	s.m.Unpoison(PFN(pfn))
	s.frames[pfn].poisoned = false
}

func (s *memoryMachine) ContentRun(t *rapid.T) {
	pfn, n := s.some(t, 12)
	want := uint64(1)
	for want < n && s.frames[pfn].data == s.frames[pfn+want].data {
		want++
	}
	digest, got := s.m.ContentRun(PFN(pfn), n)
	require.Equal(t, want, got)
	require.Equal(t, s.m.ContentDigest(PFN(pfn), 1), digest)
}

func (s *memoryMachine) NodeRun(t *rapid.T) {
	pfn, n := s.some(t, 40)
	node, got := s.m.NodeRun(PFN(pfn), n)
	want := uint64(0)
	for want < n && s.m.NodeOf(PFN(pfn+want)) == node {
		want++
	}
	require.Equal(t, want, got)
	require.Equal(t, node, s.m.NodeOf(PFN(pfn)))
	require.LessOrEqual(t, s.m.NodeStart(node), PFN(pfn))
}

func TestAPoisonedFrameIsNeverGivenOutAgain(t *testing.T) {
	m := NewMemory(Config{Pages: 8})
	pfn, _ := m.AllocRun(-1, 4)
	m.Poison(pfn + 1)
	require.EqualValues(t, 4, m.Put(pfn, 4))
	require.EqualValues(t, 7, m.Free())
	require.Zero(t, m.Used())
	require.EqualValues(t, 1, m.Lost())
	for m.Free() > 0 {
		got, n := m.AllocRun(-1, 8)
		require.False(t, got <= pfn+1 && pfn+1 < got+PFN(n))
	}
	require.False(t, m.AllocAt(pfn+1, 1))
}
