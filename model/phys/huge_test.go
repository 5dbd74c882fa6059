// SPDX-License-Identifier: MIT

package phys

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnAlignedRunIsAsLongAsItMayBe(t *testing.T) {
	m := NewMemory(Config{Pages: 64, SwapPages: 40})
	pfn, n := m.AllocAlignedRun(-1, 8, 24)
	require.Equal(t, PFN(8), pfn)
	require.Equal(t, uint64(24), n)
	pfn, n = m.AllocAlignedRun(-1, 8, 1024)
	require.Equal(t, PFN(32), pfn)
	require.Equal(t, uint64(32), n, "up to the last whole multiple")
	_, n = m.AllocAlignedRun(-1, 8, 8)
	require.Zero(t, n)
	require.Equal(t, uint64(8), m.Free(), "frames are left, none of them aligned")
	require.Equal(t, uint64(24), m.Put(8, 24))
	pfn, n = m.AllocAlignedRun(-1, 16, 32)
	require.Equal(t, PFN(16), pfn)
	require.Equal(t, uint64(16), n)
	require.Equal(t, Frame{Gen: 2, Count: 1, Allocated: true}, m.Frame(16))
}

func TestAnAlignedRunFollowsTheLast(t *testing.T) {
	m := NewMemory(Config{Pages: 1 << 12, Nodes: 2})
	for i := range uint64(6) {
		pfn, n := m.AllocAlignedRun(-1, 256, 256)
		require.Equal(t, PFN(256*(i+1)), pfn)
		require.Equal(t, uint64(256), n)
	}
}

func TestSwapSlotsComeAlignedOrNotAtAll(t *testing.T) {
	m := NewMemory(Config{Pages: 64, SwapPages: 40})
	slot, ok := m.SwapAllocAligned(16)
	require.True(t, ok)
	require.Equal(t, uint64(16), slot)
	require.Equal(t, uint32(1), m.SwapCount(31))
	_, ok = m.SwapAllocAligned(16)
	require.False(t, ok)
	require.Equal(t, uint64(24), m.SwapFree())
	require.Equal(t, uint64(16), m.SwapPut(16, 16))
	require.Equal(t, uint64(40), m.SwapFree())
}
