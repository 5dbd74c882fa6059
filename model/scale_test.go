// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// large registers n ranges of `each` bytes as one batch, maps them, writes
// `touched` pages with a value each, spread evenly, and then evicts and restores
// `cycles` times, a fortieth of the touched pages at a time.
func large(tb testing.TB, n, each, touched uint64, cycles int) (m *bench) {
	m = newBench(256 << 30)
	m.run(tb, func(t *sim.Task) {
		m.open(t)
		step := each + 1<<20
		_, err := m.mm.Mmap(t, benchBase, n*step, 3, fixedRW, nil, 0)
		require.Zero(tb, err)
		a := &kfd.AllocArgs{VA: benchVA, Size: n * each, GPUID: 1, Flags: kfd.AllocUserptr | kfd.AllocWritable, NumRanges: uint32(n)}
		for i := uint64(0); i < n; i++ {
			a.Ranges = append(a.Ranges, kfd.AddrRange{Start: benchBase + i*step, Size: each})
		}
		h, err := m.proc.AllocMemoryOfGPUBatch(t, a)
		require.Zero(tb, err)
		_, err = m.proc.MapMemoryToGPU(t, &kfd.MapArgs{Handle: h, DeviceIDs: []uint32{1}, NDevices: 1})
		require.Zero(tb, err)
		pages := n * each / mm.PageSize
		at := func(k uint64) uint64 {
			p := k * (pages / touched)
			return benchBase + p*mm.PageSize/each*step + p*mm.PageSize%each
		}
		for k := uint64(0); k < touched; k++ {
			m.mm.Store(t, at(k), mm.PageSize, byte(1+k%255))
		}
		for c := 0; c < cycles; c++ {
			for k := uint64(c % 40); k < touched; k += 40 {
				m.mm.Madvise(t, at(k), mm.PageSize, mm.MadvDontNeed)
				m.mm.Store(t, at(k), mm.PageSize, byte(1+(k+uint64(c))%255))
			}
			t.Sleep(2 * sim.Millisecond)
		}
	})
	return m
}

func heapInUse() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// TestSixtyGigabytesInFourThousandRanges: what a large process needs follows what
// it touched, not what it mapped.
func TestSixtyGigabytesInFourThousandRanges(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a few seconds")
	}
	before := heapInUse()
	m := large(t, 4096, 15<<20, 4096*3840/100, 3)
	used := heapInUse() - before
	runtime.KeepAlive(m)
	require.Equal(t, uint64(3), m.drv.Counts.Restores)
	require.Equal(t, uint64(4096), m.drv.Counts.Notifiers)
	require.Less(t, used, uint64(200<<20), "bytes of heap")
}

// BenchmarkSixtyGigabytes goes on for a hundred cycles, in each of which all 4096
// ranges are evicted, fetched and restored; memory must not grow by it.
func BenchmarkSixtyGigabytes(b *testing.B) {
	const cycles = 100
	for i := 0; i < b.N; i++ {
		before, start := heapInUse(), time.Now()
		m := large(b, 4096, 15<<20, 4096*3840/100, cycles)
		b.ReportMetric(time.Since(start).Seconds(), "s")
		b.ReportMetric(float64(heapInUse()-before)/(1<<20), "MiB")
		b.ReportMetric(float64(m.drv.Counts.Fetches)/cycles, "fetches/cycle")
		require.Equal(b, uint64(cycles), m.drv.Counts.Restores)
		require.Less(b, heapInUse()-before, uint64(200<<20), "bytes of heap")
		runtime.KeepAlive(m)
	}
}

// BenchmarkTouched maps ten times as much at equal touch: the time must follow
// what is touched.
func BenchmarkTouched(b *testing.B) {
	for _, each := range []uint64{1536 << 10, 15 << 20} {
		b.Run(fmt.Sprintf("mapped=%dMiB", 4096*each>>20), func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				start := time.Now()
				m := large(b, 4096, each, 4096*38, 20)
				b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms")
				b.ReportMetric(float64(m.drv.Counts.Fetches), "fetches")
			}
		})
	}
}

// BenchmarkRegisterBySize registers one uniform range: 4 KiB and 1 GiB cost the same.
func BenchmarkRegisterBySize(b *testing.B) {
	for _, size := range []uint64{4 << 10, 1 << 30} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			m := newBench(64 << 30)
			m.run(b, func(t *sim.Task) {
				m.open(t)
				m.mm.Mmap(t, benchBase, size, 3, fixedRW, nil, 0)
				m.mm.Store(t, benchBase, size, 1)
				a := &kfd.AllocArgs{VA: benchVA, Size: size, GPUID: 1, Flags: kfd.AllocUserptr | kfd.AllocWritable,
					NumRanges: 1, Ranges: []kfd.AddrRange{{Start: benchBase, Size: size}}}
				dev := &kfd.MapArgs{DeviceIDs: []uint32{1}, NDevices: 1}
				b.ResetTimer()
				for i := 0; i < b.N; i++ {
					dev.Handle, _ = m.proc.AllocMemoryOfGPUBatch(t, a)
					m.proc.MapMemoryToGPU(t, dev)
					m.proc.UnmapMemoryFromGPU(t, dev)
					m.proc.FreeMemoryOfGPU(t, dev.Handle)
				}
			})
		})
	}
}
