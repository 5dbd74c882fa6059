// SPDX-License-Identifier: MIT

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// entry is what the dull page table keeps for a page.
type entry struct {
	frame uint64
	flags PTE
	frag  uint
	gen   uint32
}

// dullUpdate writes entries page by page: the fragment of a page is the largest
// aligned block around it that lies inside its run of consecutive frames.
func dullUpdate(table map[uint64]entry, mem *phys.Memory, lo uint64, frames []uint64, flags PTE) {
	for i := range frames {
		a, b := i, i+1
		for a > 0 && frames[a-1]+1 == frames[a] {
			a--
		}
		for b < len(frames) && frames[b-1]+1 == frames[b] {
			b++
		}
		p, frag := lo+uint64(i), uint(0)
		for frag < maxFragment {
			size := uint64(2) << frag
			if base := p &^ (size - 1); base < lo+uint64(a) || base+size > lo+uint64(b) {
				break
			}
			frag++
		}
		table[p] = entry{frames[i], flags, frag, mem.Gen(phys.PFN(frames[i]))}
	}
}

// drawRuns draws what a range is mapped to, and the same page by page.
func drawRuns(t *rapid.T, frames uint64) (runs []phys.Run, flat []uint64) {
	for range rapid.IntRange(1, 6).Draw(t, "runs") {
		n := rapid.Uint64Range(1, 9).Draw(t, "pages")
		stride := rapid.Uint64Range(0, 1).Draw(t, "stride")
		v := rapid.Uint64Range(1, frames-n).Draw(t, "frame")
		if len(flat) > 0 && rapid.Bool().Draw(t, "continue") {
			v = min(flat[len(flat)-1]+1, frames-n)
		}
		// Keys do not matter, nor do bits above the frame.
		runs = append(runs, phys.Run{Lo: 100, Hi: 100 + n, V: v | 1<<63, Stride: stride})
		for k := range n {
			flat = append(flat, v+k*stride)
		}
	}
	return runs, flat
}

func TestPageTableBehavesLikeAMapOfPages(t *testing.T) {
	const base, span, frames = 512 - 40, 80, 60
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(nil, frames)
		table := map[uint64]entry{}
		changed := false // a valid entry was replaced since the last flush
		replaces := func(lo, hi uint64) {
			for p := lo; p < hi; p++ {
				if _, ok := table[p]; ok {
					changed = true
				}
			}
		}
		draw := func() (lo, hi uint64) {
			lo = rapid.Uint64Range(base, base+span-1).Draw(t, "lo")
			return lo, rapid.Uint64Range(lo+1, base+span).Draw(t, "hi")
		}
		step := func(t *rapid.T, body func(*sim.Task)) { m.do(t, body) }
		t.Repeat(map[string]func(*rapid.T){
			"update": func(t *rapid.T) {
				runs, flat := drawRuns(t, frames)
				lo := rapid.Uint64Range(base, base+span-1).Draw(t, "lo")
				hi := lo + uint64(len(flat))
				flags := rapid.SampledFrom([]PTE{rw, rw | Executable, Valid | Readable}).Draw(t, "flags")
				replaces(lo, hi)
				dullUpdate(table, m.mem, lo, flat, flags)
				step(t, func(task *sim.Task) { m.vm.UpdateRange(task, lo, hi, runs, flags) })
			},
			"clear": func(t *rapid.T) {
				lo, hi := draw()
				replaces(lo, hi)
				for p := lo; p < hi; p++ {
					delete(table, p)
				}
				step(t, func(task *sim.Task) { m.vm.ClearRange(task, lo, hi) })
			},
			"flush": func(t *rapid.T) {
				before := m.dev.Counts.TLBFlushes
				step(t, m.vm.FlushTLB)
				require.Equal(t, changed, m.dev.Counts.TLBFlushes > before)
				changed = false
			},
			"allocate": func(t *rapid.T) {
				pfn, n := m.mem.AllocRun(-1, rapid.Uint64Range(1, 5).Draw(t, "frames"))
				if rapid.Bool().Draw(t, "free") && n > 0 {
					m.mem.Put(pfn, n)
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, uint64(len(table)), m.vm.MappedPages())
				for p := uint64(base - 1); p < base+span+60; p++ {
					want, ok := table[p]
					got := m.vm.PTEAt(p)
					require.Equal(t, ok, got.Valid(), "page %#x", p)
					if ok {
						require.Equal(t, want, entry{uint64(got.Frame()), got.Flags(), got.Fragment(), m.vm.GenAt(p)}, "page %#x", p)
					}
				}
			},
		})
	})
}

