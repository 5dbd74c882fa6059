// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// TestLookingAtWhatIsDirtyAllocatesNothing calls the hooks as a step would.
func TestLookingAtWhatIsDirtyAllocatesNothing(t *testing.T) {
	m := newCheckedMachine(batch.New(), nil)
	f := m.run(func(task *sim.Task) {
		m.mmap(task, 0, 64)
		m.register(task, gpuBase, area(0, 32), area(40, 8))
		m.touch(task, 0, 32)
		lo, vm := uint64(cpuBase>>mm.PageShift), m.p.Device(1).VM
		steps := map[string]func(){
			"a CPU page changed":            func() { m.chk.PageTableChanged(m.mm, lo+3, lo+4) },
			"many CPU pages changed":        func() { m.chk.PageTableChanged(m.mm, lo, lo+64) },
			"nothing registered is changed": func() { m.chk.PageTableChanged(m.mm, lo+34, lo+36) },
			"GPU pages changed":             func() { m.chk.PTEsChanged(vm, gpuBase>>mm.PageShift, gpuBase>>mm.PageShift+32) },
			"queues started":                func() { m.chk.QueuesChanged(vm) },
			"counters changed":              func() { m.chk.StateChanged(m.p) },
			"the GPU reached pages": func() {
				g := uint64(gpuBase >> mm.PageShift)
				m.chk.Accessed(vm, g, vm.PTEAt(g), vm.GenAt(g), true, 32)
			},
		}
		for name, step := range steps {
			require.Zero(t, testing.AllocsPerRun(100, func() {
				step()
				m.chk.check()
			}), name)
		}
	})
	require.Nil(t, f, "%+v", f)
}

// BenchmarkCheckGap is an madvise on memory that nobody registered, in a process
// with n registered ranges: what properties cost those whom they do not concern.
func BenchmarkCheckGap(b *testing.B) {
	for _, n := range []uint64{10, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			m := newBench(64 << 30)
			m.run(b, func(t *sim.Task) {
				m.open(t)
				m.register(b, t, n, 1)
				gap := uint64(0x50000000)
				m.mm.Mmap(t, gap, 16*mm.PageSize, 3, fixedRW, nil, 0)
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i++ {
					m.mm.Store(t, gap, mm.PageSize, 1)
					m.mm.Madvise(t, gap, 16*mm.PageSize, mm.MadvDontNeed)
				}
			})
		})
	}
}

// BenchmarkCheckAccess is the judgement of one GPU access of one page.
func BenchmarkCheckAccess(b *testing.B) {
	for _, n := range []uint64{10, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			m := newBench(64 << 30)
			m.run(b, func(t *sim.Task) {
				m.open(t)
				m.register(b, t, n, 1)
				vm, va := m.proc.Device(1).VM, benchVA>>mm.PageShift
				x := uint64(1)
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i++ {
					x = x*6364136223846793005 + 1442695040888963407
					g := va + (x>>33)%n
					m.chk.Accessed(vm, g, vm.PTEAt(g), vm.GenAt(g), true, 1)
				}
			})
		})
	}
}

// BenchmarkWalk looks at everything of a process with n ranges of 16 pages.
func BenchmarkWalk(b *testing.B) {
	for _, n := range []uint64{10, 1_000, 100_000} {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			m := newBench(64 << 30)
			m.run(b, func(t *sim.Task) {
				m.open(t)
				m.register(b, t, n, 16)
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i++ {
					require.Empty(b, m.chk.walk())
				}
			})
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/range")
		})
	}
}

// BenchmarkRegister registers and maps n ranges of one page, with and without
// properties.
func BenchmarkRegister(b *testing.B) {
	const n = 100_000
	for _, checked := range []bool{true, false} {
		b.Run(fmt.Sprintf("checked=%v", checked), func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				m := newBench(64 << 30)
				if !checked {
					m = &bench{s: sim.New(sim.Options{})}
					m.sys = mm.NewSystem(m.s, mm.Config{RAM: 1 << 24, Swap: 1 << 20, Nodes: 1, Memlock: ^uint64(0)}, nil)
					m.drv = kfd.New(m.s, m.sys, batch.New(), 1, 0, nil, gpu.Watcher(nil))
					m.mm = m.sys.NewMM("1")
				}
				m.run(b, func(t *sim.Task) {
					m.open(t)
					m.register(b, t, n, 1)
				})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/range")
		})
	}
}
