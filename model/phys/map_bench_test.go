// SPDX-License-Identifier: MIT

package phys

import (
	"fmt"
	"runtime"
	"testing"
)

// scattered returns a map of n runs of 16 pages, with a gap of 16 between them, and the number of pages spanned.
func scattered(n int) (*Map, uint64) {
	m := &Map{}
	for k := range uint64(n) {
		m.Set(k*32, k*32+16, k<<20, 1)
	}
	return m, uint64(n) * 32
}

// order visits [0, span) in a scattered order.
func order(i int, span uint64) uint64 { return mix(3, uint64(i)) % span }

var runCounts = []int{10, 1_000, 1_000_000}

func BenchmarkMapGet(b *testing.B) {
	for _, n := range runCounts {
		m, span := scattered(n)
		b.Run(fmt.Sprintf("scattered/runs=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Get(order(i, span))
			}
		})
		b.Run(fmt.Sprintf("ascending/runs=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				m.Get(i % span)
			}
		})
	}
}

// BenchmarkMapSet changes one page and changes it back, so that the number of runs stays: the figure is for one Set.
func BenchmarkMapSet(b *testing.B) {
	for _, n := range runCounts {
		m, span := scattered(n)
		b.Run(fmt.Sprintf("scattered/runs=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at := order(i>>1, span)&^31 + 15
				m.Set(at, at+1, (at/32<<20)+15+uint64(i&1^1)<<50, 0)
			}
		})
	}
}

func BenchmarkMapSetDense(b *testing.B) {
	m := &Map{}
	const span = 1 << 20
	for i := range uint64(span) {
		m.Set(i, i+1, mix(1, i), 0)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at := order(i, span)
		m.Set(at, at+1, mix(2, uint64(i)), 0)
	}
}

// BenchmarkMapFootprint reports bytes per page that is set.
func BenchmarkMapFootprint(b *testing.B) {
	const span = 1 << 20
	for name, value := range map[string]func(i uint64) (v uint64, set bool){
		"uniform":                 func(uint64) (uint64, bool) { return 7, true },
		"consecutive":             func(i uint64) (uint64, bool) { return i, true },
		"each its own":            func(i uint64) (uint64, bool) { return mix(1, i), true },
		"pairs":                   func(i uint64) (uint64, bool) { return mix(1, i/2), true },
		"fours":                   func(i uint64) (uint64, bool) { return mix(1, i/4), true },
		"eights":                  func(i uint64) (uint64, bool) { return mix(1, i/8), true },
		"one in eight its own":    func(i uint64) (uint64, bool) { return i + uint64(b2i(mix(2, i)%8 == 0))<<50, true },
		"every other page is set": func(i uint64) (uint64, bool) { return mix(1, i), i%2 == 0 },
		"one in sixteen is set":   func(i uint64) (uint64, bool) { return mix(1, i), i%16 == 0 },
	} {
		for _, how := range []string{"ascending", "scattered"} {
			b.Run(name+"/"+how, func(b *testing.B) {
				for b.Loop() {
					before := heap()
					m := &Map{}
					for k := range uint64(span) {
						i := k
						if how == "scattered" {
							i = k * 0x9e3779b1 % span // odd, so every page once
						}
						if v, set := value(i); set {
							m.Set(i, i+1, v, 0)
						}
					}
					b.ReportMetric(float64(heap()-before)/float64(m.Len()), "B/page")
					runtime.KeepAlive(m)
				}
			})
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
