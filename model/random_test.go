// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/traces"
)

// writer writes a random trace that is legal by construction: descriptors,
// handles and tasks exist when they are used. Whether a call succeeds is left
// to the run, so no result is recorded.
type writer struct {
	*rapid.T
	b       strings.Builder
	tids    []int // live tasks of the first process, then of children
	kids    []int
	nextTID int
	bos     []bo
	nextBO  int
	va      uint64
	most    int // ranges of a batch
	// advices that may be given. MADV_FREE leaves it to reclaim what is read next.
	advices []string
}

type bo struct {
	label  uint64
	va     uint64
	size   uint64
	mapped bool
}

const (
	arena      = 0x10000000
	arenaPages = 24
	page       = 4096
)

func (w *writer) line(tid int, format string, a ...any) {
	fmt.Fprintf(&w.b, "%d ", tid)
	fmt.Fprintf(&w.b, format, a...)
	w.b.WriteByte('\n')
}

func (w *writer) n(label string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(w.T, label) }

// span draws a piece of the arena.
func (w *writer) span(most int) (addr, size uint64) {
	lo := w.n("lo", 0, arenaPages-1)
	n := w.n("pages", 1, min(most, arenaPages-lo))
	return arena + uint64(lo)*page, uint64(n) * page
}

func (w *writer) opening() {
	w.line(1, `openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = 3</dev/kfd>`)
	w.line(1, `openat(AT_FDCWD, "/dev/dri/renderD128", O_RDWR|O_CLOEXEC) = 4</dev/dri/renderD128>`)
	w.line(1, `ioctl(3, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=4, gpu_id=1}) = 0`)
	w.line(1, `ioctl(3, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0}) = 0`)
	w.mmap(1, arena, arenaPages*page)
	w.line(1, "cpu.write(%#x, %d, 0x11)", uint64(arena), arenaPages*page)
	w.va = 0x400000000
	w.tids, w.nextTID = []int{1}, 2
}

func (w *writer) mmap(tid int, addr, size uint64) {
	w.line(tid, "mmap(%#x, %d, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)", addr, size)
}

// cpuOp is something that a task of any process does to its memory.
func (w *writer) cpuOp(tid int) {
	addr, size := w.span(8)
	switch w.n("cpu op", 0, 13) {
	case 0:
		w.line(tid, "munmap(%#x, %d)", addr, size)
	case 1, 2:
		w.mmap(tid, addr, size)
	case 3:
		prot := rapid.SampledFrom([]string{"PROT_READ", "PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_NONE"}).Draw(w.T, "prot")
		w.line(tid, "mprotect(%#x, %d, %s)", addr, size, prot)
	case 4, 5:
		advice := rapid.SampledFrom(w.advices).Draw(w.T, "advice")
		w.line(tid, "madvise(%#x, %d, %s)", addr, size, advice)
	case 6:
		to := arena + uint64(w.n("to", 0, arenaPages-1))*page
		w.line(tid, "mremap(%#x, %d, %d, MREMAP_MAYMOVE|MREMAP_FIXED, %#x)", addr, size, size, to)
	case 7:
		w.line(tid, "cpu.read(%#x, %d)", addr, size)
	case 8:
		w.line(tid, "mm.reclaim(%d)", w.n("pages", 1, 64))
	case 12, 13:
		w.placementOp(tid, addr, size)
	default:
		w.line(tid, "cpu.write(%#x, %d, %#x)", addr+uint64(w.n("off", 0, 1))*100, size-200, w.n("byte", 1, 255))
	}
}

func (w *writer) alloc() {
	k := w.n("ranges", 1, w.most)
	var list []string
	var total uint64
	for i := 0; i < k; i++ {
		addr, size := w.span(4)
		list = append(list, fmt.Sprintf("{start=%#x, size=%#x}", addr, size))
		total += size
	}
	b := bo{label: 0x100000000 + uint64(w.nextBO), va: w.va, size: total}
	w.nextBO++
	w.va += total + page
	w.line(1, "ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=%#x, total_size=%#x, ranges=[%s], gpu_id=1, flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=%#x})",
		b.va, total, strings.Join(list, ", "), b.label)
	w.line(1, "ioctl(3, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=%#x, device_ids=[1]})", b.label)
	b.mapped = true
	w.bos = append(w.bos, b)
}

