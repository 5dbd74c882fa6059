// SPDX-License-Identifier: MIT

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

func TestDMAMappingsAreCountedPerFrame(t *testing.T) {
	const frames = 24
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(nil, 64)
		counts := map[uint64]int{}
		draw := func(t *rapid.T) (lo, n uint64) {
			lo = rapid.Uint64Range(0, frames-1).Draw(t, "frame")
			return lo, rapid.Uint64Range(1, frames-lo).Draw(t, "frames")
		}
		allMapped := func(lo, n uint64) bool {
			for p := lo; p < lo+n; p++ {
				if counts[p] == 0 {
					return false
				}
			}
			return true
		}
		t.Repeat(map[string]func(*rapid.T){
			"map": func(t *rapid.T) {
				lo, n := draw(t)
				m.dev.DMAMap(phys.PFN(lo), n)
				for p := lo; p < lo+n; p++ {
					counts[p]++
				}
			},
			"unmap": func(t *rapid.T) {
				lo, n := draw(t)
				require.Equal(t, allMapped(lo, n), m.dev.DMAMapped(phys.PFN(lo), n))
				if !allMapped(lo, n) {
					t.Skip("not mapped")
				}
				m.dev.DMAUnmap(phys.PFN(lo), n)
				for p := lo; p < lo+n; p++ {
					if counts[p]--; counts[p] == 0 {
						delete(counts, p)
					}
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, uint64(len(counts)), m.dev.Mapped())
				for p := range uint64(frames) {
					v, _ := m.dev.dma.Get(p)
					require.Equal(t, uint64(counts[p])*dmaOne, v)
				}
				require.Nil(t, m.sim.Failure())
			},
		})
	})
}

func TestUnmappingWhatIsNotMappedIsMisuseAndChangesNothing(t *testing.T) {
	m := newMachine(nil, 64)
	m.dev.DMAMap(10, 4)
	before := m.dev.Digest()
	m.dev.DMAUnmap(12, 4)
	require.Equal(t, "misuse", m.sim.Failure().Verdict)
	require.Equal(t, "dma-balance", m.sim.Failure().Property)
	require.Equal(t, before, m.dev.Digest())
}

func TestWhatIsLeftIsNamed(t *testing.T) {
	m := newMachine(nil, 64)
	m.do(t, func(task *sim.Task) {
		m.dev.DMAMap(10, 4)
		q := m.dev.NewQueue(task, m.vm, 7, false)
		require.Equal(t, []string{
			"gpu 1: queue 7 of process was never destroyed",
			"gpu 1: VM of process was never closed",
			"gpu 1: 4 pages are still mapped for DMA, the first is frame 0xa",
		}, m.dev.Leaks())
		m.dev.DMAUnmap(10, 4)
		q.Destroy(task)
		m.vm.Close(task)
	})
	require.Empty(t, m.dev.Leaks())
}
