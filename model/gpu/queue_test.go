// SPDX-License-Identifier: MIT

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

func TestPacketsAreExecutedInOrder(t *testing.T) {
	m := newMachine(nil, 64)
	pfn := m.frames(t, 4, 0x10)
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, false)
		m.vm.UpdateRange(task, 0x100, 0x104, run(pfn, 4), rw)
		before := q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 2 * PageSize})
		nothing := q.Submit(task, Packet{Op: Write, VA: 0x100 << PageShift, Byte: 0x99})
		q.Submit(task, Packet{Op: Write, VA: 0x100<<PageShift + 8, N: PageSize, Byte: 0x77})
		after := q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 2 * PageSize})
		require.Equal(t, 4, q.Pending())
		after.Wait(task)
		require.True(t, before.Done && nothing.Done)
		require.Equal(t, pages(0x10, 0x11), before.Bytes)
		require.Equal(t, []phys.ByteRun{{Byte: 0x10, N: 8}, {Byte: 0x77, N: PageSize}, {Byte: 0x11, N: PageSize - 8}}, after.Bytes)
		require.Zero(t, q.Pending())
	})
}

func TestAnEvictedQueueWaits(t *testing.T) {
	m := newMachine(nil, 64)
	pfn := m.frames(t, 1, 0x10)
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, true)
		m.vm.UpdateRange(task, 0x100, 0x101, run(pfn, 1), rw)
		f := q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 1})
		task.Sleep(sim.Second)
		require.False(t, f.Done)
		require.False(t, m.vm.Running())
		q.Resume(task)
		require.True(t, m.vm.Running())
		f.Wait(task)
		require.Equal(t, []phys.ByteRun{{Byte: 0x10, N: 1}}, f.Bytes)
	})
	require.Equal(t, uint64(1), m.dev.Counts.Resumes)
	require.Zero(t, m.dev.Counts.Preemptions)
}

func TestPreemptAndResumeAreIdempotent(t *testing.T) {
	m := newMachine(nil, 64)
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, false)
		q.Resume(task)
		q.Preempt(task)
		q.Preempt(task)
		q.Resume(task)
		q.Resume(task)
	})
	require.Equal(t, uint64(1), m.dev.Counts.Preemptions)
	require.Equal(t, uint64(1), m.dev.Counts.Resumes)
}

// TestAPacketGoesOnWhereItWasPreempted moves the second half of a buffer while the
// queue stands in its middle.
func TestAPacketGoesOnWhereItWasPreempted(t *testing.T) {
	var q *Queue
	stopped := false
	m := newMachine(script{func(x *sim.Task) bool {
		halfway := q != nil && q.done >= 2*PageSize
		return x.Name() == "test" == (q == nil || halfway && !stopped)
	}}, 64)
	old, fresh := m.frames(t, 4, 0x10), m.frames(t, 4, 0x20)
	m.do(t, func(task *sim.Task) {
		m.vm.UpdateRange(task, 0x100, 0x104, run(old, 4), rw)
		q = m.dev.NewQueue(task, m.vm, 0, false)
		f := q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 4 * PageSize})
		for q.done < 2*PageSize {
			task.Point()
		}
		q.Preempt(task)
		stopped = true
		require.False(t, q.InFlight())
		require.Equal(t, 1, q.Pending())
		at := q.done
		m.vm.UpdateRange(task, 0x100, 0x104, run(fresh, 4), rw)
		require.Equal(t, at, q.done)
		q.Resume(task)
		f.Wait(task)
		require.Equal(t, pages(0x10, 0x11, 0x22, 0x23), f.Bytes)
	})
}

func TestDestroyingAQueueCancelsWhatItHasNotDone(t *testing.T) {
	m := newMachine(nil, 64)
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, true)
		f := q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 1})
		waited := false
		waiter := m.sim.Go("waiter", func(t *sim.Task) { f.Wait(t); waited = true })
		task.Sleep(1)
		q.Destroy(task)
		q.Destroy(task)
		q.Resume(task)
		task.Join(waiter)
		require.True(t, waited && f.Done && f.Cancelled && !f.Faulted)
		late := q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 1})
		require.True(t, late.Done && late.Cancelled)
		require.Empty(t, m.vm.Queues())
	})
}

func TestAPacketCanBeExecutedByTheCaller(t *testing.T) {
	m := newMachine(nil, 64)
	pfn := m.frames(t, 2, 0x10)
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, false)
		m.vm.UpdateRange(task, 0x100, 0x102, run(pfn, 2), rw)
		ring := q.Submit(task, Packet{Op: Write, VA: 0x100 << PageShift, N: PageSize, Byte: 0x99})
		read := Packet{Op: Read, VA: 0x100 << PageShift, N: 2 * PageSize}
		f := q.Execute(task, read)
		require.True(t, ring.Done && f.Done && !f.Faulted)
		require.Equal(t, pages(0x99, 0x11), f.Bytes)
		m.vm.ClearRange(task, 0x100, 0x102)
		m.vm.FlushTLB(task)
		require.True(t, q.Execute(task, read).Faulted)
		require.True(t, q.Execute(task, read).Faulted)
		q.Destroy(task)
		require.True(t, q.Execute(task, read).Cancelled)
	})
	require.Equal(t, uint64(1), m.dev.Counts.VMFaults)
}

