// SPDX-License-Identifier: MIT

package gpu

import (
	"runtime"
	"testing"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// inTask runs a benchmark inside a task of a fresh machine.
func inTask(b *testing.B, frames uint64, body func(t *sim.Task, m *machine)) {
	m := newMachine(nil, frames)
	m.do(b, func(t *sim.Task) { body(t, m) })
}

func BenchmarkUpdateOnePage(b *testing.B) {
	inTask(b, 1<<20, func(t *sim.Task, m *machine) {
		pfn, _ := m.mem.AllocRun(-1, 1<<16)
		runs := run(pfn, 1)
		m.vm.UpdateRange(t, 0x1000, 0x1000+1<<16, run(pfn, 1<<16), rw)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p := 0x1000 + uint64(i*7)&0xffff
			runs[0].V = uint64(pfn) + p - 0x1000
			m.vm.UpdateRange(t, p, p+1, runs, rw)
		}
	})
}

// BenchmarkUpdateScattered maps a BO of 4096 ranges of one page each, in one call
// and in one call per range.
func BenchmarkUpdateScattered(b *testing.B) {
	const n = 4096
	scattered := func(m *machine) (runs []phys.Run) {
		pfn, _ := m.mem.AllocRun(-1, 3*n)
		for k := range uint64(n) {
			runs = append(runs, phys.Run{Lo: k, Hi: k + 1, V: uint64(pfn) + (k*1021%n)*3})
		}
		return runs
	}
	b.Run("one call", func(b *testing.B) {
		inTask(b, 1<<20, func(t *sim.Task, m *machine) {
			runs := scattered(m)
			b.ReportAllocs()
			for b.Loop() {
				m.vm.UpdateRange(t, 0x1000, 0x1000+n, runs, rw)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/page")
		})
	})
	b.Run("one call per range", func(b *testing.B) {
		inTask(b, 1<<20, func(t *sim.Task, m *machine) {
			runs := scattered(m)
			b.ReportAllocs()
			for b.Loop() {
				for k := range uint64(n) {
					m.vm.UpdateRange(t, 0x1000+k, 0x1000+k+1, runs[k:k+1], rw)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/page")
		})
	})
}

// BenchmarkUpdateUniform maps 60 GB of consecutive frames at an odd address.
func BenchmarkUpdateUniform(b *testing.B) {
	const n = 15_000_000
	inTask(b, n+16, func(t *sim.Task, m *machine) {
		pfn, _ := m.mem.AllocRun(-1, n)
		runs := run(pfn, n)
		b.ReportAllocs()
		for b.Loop() {
			m.vm.UpdateRange(t, 0x1001, 0x1001+n, runs, rw)
		}
	})
}

// BenchmarkMemoryPerPage reports what a mapped page costs, also when every page
// was reached through the TLB.
func BenchmarkMemoryPerPage(b *testing.B) {
	const n = 1 << 20
	for name, step := range map[string]uint64{"uniform": 1, "scattered": 1021} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				inTask(b, 2*n, func(t *sim.Task, m *machine) {
					pfn, _ := m.mem.AllocRun(-1, n)
					runs := make([]phys.Run, 0, n)
					for k := range uint64(n) {
						runs = append(runs, phys.Run{Lo: k, Hi: k + 1, V: uint64(pfn) + k*step%n})
					}
					q := m.dev.NewQueue(t, m.vm, 0, false)
					before := heap()
					m.vm.UpdateRange(t, 0x1000, 0x1000+n, runs, rw)
					b.ReportMetric(float64(heap()-before)/n, "B/page")
					read(t, q, 0x1000, n)
					b.ReportMetric(float64(heap()-before)/n, "B/page+TLB")
					runtime.KeepAlive(runs)
				})
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// BenchmarkPacketOfOnePage is submit, translate from a warm TLB, write, signal.
func BenchmarkPacketOfOnePage(b *testing.B) {
	inTask(b, 1<<16, func(t *sim.Task, m *machine) {
		pfn, _ := m.mem.AllocRun(-1, 64)
		m.vm.UpdateRange(t, 0x1000, 0x1040, run(pfn, 64), rw)
		q := m.dev.NewQueue(t, m.vm, 0, false)
		b.ReportAllocs()
		for b.Loop() {
			q.Submit(t, Packet{Op: Write, VA: 0x1007 << PageShift, N: PageSize, Byte: 1}).Wait(t)
		}
	})
}

func BenchmarkPreemptResume(b *testing.B) {
	inTask(b, 1<<16, func(t *sim.Task, m *machine) {
		q := m.dev.NewQueue(t, m.vm, 0, false)
		b.ReportAllocs()
		for b.Loop() {
			q.Preempt(t)
			q.Resume(t)
		}
	})
}
