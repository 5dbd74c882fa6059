// SPDX-License-Identifier: MIT

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

func TestABadAccessFaults(t *testing.T) {
	for name, c := range map[string]struct {
		flags PTE
		p     Packet
		fault bool
		page  uint64
	}{
		"reading what may be read":        {Valid | Readable, Packet{Op: Read, VA: 0x100000, N: 1}, false, 0},
		"writing what may be written":     {Valid | Writeable, Packet{Op: Write, VA: 0x100000, N: 1}, false, 0},
		"writing what may only be read":   {Valid | Readable, Packet{Op: Write, VA: 0x101000, N: 1}, true, 0x101},
		"reading what may not be read":    {Valid | Writeable, Packet{Op: Read, VA: 0x101000, N: 1}, true, 0x101},
		"the page before":                 {rw, Packet{Op: Read, VA: 0xfffff, N: 1}, true, 0xff},
		"running over the end":            {rw, Packet{Op: Read, VA: 0x100000, N: 0x2001}, true, 0x102},
		"null":                            {rw, Packet{Op: Write, VA: 0, N: 8}, true, 0},
		"beyond the aperture":             {rw, Packet{Op: Read, VA: 1 << 60, N: 8}, true, 1 << 48},
		"wrapping around the whole space": {rw, Packet{Op: Read, VA: 0x100000, N: 1<<64 - 1}, true, 0x102},
		"nothing, beyond the aperture":    {rw, Packet{Op: Read, VA: 1 << 60}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(nil, 64)
			pfn := m.frames(t, 2, 0x10)
			var got []uint64
			m.dev.OnFault = func(_ *sim.Task, vm *VM, page uint64, write bool) {
				require.Same(t, m.vm, vm)
				require.Equal(t, c.p.Op == Write, write)
				got = append(got, page)
			}
			m.do(t, func(task *sim.Task) {
				m.vm.UpdateRange(task, 0x100, 0x102, run(pfn, 2), c.flags)
				q := m.dev.NewQueue(task, m.vm, 0, false)
				f := q.Submit(task, c.p)
				f.Wait(task)
				require.Equal(t, c.fault, f.Faulted)
				require.Equal(t, c.fault, m.vm.Faulted())
			})
			if c.fault {
				require.Equal(t, []uint64{c.page}, got)
				require.Equal(t, uint64(1), m.dev.Counts.VMFaults)
			} else {
				require.Empty(t, got)
			}
		})
	}
}

func TestAfterAFaultEveryPacketOfTheVMFaults(t *testing.T) {
	m := newMachine(nil, 64)
	pfn := m.frames(t, 1, 0x10)
	other := m.dev.NewVM("other")
	good := Packet{Op: Read, VA: 0x100 << PageShift, N: 1}
	faults := 0
	m.dev.OnFault = func(t *sim.Task, vm *VM, _ uint64, _ bool) {
		faults++
		for _, q := range vm.Queues() {
			q.Preempt(t) // also the queue whose task this is
		}
	}
	m.do(t, func(task *sim.Task) {
		m.vm.UpdateRange(task, 0x100, 0x101, run(pfn, 1), rw)
		other.UpdateRange(task, 0x100, 0x101, run(pfn, 1), rw)
		q, evicted, foreign := m.dev.NewQueue(task, m.vm, 0, false), m.dev.NewQueue(task, m.vm, 1, true), m.dev.NewQueue(task, other, 2, false)
		waiting := evicted.Submit(task, good)
		bad := q.Submit(task, Packet{Op: Write, VA: 0x200 << PageShift, N: 1})
		behind := q.Submit(task, good)
		for _, f := range []*Fence{waiting, bad, behind} {
			f.Wait(task)
			require.True(t, f.Faulted)
			require.Empty(t, f.Bytes)
		}
		require.True(t, q.Submit(task, good).Faulted)
		f := foreign.Submit(task, good)
		f.Wait(task)
		require.False(t, f.Faulted)
	})
	require.Equal(t, 1, faults)
	require.False(t, m.vm.Running())
}

func TestQueuesThatFaultTogetherAreReportedOnce(t *testing.T) {
	for seed := range uint64(50) {
		m := newMachine(sim.NewSeeded(seed), 64)
		faults := 0
		m.dev.OnFault = func(*sim.Task, *VM, uint64, bool) { faults++ }
		m.do(t, func(task *sim.Task) {
			var fences []*Fence
			for id := range 3 {
				q := m.dev.NewQueue(task, m.vm, id, false)
				fences = append(fences, q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 1}))
			}
			for _, f := range fences {
				f.Wait(task)
				require.True(t, f.Faulted)
			}
		})
		require.Equal(t, 1, faults)
		require.Equal(t, uint64(1), m.dev.Counts.VMFaults)
	}
}

func TestTheDriverCanStopAVM(t *testing.T) {
	m := newMachine(nil, 64)
	m.dev.OnFault = func(*sim.Task, *VM, uint64, bool) { t.Error("it was no fault") }
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, true)
		f := q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 1})
		task.Sleep(1) // the queue sleeps by now
		m.vm.Fault(task)
		f.Wait(task)
		require.True(t, f.Faulted)
	})
	require.Zero(t, m.dev.Counts.VMFaults)
}

func TestWritingTheZeroPageIsSeenAndLeavesItZero(t *testing.T) {
	m := newMachine(nil, 64)
	rec := &recorder{}
	m.dev.Watch = rec
	m.do(t, func(task *sim.Task) {
		zeros := []phys.Run{{Lo: 0, Hi: 4, V: uint64(phys.ZeroPFN)}}
		m.vm.UpdateRange(task, 0x100, 0x104, zeros, rw)
		q := m.dev.NewQueue(task, m.vm, 0, false)
		q.Submit(task, Packet{Op: Write, VA: 0x101 << PageShift, N: 2 * PageSize, Byte: 1}).Wait(task)
		require.Equal(t, []phys.ByteRun{{Byte: 0, N: 4 * PageSize}}, read(task, q, 0x100, 4).Bytes)
	})
	require.Len(t, rec.accesses, 6)
	require.Equal(t, access{0x101, phys.ZeroPFN, 0, true, 1}, rec.accesses[0])
}
