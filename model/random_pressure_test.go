// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/phys"
)

// Pressure comes from ballast: memory beside the arena that does not fit with it
// into a small machine, so that touching it takes something else away.
const (
	ballast      = 0x20000000
	ballastPages = 236
	smallMachine = "#: ram: 1M\n#: swap: 8M\n"
	noSwap       = "#: ram: 1M\n#: swap: 64K\n"
)

// touchBallast writes or reads a large piece of it. It is each task's own.
func (w *writer) touchBallast(tid int) {
	lo := w.n("ballast", 0, ballastPages/2)
	n := w.n("pages", ballastPages/4, ballastPages/2)
	if w.n("write", 0, 3) > 0 {
		w.line(tid, "cpu.write(%#x, %d, %#x)", ballast+lo*page, n*page, w.n("byte", 1, 255))
	} else {
		w.line(tid, "cpu.read(%#x, %d)", ballast+lo*page, n*page)
	}
}

// gpuWriteUnderPressure lets the GPU write while its pages are in demand.
func (w *writer) gpuWriteUnderPressure() {
	if len(w.bos) == 0 {
		w.alloc()
	}
	b := &w.bos[w.n("bo", 0, len(w.bos)-1)]
	w.line(1, "gpu.write(1, %#x, %d, %#x, ASYNC)", b.va, b.size, w.n("byte", 1, 255))
	if w.n("how", 0, 1) == 1 {
		w.touchBallast(1)
	} else {
		w.line(1, "mm.reclaim(%d)", w.n("pages", 4, 300))
	}
	w.line(1, "gpu.wait(1)")
}

// calmOp does something after which all memory is still there: whether a fetch
// comes before or after it must not matter.
func (w *writer) calmOp() {
	addr, size := w.span(8)
	switch w.n("calm op", 0, 7) {
	case 0:
		w.mmap(1, addr, size)
	case 1, 2:
		w.line(1, "madvise(%#x, %d, %s)", addr, size, rapid.SampledFrom(w.advices).Draw(w.T, "advice"))
	case 3:
		w.line(1, "cpu.read(%#x, %d)", addr, size)
	case 4:
		w.line(1, "mm.reclaim(%d)", w.n("pages", 1, 64))
	case 5:
		w.holeOp(1)
	case 6:
		w.fileAccess(1)
	default:
		w.line(1, "cpu.write(%#x, %d, %#x)", addr, size, w.n("byte", 1, 255))
	}
}

// pressedTrace is a random trace with ballast; kids is how many processes it may
// fork. A calm one has one task, and takes no memory away.
func pressedTrace(t *rapid.T, kids int, calm bool) string {
	w := &writer{T: t, most: 4, advices: []string{"MADV_DONTNEED", "MADV_PAGEOUT", "MADV_COLD", "MADV_POPULATE_WRITE"}}
	w.opening()
	w.mmap(1, ballast, ballastPages*page)
	w.openFile()
	w.alloc()
	for k := w.n("steps", 1, 25); k > 0; k-- {
		tid := 1
		if len(w.kids) > 0 && w.n("who", 0, 2) == 0 {
			tid = w.kids[w.n("kid", 0, len(w.kids)-1)]
		}
		switch w.n("step", 0, 10) {
		case 0:
			if len(w.kids) < kids {
				w.line(1, "fork() = %d", w.nextTID)
				w.kids = append(w.kids, w.nextTID)
				w.nextTID++
			}
		case 1:
			w.line(1, "sleep(%d)", w.n("ms", 0, 3))
		case 2, 3:
			w.gpuOp()
		case 4:
			w.gpuWriteUnderPressure()
		case 5, 6:
			w.touchBallast(tid)
		case 7, 8:
			if calm {
				w.calmOp()
			} else {
				w.fileOp(tid)
			}
		default:
			if calm {
				w.calmOp()
			} else {
				w.cpuOp(tid)
			}
		}
	}
	return w.b.String()
}

// TestPressureChangesNoByte: what one task and its GPU read does not depend on the
// size of the machine.
func TestPressureChangesNoByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := pressedTrace(t, 0, false)
		for _, d := range designNamesOfTests {
			want := runText(t, text, d, nil)
			require.Equal(t, want.Reads, runText(t, text+smallMachine, d, nil).Reads, "%s\n%s", d, text)
		}
	})
}

// TestPressureChangesNoByteInAnyOrder: nor on when the kernel's tasks and the
// queues run, as long as no memory goes away.
func TestPressureChangesNoByteInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := pressedTrace(t, 0, true)
		seed := rapid.Uint64().Draw(t, "seed")
		for _, d := range designNamesOfTests {
			want := runText(t, text, d, nil)
			require.Equal(t, want.Reads, runText(t, text, d, &seed).Reads, "%s: seed %d\n%s", d, seed, text)
			require.Equal(t, want.Reads, runText(t, text+smallMachine, d, &seed).Reads, "%s: short of memory, seed %d\n%s", d, seed, text)
		}
	})
}

// TestReclaimLosesNothingThatTheGPUWrites: what goes to swap is what the page has
// when the last one who could write to it is gone, not what it had before.
func TestReclaimLosesNothingThatTheGPUWrites(t *testing.T) {
	for name, mapping := range map[string]string{
		"private memory": "mmap(0x10000000, 16K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)",
		"shared memory":  "mmap(0x10000000, 16K, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED, -1, 0)",
		"a file":         `mmap(0x10000000, 16K, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_FIXED, 5</tmp/f>, 0)`,
	} {
		t.Run(name, func(t *testing.T) {
			w := &writer{}
			w.opening()
			w.line(1, `openat(AT_FDCWD, "/tmp/f", O_RDWR) = 5</tmp/f>`)
			w.line(1, "munmap(0x10000000, %d)", arenaPages*page)
			w.line(1, "%s", mapping)
			w.line(1, "cpu.write(0x10000000, 16K, 0x11)")
			w.line(1, "ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400000000, total_size=0x4000, ranges=[{start=0x10000000, size=0x4000}], gpu_id=1, flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=0x100000000})")
			w.line(1, "ioctl(3, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=0x100000000, device_ids=[1]})")
			w.line(1, "gpu.write(1, 0x400000000, 16K, 0x22, ASYNC)")
			w.line(1, "mm.reclaim(4)")
			w.line(1, "gpu.wait(1)")
			w.line(1, "cpu.read(0x10000000, 16K)")
			for seed := range uint64(50) {
				for _, d := range designNamesOfTests {
					r := runText(t, w.b.String(), d, &seed)
					require.Equal(t, []phys.ByteRun{{Byte: 0x22, N: 16384}}, r.Reads[0].Bytes, "%s, seed %d", d, seed)
				}
			}
		})
	}
}

// TestNoPropertyBreaksUnderPressure: several processes, with swap and with nearly
// none, so that the OOM killer and the reaper act.
func TestNoPropertyBreaksUnderPressure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := pressedTrace(t, 2, false)
		machine := rapid.SampledFrom([]string{smallMachine, noSwap}).Draw(t, "machine")
		if rapid.Bool().Draw(t, "reap") {
			text += fmt.Sprintf("1 mm.oom_reap(%d)\n", rapid.IntRange(1, 3).Draw(t, "victim"))
		}
		seed := rapid.Uint64().Draw(t, "seed")
		for _, d := range designNamesOfTests {
			runText(t, text+machine, d, nil)
			first := runText(t, text+machine, d, &seed)
			again := runText(t, text+machine, d, &seed)
			require.Equal(t, first.Fingerprint, again.Fingerprint, text)
		}
	})
}
