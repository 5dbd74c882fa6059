// SPDX-License-Identifier: MIT

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/sim"
)

func TestStatesThatDifferHaveDifferentDigests(t *testing.T) {
	m := newMachine(nil, 64)
	pfn := m.frames(t, 8, 0)
	seen := map[uint64]string{}
	var names []string
	note := func(name string) {
		d := m.dev.Digest()
		require.NotContains(t, seen, d, "%s looks like another state", name)
		seen[d] = name
		names = append(names, name)
	}
	m.do(t, func(task *sim.Task) {
		note("empty")
		m.dev.DMAMap(pfn, 8)
		note("mapped for DMA")
		m.vm.UpdateRange(task, 0x100, 0x108, run(pfn, 8), rw)
		note("mapped")
		q := m.dev.NewQueue(task, m.vm, 0, true)
		note("with a queue")
		q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 1})
		note("with a packet")
		q.Resume(task)
		note("with a queue that runs")
		read(task, q, 0x100, 1)
		note("with a warm TLB")
		m.vm.ClearRange(task, 0x100, 0x108)
		note("cleared and not flushed")
		read(task, q, 0x200, 1)
		note("faulted")
	})
	require.Len(t, names, 9)
}

func TestEqualStatesHaveEqualDigests(t *testing.T) {
	digest := func(detour bool) (d uint64) {
		m := newMachine(nil, 64)
		pfn := m.frames(t, 8, 0)
		m.do(t, func(task *sim.Task) {
			q := m.dev.NewQueue(task, m.vm, 0, false)
			m.vm.UpdateRange(task, 0x100, 0x108, run(pfn, 8), rw)
			m.dev.DMAMap(pfn, 8)
			if detour {
				m.vm.ClearRange(task, 0x100, 0x108)
				m.vm.UpdateRange(task, 0x100, 0x108, run(pfn, 8), rw)
				m.dev.DMAMap(pfn+2, 3)
				m.dev.DMAUnmap(pfn+2, 3)
				read(task, q, 0x100, 8)
				m.vm.FlushTLB(task)
				q.Preempt(task)
				q.Resume(task)
			}
			d = m.dev.Digest()
		})
		return d
	}
	require.Equal(t, digest(false), digest(true))
}
