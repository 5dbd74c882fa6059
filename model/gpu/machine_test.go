// SPDX-License-Identifier: MIT

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

const rw = Valid | System | Snooped | Readable | Writeable

// machine is a GPU with one address space and some memory.
type machine struct {
	sim    *sim.Sim
	mem    *phys.Memory
	memObj sim.Object
	dev    *Device
	vm     *VM
}

func newMachine(c sim.Chooser, frames uint64) *machine {
	m := &machine{sim: sim.New(sim.Options{Chooser: c})}
	m.mem = phys.NewMemory(phys.Config{Pages: frames})
	m.memObj.Init(m.sim, "memory")
	m.dev = NewDevice(m.sim, m.mem, &m.memObj, 1)
	m.vm = m.dev.NewVM("process")
	return m
}

// do runs body as a task, and everything else until nothing can run.
func (m *machine) do(t require.TestingT, body func(t *sim.Task)) {
	m.sim.Go("test", body)
	require.Equal(t, sim.Quiescent, m.sim.Run(), "failure: %+v", m.sim.Failure())
}

// frames takes n consecutive frames, the k-th of them filled with first+k.
func (m *machine) frames(t require.TestingT, n uint64, first byte) phys.PFN {
	pfn, got := m.mem.AllocRun(-1, n)
	require.Equal(t, n, got)
	for k := range n {
		m.mem.Fill(pfn+phys.PFN(k), 1, first+byte(k))
	}
	return pfn
}

// run is what UpdateRange maps for n consecutive frames.
func run(pfn phys.PFN, n uint64) []phys.Run {
	return []phys.Run{{Lo: 0, Hi: n, V: uint64(pfn), Stride: 1}}
}

// read submits a read of n pages and waits for it.
func read(t *sim.Task, q *Queue, page, n uint64) *Fence {
	f := q.Submit(t, Packet{Op: Read, VA: page << PageShift, N: n << PageShift})
	f.Wait(t)
	return f
}

// pages is the outcome of a read of whole pages of one byte each.
func pages(bs ...byte) (out []phys.ByteRun) {
	for _, b := range bs {
		out = append(out, phys.ByteRun{Byte: b, N: PageSize})
	}
	return out
}

// script is a preemptive chooser that lets the test say who runs. Of the tasks
// that can run it takes the first for which prefer is true, else the first.
type script struct {
	prefer func(t *sim.Task) bool
}

func (script) Preemptive() bool { return true }

func (c script) Next(_ *sim.Sim, _ *sim.Task, runnable []*sim.Task) *sim.Task {
	for _, t := range runnable {
		if c.prefer(t) {
			return t
		}
	}
	return runnable[0]
}

// access is what a watcher was told.
type access struct {
	page  uint64
	frame phys.PFN
	gen   uint32
	write bool
	n     uint64
}

// recorder is a Watcher that keeps everything.
type recorder struct {
	accesses []access
	changes  [][2]uint64
	queues   int
}

func (r *recorder) Accessed(_ *VM, page uint64, pte PTE, gen uint32, write bool, n uint64) {
	r.accesses = append(r.accesses, access{page, pte.Frame(), gen, write, n})
}
func (r *recorder) PTEsChanged(_ *VM, lo, hi uint64) {
	r.changes = append(r.changes, [2]uint64{lo, hi})
}
func (r *recorder) QueuesChanged(*VM) { r.queues++ }

func TestWatcherIsToldWhatWasReached(t *testing.T) {
	m := newMachine(nil, 64)
	rec := &recorder{}
	m.dev.Watch = rec
	pfn := m.frames(t, 3, 0x10)
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, false)
		m.vm.UpdateRange(task, 0x100, 0x103, run(pfn, 3), rw)
		q.Submit(task, Packet{Op: Write, VA: 0x101<<PageShift - 1, N: 2, Byte: 9}).Wait(task)
		q.Submit(task, Packet{Op: Read, VA: 0x102 << PageShift, N: 1}).Wait(task)
		q.Destroy(task)
	})
	require.Equal(t, [][2]uint64{{0x100, 0x103}}, rec.changes)
	require.Equal(t, 2, rec.queues)
	// Page 0x102 is a fragment of its own, so the write is one piece.
	require.Equal(t, []access{{0x100, pfn, 1, true, 2}, {0x102, pfn + 2, 1, false, 1}}, rec.accesses)
	require.Equal(t, uint64(2), m.dev.Counts.BytesWritten)
	require.Equal(t, uint64(1), m.dev.Counts.BytesRead)
	require.Equal(t, uint64(2), m.dev.Counts.Packets)
}