func (w *writer) gpuOp() {
	if len(w.bos) == 0 {
		w.alloc()
		return
	}
	i := w.n("bo", 0, len(w.bos)-1)
	b := &w.bos[i]
	switch w.n("gpu op", 0, 9) {
	case 0:
		w.alloc()
	case 1:
		w.line(1, "ioctl(3, AMDKFD_IOC_UNMAP_MEMORY_FROM_GPU, {handle=%#x, device_ids=[1]})", b.label)
		w.line(1, "ioctl(3, AMDKFD_IOC_FREE_MEMORY_OF_GPU, {handle=%#x})", b.label)
		w.bos = append(w.bos[:i], w.bos[i+1:]...)
	case 2, 3, 4:
		w.line(1, "gpu.write(1, %#x, %d, %#x)", b.va, b.size, w.n("byte", 1, 255))
	default:
		w.line(1, "gpu.read(1, %#x, %d)", b.va, b.size)
	}
}

// randomTrace draws a whole trace.
func randomTrace(t *rapid.T, most int, advices ...string) string {
	w := &writer{T: t, most: most, advices: append(advices, "MADV_DONTNEED", "MADV_PAGEOUT", "MADV_COLD", "MADV_POPULATE_WRITE")}
	w.opening()
	for k := w.n("steps", 1, 40); k > 0; k-- {
		switch w.n("step", 0, 9) {
		case 0:
			if len(w.kids) < 2 {
				w.line(1, "fork() = %d", w.nextTID)
				w.kids = append(w.kids, w.nextTID)
				w.nextTID++
			}
		case 1:
			if len(w.kids) > 0 && w.n("exit", 0, 3) == 0 {
				w.line(w.kids[0], "exit_group(0) = ?")
				w.kids = w.kids[1:]
			}
		case 2:
			w.line(1, "sleep(%d)", w.n("ms", 0, 3))
		case 3, 4, 5, 6:
			w.gpuOp()
		default:
			tid := 1
			if len(w.kids) > 0 && w.n("who", 0, 2) == 0 {
				tid = w.kids[w.n("kid", 0, len(w.kids)-1)]
			}
			w.cpuOp(tid)
		}
	}
	return w.b.String()
}

// runText runs a trace given as text and insists that no property breaks.
func runText(t require.TestingT, text, design string, seed *uint64) *Result {
	tr, err := traces.Parse("random.trace", strings.NewReader(text))
	require.NoError(t, err, text)
	r, err := Run(tr, Options{Design: design, Seed: seed})
	require.NoError(t, err, text)
	if r.Failure != nil {
		require.Fail(t, r.Failure.Title, "%s on %s: %s\n%s", r.Verdict, design, r.Failure.Detail, text)
	}
	return r
}

// TestABatchOfOneIsASingle: the same states, the same SMI lines, the same bytes.
func TestABatchOfOneIsASingle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := randomTrace(t, 1, "MADV_FREE")
		b, s := runText(t, text, "batch", nil), runText(t, text, "single", nil)
		require.Equal(t, s.Reads, b.Reads, text)
		require.Equal(t, s.SMI, b.SMI, text)
		require.Equal(t, s.VirtualNS, b.VirtualNS, text)
	})
}

// TestDesignsShowTheGPUTheSameBytes: where a design faults for good the others
// need not, because a driver without a worker looks again at every access.
func TestDesignsShowTheGPUTheSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := randomTrace(t, 4)
		b := runText(t, text, "batch", nil)
		s := runText(t, text, "single", nil)
		m := runText(t, text, "mirror", nil)
		require.Equal(t, s.Reads, b.Reads, text)
		for i := range b.Reads {
			if b.Reads[i].Errno != "" || m.Reads[i].Errno != "" {
				break
			}
			require.Equal(t, b.Reads[i], m.Reads[i], text)
		}
	})
}

// TestNoPropertyBreaksInAnyOrder runs random traces in random interleavings.
func TestNoPropertyBreaksInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := randomTrace(t, 3, "MADV_FREE")
		seed := rapid.Uint64().Draw(t, "seed")
		for _, d := range designNamesOfTests {
			first := runText(t, text, d, &seed)
			again := runText(t, text, d, &seed)
			require.Equal(t, first.Fingerprint, again.Fingerprint, text)
		}
	})
}
