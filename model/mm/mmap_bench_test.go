// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"
	"testing"

	"github.com/kfdsim/kfdsim/sim"
)

// benchSpace runs f in an address space with n VMAs that do not merge.
func benchSpace(b *testing.B, n uint64, f func(t *sim.Task, mm *MM)) {
	sys := testSystem(testConfig())
	mm := sys.NewMM("1")
	sys.do(b, func(t *sim.Task) {
		for i := uint64(0); i < n; i++ {
			mm.Mmap(t, at(0x1000+8*i), 4*PageSize, rw, anonFixed, nil, 0)
		}
		b.ReportAllocs()
		b.ResetTimer()
		f(t, mm)
	})
}

func benchSizes(b *testing.B, f func(b *testing.B, t *sim.Task, mm *MM)) {
	for _, n := range []uint64{10, 4096} {
		b.Run(fmt.Sprintf("VMAs=%d", n), func(b *testing.B) {
			benchSpace(b, n, func(t *sim.Task, mm *MM) { f(b, t, mm) })
		})
	}
}

// spread returns one of the first VMAs of benchSpace, a different one each time.
func spread(i int, mm *MM) uint64 {
	return at(0x1000 + 8*(uint64(i)*2654435761%uint64(mm.mapCount()-1)))
}

func BenchmarkMmapMunmapFixed(b *testing.B) {
	benchSizes(b, func(b *testing.B, t *sim.Task, mm *MM) {
		for i := range b.N {
			a := spread(i, mm) + 5*PageSize
			mm.Mmap(t, a, 2*PageSize, rw, anonFixed, nil, 0)
			mm.Munmap(t, a, 2*PageSize)
		}
	})
}

func BenchmarkMmapMunmapAnywhere(b *testing.B) {
	benchSizes(b, func(b *testing.B, t *sim.Task, mm *MM) {
		for range b.N {
			a, _ := mm.Mmap(t, 0, 2*PageSize, rw, MapPrivate|MapAnonymous, nil, 0)
			mm.Munmap(t, a, 2*PageSize)
		}
	})
}

func BenchmarkMprotectSplitMerge(b *testing.B) {
	benchSizes(b, func(b *testing.B, t *sim.Task, mm *MM) {
		for i := range b.N {
			a := spread(i, mm) + PageSize
			mm.Mprotect(t, a, PageSize, ProtRead)
			mm.Mprotect(t, a, PageSize, rw)
		}
	})
}

func BenchmarkMprotectWhole(b *testing.B) {
	benchSizes(b, func(b *testing.B, t *sim.Task, mm *MM) {
		for i := range b.N {
			a := spread(i, mm)
			mm.Mprotect(t, a, 4*PageSize, ProtRead)
			mm.Mprotect(t, a, 4*PageSize, rw)
		}
	})
}

func BenchmarkMadviseDontNeed(b *testing.B) {
	benchSizes(b, func(b *testing.B, t *sim.Task, mm *MM) {
		for i := range b.N {
			mm.Madvise(t, spread(i, mm), 4*PageSize, MadvDontNeed)
		}
	})
}

func BenchmarkMunmapOfTouchedMemory(b *testing.B) {
	benchSizes(b, func(b *testing.B, t *sim.Task, mm *MM) {
		for i := range b.N {
			a := spread(i, mm) + 5*PageSize
			mm.Mmap(t, a, 2*PageSize, rw, anonFixed|MapPopulate, nil, 0)
			mm.Munmap(t, a, 2*PageSize)
		}
	})
}

// BenchmarkMmapManyPieces maps pieces downwards that do not merge, the pattern
// that a search from the top each time would make quadratic.
func BenchmarkMmapManyPieces(b *testing.B) {
	benchSpace(b, 10, func(t *sim.Task, mm *MM) {
		for i := range b.N {
			if i%30000 == 0 {
				mm.Munmap(t, (mm.mmapBase-100000)<<PageShift, 100000<<PageShift)
			}
			mm.Mmap(t, 0, PageSize, uint32(i&1), MapPrivate|MapAnonymous, nil, 0)
		}
	})
}