func TestRunsOfThePageTableAreItsPages(t *testing.T) {
	m := newMachine(nil, 64)
	pfn := m.frames(t, 12, 0)
	m.do(t, func(task *sim.Task) {
		m.vm.UpdateRange(task, 0x41, 0x4d, run(pfn, 12), rw)
		m.vm.ClearRange(task, 0x44, 0x45)
	})
	seen := uint64(0)
	for _, r := range m.vm.PTERuns(nil, 0x42, 0x80) {
		for p := r.Lo; p < r.Hi; p++ {
			require.Equal(t, m.vm.PTEAt(p), PTE(r.At(p)))
			seen++
		}
	}
	require.Equal(t, uint64(10), seen)
	for _, r := range m.vm.GenRuns(nil, 0x42, 0x80) {
		require.Equal(t, uint64(1), r.V)
		seen -= r.Len()
	}
	require.Zero(t, seen)
}

func TestUniformMemoryCostsAFewRuns(t *testing.T) {
	const n = 15_000_000
	m := newMachine(nil, n+10)
	pfn, got := m.mem.AllocRun(-1, n)
	require.Equal(t, uint64(n), got)
	m.do(t, func(task *sim.Task) {
		m.vm.UpdateRange(task, 0x7f001, 0x7f001+n, run(pfn, n), rw)
		q := m.dev.NewQueue(task, m.vm, 0, false)
		require.Equal(t, []phys.ByteRun{{Byte: 0, N: n << PageShift}}, read(task, q, 0x7f001, n).Bytes)
	})
	require.LessOrEqual(t, m.vm.table.ptes.NumRuns(), 48)
	require.LessOrEqual(t, m.vm.tlb.ptes.NumRuns(), 48)
	require.Equal(t, 1, m.vm.table.gens.NumRuns())
	require.Equal(t, uint64(n), m.dev.Counts.PTEsWritten)
	require.Less(t, m.dev.Counts.EntriesWritten, uint64(2000))
}

func TestImpossibleUpdatesAreBugs(t *testing.T) {
	for name, f := range map[string]func(t *sim.Task, vm *VM){
		"a range below the aperture":  func(t *sim.Task, vm *VM) { vm.ClearRange(t, ApertureLo-1, ApertureLo+1) },
		"a range above the aperture":  func(t *sim.Task, vm *VM) { vm.ClearRange(t, ApertureHi-1, ApertureHi+1) },
		"an empty range":              func(t *sim.Task, vm *VM) { vm.ClearRange(t, 0x100, 0x100) },
		"fewer frames than GPU pages": func(t *sim.Task, vm *VM) { vm.UpdateRange(t, 0x100, 0x103, run(5, 2), rw) },
		"more frames than GPU pages":  func(t *sim.Task, vm *VM) { vm.UpdateRange(t, 0x100, 0x101, run(5, 2), rw) },
		"entries without Valid":       func(t *sim.Task, vm *VM) { vm.UpdateRange(t, 0x100, 0x102, run(5, 2), Readable) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(nil, 64)
			m.sim.Go("test", func(task *sim.Task) { f(task, m.vm) })
			require.Panics(t, func() { m.sim.Run() })
		})
	}
}
