// SPDX-License-Identifier: MIT

package phys

import "testing"

const benchPages = 32 << 20 // 128 GiB

// BenchmarkAllocRun gives out frames one by one; all are freed at once when they run out.
func BenchmarkAllocRun(b *testing.B) {
	m := NewMemory(Config{Pages: benchPages})
	b.ReportAllocs()
	for b.Loop() {
		if _, n := m.AllocRun(-1, 1); n == 0 {
			m.Put(firstPFN, benchPages)
		}
	}
}

// BenchmarkAllocPut gives out one frame and frees it: what a fault and an unmap cost here.
func BenchmarkAllocPut(b *testing.B) {
	m := NewMemory(Config{Pages: benchPages, Nodes: 2})
	m.AllocRun(-1, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		pfn, _ := m.AllocRun(1, 1)
		m.Put(pfn, 1)
	}
}

// BenchmarkFill fills one frame of memory that differs from frame to frame.
func BenchmarkFill(b *testing.B) {
	m := NewMemory(Config{Pages: benchPages})
	const span = 1 << 16
	m.AllocRun(-1, span)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Fill(firstPFN+PFN(order(i, span)), 1, byte(i))
	}
}

// BenchmarkFillUniform fills 15 million frames that look alike.
func BenchmarkFillUniform(b *testing.B) {
	m := NewMemory(Config{Pages: benchPages})
	m.AllocRun(-1, 15_000_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Fill(firstPFN, 15_000_000, byte(i))
	}
}

// BenchmarkWrite writes eight bytes in the middle of a page, as a trace's store does.
func BenchmarkWrite(b *testing.B) {
	m := NewMemory(Config{Pages: benchPages})
	const span = 1 << 12
	m.AllocRun(-1, span)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Write(firstPFN+PFN(order(i, span)), uint64(i)%500*8, 8, byte(i))
	}
}

// BenchmarkSwapOutIn moves a page to swap and back.
func BenchmarkSwapOutIn(b *testing.B) {
	m := NewMemory(Config{Pages: 1 << 20, SwapPages: 1 << 20})
	const span = 1 << 12
	m.AllocRun(-1, span)
	for i := range PFN(span) {
		m.Fill(firstPFN+i, 1, byte(order(int(i), 256)))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		pfn := firstPFN + PFN(order(i, span))
		slot, _ := m.SwapAlloc(1)
		m.SwapOutCopy(slot, pfn, 1)
		m.SwapInCopy(pfn, slot, 1)
		m.SwapPut(slot, 1)
	}
}