func TestCallersAndTheQueueTakeTurns(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(300) {
		m := newMachine(sim.NewSeeded(seed), 64)
		pfn := m.frames(t, 2, 0x10)
		m.do(t, func(task *sim.Task) {
			m.vm.UpdateRange(task, 0x100, 0x102, run(pfn, 2), rw)
			q := m.dev.NewQueue(task, m.vm, 0, false)
			p := Packet{Op: Read, VA: 0x100 << PageShift, N: 2 * PageSize}
			for _, submit := range []func(t *sim.Task) *Fence{
				func(t *sim.Task) *Fence { return q.Execute(t, p) },
				func(t *sim.Task) *Fence { return q.Execute(t, p) },
				func(t *sim.Task) *Fence { f := q.Submit(t, p); f.Wait(t); return f },
			} {
				m.sim.Go("caller", func(task *sim.Task) {
					switch f := submit(task); {
					case f.Cancelled:
						outcomes["cancelled"]++
					case f.Faulted:
						outcomes["faulted"]++
					default:
						outcomes["executed"]++
						require.Equal(t, pages(0x10, 0x11), f.Bytes)
					}
				})
			}
			q.Preempt(task)
			task.Point()
			q.Resume(task)
			switch seed % 3 {
			case 1:
				m.vm.Fault(task)
			case 2:
				q.Destroy(task)
			}
		})
	}
	require.Len(t, outcomes, 3)
}

func TestADestroyedQueueStaysStopped(t *testing.T) {
	m := newMachine(nil, 64)
	m.do(t, func(task *sim.Task) {
		q := m.dev.NewQueue(task, m.vm, 0, true)
		q.Destroy(task)
		q.Resume(task)
		require.True(t, q.Evicted())
	})
	require.Zero(t, m.dev.Counts.Resumes)
}

func TestDestructionMayComeAtAnyMoment(t *testing.T) {
	cancelled, executed := 0, 0
	for seed := range uint64(200) {
		m := newMachine(sim.NewSeeded(seed), 64)
		pfn := m.frames(t, 2, 0x10)
		m.do(t, func(task *sim.Task) {
			m.vm.UpdateRange(task, 0x100, 0x102, run(pfn, 2), rw)
			q := m.dev.NewQueue(task, m.vm, 0, false)
			m.sim.Go("destroyer", q.Destroy)
			for range 3 {
				f := q.Submit(task, Packet{Op: Read, VA: 0x100 << PageShift, N: 2 * PageSize})
				f.Wait(task)
				require.False(t, f.Faulted)
				if f.Cancelled {
					cancelled++
				} else {
					executed++
					require.Equal(t, pages(0x10, 0x11), f.Bytes)
				}
			}
		})
		require.Empty(t, m.vm.Queues())
	}
	require.Positive(t, cancelled)
	require.Positive(t, executed)
}

func TestStoppingAQueueMaySleep(t *testing.T) {
	for name, stop := range map[string]func(q *Queue, t *sim.Task){
		"preempt": (*Queue).Preempt,
		"destroy": (*Queue).Destroy,
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(nil, 64)
			m.sim.Go("test", func(task *sim.Task) {
				q := m.dev.NewQueue(task, m.vm, 0, false)
				task.StartNonBlock()
				stop(q, task)
			})
			require.Equal(t, sim.Failed, m.sim.Run())
			require.Equal(t, "might-sleep", m.sim.Failure().Property)
		})
	}
}

// TestPreemptionsAndSchedulesDoNotChangeContents runs random packets under random
// schedules, with a task that preempts and resumes, against a byte array.
func TestPreemptionsAndSchedulesDoNotChangeContents(t *testing.T) {
	const n, base = 6, 0x101
	rapid.Check(t, func(t *rapid.T) {
		var c sim.Chooser
		if seed := rapid.Uint64Range(0, 1000).Draw(t, "seed"); seed > 0 {
			c = sim.NewSeeded(seed)
		}
		m := newMachine(c, 64)
		memory := make([]byte, n*PageSize)
		pfn := m.frames(t, n, 0)
		var packets []Packet
		var want [][]byte
		for range rapid.IntRange(1, 5).Draw(t, "packets") {
			off := rapid.Uint64Range(0, n*PageSize-1).Draw(t, "offset")
			p := Packet{Op: rapid.SampledFrom([]Op{Read, Write}).Draw(t, "op"), VA: base<<PageShift + off,
				N: rapid.Uint64Range(1, n*PageSize-off).Draw(t, "bytes"), Byte: rapid.Byte().Draw(t, "byte")}
			packets = append(packets, p)
			if len(want) == 0 {
				for i := range memory {
					memory[i] = byte(i / PageSize)
				}
			}
			part := memory[off : off+p.N]
			if p.Op == Write {
				for i := range part {
					part[i] = p.Byte
				}
				part = nil
			}
			want = append(want, append([]byte(nil), part...))
		}
		m.do(t, func(task *sim.Task) {
			m.vm.UpdateRange(task, base, base+n, run(pfn, n), rw)
			q := m.dev.NewQueue(task, m.vm, 0, false)
			m.sim.Go("scheduler", func(t *sim.Task) {
				for range 3 {
					q.Preempt(t)
					t.Point()
					q.Resume(t)
				}
			})
			var fences []*Fence
			for _, p := range packets {
				fences = append(fences, q.Submit(task, p))
			}
			for i, f := range fences {
				f.Wait(task)
				require.Equal(t, want[i], flat(f.Bytes))
			}
		})
		require.Equal(t, memory, flat(m.mem.AppendBytes(nil, pfn, 0, n*PageSize)))
		require.Equal(t, uint64(len(packets)), m.dev.Counts.Packets)
	})
}

func flat(runs []phys.ByteRun) (out []byte) {
	for _, r := range runs {
		for range r.N {
			out = append(out, r.Byte)
		}
	}
	return out
}
