// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// BenchmarkRun simulates the shipped captures and a trace of simple calls with
// every property on; lines/s leaves parsing out, parsed-lines/s includes it.
func BenchmarkRun(b *testing.B) {
	inputs := map[string]string{"simple": simpleTrace(20000)}
	for _, n := range []string{"onnxruntime-inference", "python-threads-fork", "qemu-guest-boot",
		"onnxruntime-inference-batch", "python-threads-fork-batch", "qemu-guest-boot-batch"} {
		if text, err := os.ReadFile("../traces/captured/" + n + ".trace"); err == nil {
			inputs[n] = string(text)
		}
	}
	for name, text := range inputs {
		b.Run(name, func(b *testing.B) {
			tr, err := traces.Parse(name, strings.NewReader(text))
			require.NoError(b, err)
			b.Run("simulate", func(b *testing.B) { runLines(b, tr, func() *traces.Trace { return tr }) })
			b.Run("parse+simulate", func(b *testing.B) {
				runLines(b, tr, func() *traces.Trace {
					tr, _ := traces.Parse(name, strings.NewReader(text))
					return tr
				})
			})
		})
	}
}

func runLines(b *testing.B, tr *traces.Trace, load func() *traces.Trace) {
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		r, err := Run(load(), Options{})
		require.NoError(b, err)
		require.Equal(b, "ok", r.Verdict, r.Reason)
	}
	b.ReportMetric(float64(tr.Lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// simpleTrace is what an ordinary program does most: it maps, touches, returns
// and unmaps memory.
func simpleTrace(lines int) string {
	var s strings.Builder
	for i := 0; i*8 < lines; i++ {
		a := 0x7f0000000000 + uint64(i%64)*0x100000
		fmt.Fprintf(&s, "1 mmap(NULL, 65536, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = %#x\n", a)
		fmt.Fprintf(&s, "1 cpu.write(%#x, 4096, 0x1) = 0\n", a)
		fmt.Fprintf(&s, "1 cpu.write(%#x, 4096, 0x2) = 0\n", a+4096)
		fmt.Fprintf(&s, "1 cpu.read(%#x, 8192) = {0x1*4096, 0x2*4096}\n", a)
		fmt.Fprintf(&s, "1 mprotect(%#x, 4096, PROT_READ) = 0\n", a+8192)
		fmt.Fprintf(&s, "1 madvise(%#x, 4096, MADV_DONTNEED) = 0\n", a)
		fmt.Fprintf(&s, "1 cpu.write(%#x, 4096, 0x1) = 0\n", a)
		fmt.Fprintf(&s, "1 munmap(%#x, 65536) = 0\n", a)
	}
	return s.String()
}

// bench is a machine with one process that has a queue, for benchmarks that
// drive the model without a trace.
type bench struct {
	s    *sim.Sim
	sys  *mm.System
	drv  *kfd.Driver
	chk  *checker
	mm   *mm.MM
	proc *kfd.Process
}

func newBench(ram uint64) *bench {
	m := &bench{s: sim.New(sim.Options{})}
	m.chk = newChecker(m.s)
	m.sys = mm.NewSystem(m.s, mm.Config{RAM: ram >> mm.PageShift, Swap: ram >> mm.PageShift, Nodes: 1, Memlock: ^uint64(0)}, m.chk)
	m.drv = kfd.New(m.s, m.sys, batch.New(), 1, 0, m.chk, m.chk)
	m.chk.attach(m.sys, m.drv)
	m.s.SetCheck(m.chk.check)
	m.mm = m.sys.NewMM("1")
	return m
}

// run executes body as a task of the process.
func (m *bench) run(b testing.TB, body func(t *sim.Task)) {
	m.s.Go("1", body)
	m.s.Run()
	if f := m.s.Failure(); f != nil {
		b.Fatal(f.Title, f.Detail)
	}
}

func (m *bench) open(t *sim.Task) {
	m.proc = m.drv.Open(t, m.mm)
	m.proc.AcquireVM(t, 1, "render")
	m.proc.CreateQueue(t, kfd.QueueArgs{GPUID: 1, Type: kfd.QueueSDMA, Percentage: 100})
}

const (
	benchBase = uint64(0x100000000)
	benchVA   = uint64(0x4000000000)
	fixedRW   = 0x32
)

// register makes one batch of n ranges of `pages` pages with a gap of one page
// between them, populated, and maps it.
func (m *bench) register(b testing.TB, t *sim.Task, n, pages uint64) {
	size := pages * mm.PageSize
	step := size + mm.PageSize
	_, err := m.mm.Mmap(t, benchBase, n*step, 3, fixedRW, nil, 0)
	require.Zero(b, err)
	a := &kfd.AllocArgs{VA: benchVA, Size: n * size, GPUID: 1, Flags: kfd.AllocUserptr | kfd.AllocWritable, NumRanges: uint32(n)}
	for i := uint64(0); i < n; i++ {
		a.Ranges = append(a.Ranges, kfd.AddrRange{Start: benchBase + i*step, Size: size})
	}
	h, err := m.proc.AllocMemoryOfGPUBatch(t, a)
	require.Zero(b, err)
	_, err = m.proc.MapMemoryToGPU(t, &kfd.MapArgs{Handle: h, DeviceIDs: []uint32{1}, NDevices: 1})
	require.Zero(b, err)
}

// BenchmarkInvalidate invalidates k of n registered ranges with one
// MADV_DONTNEED and waits until the queues run again: what callbacks, fetches
// and a commit cost by the number of ranges that have nothing to do with it, and
// by the number that have.
func BenchmarkInvalidate(b *testing.B) {
	for _, c := range []struct{ n, k uint64 }{{1e3, 8}, {1e4, 8}, {1e5, 8}, {1e6, 8}, {1e6, 1}, {1e6, 64}, {1e6, 512}} {
		b.Run(fmt.Sprintf("n=%d/k=%d", c.n, c.k), func(b *testing.B) {
			m := newBench(64 << 30)
			m.run(b, func(t *sim.Task) {
				m.open(t)
				m.register(b, t, c.n, 1)
				x := uint64(1)
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i++ {
					x = x*6364136223846793005 + 1442695040888963407
					at := benchBase + (x>>33)%(c.n-c.k)*2*mm.PageSize
					m.mm.Madvise(t, at, c.k*2*mm.PageSize, mm.MadvDontNeed)
					t.Sleep(2 * sim.Millisecond)
				}
			})
			b.ReportMetric(float64(m.sys.Counts.Invalidations)/float64(b.N), "callbacks/op")
			b.ReportMetric(float64(m.drv.Counts.Restores)/float64(b.N), "restores/op")
		})
	}
}

// BenchmarkMemory faults memory in and reports what the simulator itself uses
// for each page of it.
func BenchmarkMemory(b *testing.B) {
	const pages = 1 << 20
	cases := map[string]func(t *sim.Task, m *mm.MM){
		"uniform": func(t *sim.Task, m *mm.MM) { m.Store(t, benchBase, pages*mm.PageSize, 1) },
		"every page different": func(t *sim.Task, m *mm.MM) {
			for i := uint64(0); i < pages; i++ {
				m.Store(t, benchBase+i*mm.PageSize, mm.PageSize, byte(i*7))
			}
		},
		"every page different, in random order": func(t *sim.Task, m *mm.MM) {
			for i := uint64(0); i < pages; i++ {
				k := i * 0x9e375 % pages
				m.Store(t, benchBase+k*mm.PageSize, mm.PageSize, byte(k*7))
			}
		},
	}
	for name, touch := range cases {
		for _, registered := range []bool{false, true} {
			label := name
			if registered {
				label += ", registered and mapped"
			}
			b.Run(label, func(b *testing.B) {
				for i := 0; i < b.N; i++ {
					b.ReportMetric(float64(bytesUsed(b, pages, registered, touch))/pages, "B/page")
				}
			})
		}
	}
}

// bytesUsed returns the heap that the model of a faulted-in process holds.
func bytesUsed(b *testing.B, pages uint64, registered bool, touch func(t *sim.Task, m *mm.MM)) uint64 {
	m := newBench(64 << 30)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m.run(b, func(t *sim.Task) {
		m.open(t)
		m.mm.Mmap(t, benchBase, (pages+1)*mm.PageSize, 3, fixedRW, nil, 0)
		touch(t, m.mm)
		if registered {
			a := &kfd.AllocArgs{VA: benchVA, Size: pages * mm.PageSize, GPUID: 1, Flags: kfd.AllocUserptr | kfd.AllocWritable,
				NumRanges: 1, Ranges: []kfd.AddrRange{{Start: benchBase, Size: pages * mm.PageSize}}}
			h, err := m.proc.AllocMemoryOfGPUBatch(t, a)
			require.Zero(b, err)
			_, err = m.proc.MapMemoryToGPU(t, &kfd.MapArgs{Handle: h, DeviceIDs: []uint32{1}, NDevices: 1})
			require.Zero(b, err)
		}
	})
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(m)
	return after.HeapAlloc - before.HeapAlloc
}
