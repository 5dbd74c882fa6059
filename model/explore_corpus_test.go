// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/traces"
)

// raceTraces are those that state what they expect of all orders and that end
// soon on a design without defects.
func raceTraces(t testing.TB) []corpusTrace {
	var out []corpusTrace
	for _, c := range corpus(t) {
		if len(c.Directives.Explore) > 0 && len(c.text) < 4000 && c.name != "seq-per-piece" && c.name != "d9-reaper-waits-for-the-gpu" {
			out = append(out, c)
		}
	}
	return out
}

// TestExplorationFindsWhatRandomOrdersFind: a design with any one defect that some
// random order of a trace breaks is broken by an exploration, too, and what an
// exploration has gone through completely no random order breaks.
func TestExplorationFindsWhatRandomOrdersFind(t *testing.T) {
	seeds := uint64(10 * moreOf(t))
	if testing.Short() {
		seeds = 2
	}
	for i, c := range raceTraces(t) {
		for k, x := range Defects() {
			for j, d := range x.Designs {
				if (i+j+k)%4 != 0 && moreOf(t) < 30 {
					continue
				}
				t.Run(c.name+"/"+d+"+"+x.Name, func(t *testing.T) {
					t.Parallel()
					requireFound(t, c, d+"+"+x.Name, seeds)
				})
			}
		}
	}
}

func requireFound(t *testing.T, c corpusTrace, design string, seeds uint64) {
	for seed := range seeds {
		r := runCorpus(t, c, Options{Design: design, Seed: &seed})
		if r.Failure == nil {
			continue
		}
		e := exploreAll(t, c.Trace, design)
		if e.Failed == nil && e.Extent != "complete" {
			t.Skipf("%s after %d executions", e.Extent, e.Executions)
		}
		require.NotNil(t, e.Failed, "seed %d finds %s: %s; an exploration that is %s does not", seed, r.Verdict, r.Reason, e.Extent)
		return
	}
}

// batchOfRanges is a trace of a batch with n ranges, of which an invalidation takes
// the first away while the worker and the GPU use it.
func batchOfRanges(t testing.TB, n int) *traces.Trace {
	var s strings.Builder
	s.WriteString(`1 openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = 3</dev/kfd>
1 openat(AT_FDCWD, "/dev/dri/renderD128", O_RDWR|O_CLOEXEC) = 4</dev/dri/renderD128>
1 ioctl(3, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=4, gpu_id=1}) = 0
1 ioctl(3, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0}) = 0
`)
	fmt.Fprintf(&s, "1 mmap(0x10000, %d, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0) = 0x10000\n", 2*n<<12)
	fmt.Fprintf(&s, "1 ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400000000, total_size=%d, ranges=[", n<<12)
	for i := range n {
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "{start=%#x, size=0x1000}", 0x10000+2*i<<12)
	}
	s.WriteString(`], gpu_id=1, flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=0x100000000}) = 0
1 ioctl(3, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=0x100000000, device_ids=[1]} => {n_success=1}) = 0
1 clone(child_stack=NULL, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = 2
2 madvise(0x10000, 4K, MADV_DONTNEED) = 0
2 madvise(0x10000, 4K, MADV_DONTNEED) = 0
1 gpu.read(1, 0x400000000, 4K)
`)
	return loadText(t, s.String())
}

// TestTheNumberOfRangesDoesNotMatterToAnExploration: with the invalidated range
// fixed there are as many orders for 512 ranges as for two, and for 4096, which
// takes minutes.
func TestTheNumberOfRangesDoesNotMatterToAnExploration(t *testing.T) {
	sizes := []int{2, 64, 512}
	switch {
	case testing.Short():
		sizes = sizes[:2]
	case moreOf(t) > 1:
		sizes = append(sizes, 4096)
	}
	for _, d := range []string{"batch", "wide", "wideseq", "multi"} {
		var want *Exploration
		for _, n := range sizes {
			e, err := Explore(batchOfRanges(t, n), ExploreOptions{Options: Options{Design: d}})
			require.NoError(t, err)
			require.Equal(t, "ok", e.Verdict, e.Reason)
			require.Equal(t, "complete", e.Extent)
			if want == nil {
				want = e
			}
			require.Equal(t, want.Executions, e.Executions, "%s with %d ranges", d, n)
			require.Equal(t, want.Marks, e.Marks)
			t.Logf("%s: %d ranges, %d executions, %d states", d, n, e.Executions, e.States)
		}
	}
}

// BenchmarkExploreDefects says what it costs to find each defect alone, in the trace
// of the corpus that is about it.
func BenchmarkExploreDefects(b *testing.B) {
	for _, x := range Defects() {
		for _, c := range corpus(b) {
			if !strings.HasPrefix(c.name, strings.ToLower(x.Name)) {
				continue
			}
			for _, d := range x.Designs {
				b.Run(c.name+"/"+d, func(b *testing.B) { benchmarkExplore(b, c.Trace, d+"+"+x.Name, x.DefectInfo) })
			}
		}
	}
}

func benchmarkExplore(b *testing.B, tr *traces.Trace, design string, x *kfd.DefectInfo) {
	var executions uint64
	for range b.N {
		e := exploreAll(b, tr, design)
		executions += e.Executions
	}
	b.ReportMetric(float64(executions)/float64(b.N), "executions")
	b.ReportMetric(0, x.Word)
}
