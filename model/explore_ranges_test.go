// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/traces"
)

// batchOfRanges is a trace that registers n ranges of a page, a page apart, takes the
// second one away and lets the GPU read all of the BO's first two pages.
func batchOfRanges(t testing.TB, n int) *traces.Trace {
	var ranges []string
	for i := range n {
		ranges = append(ranges, fmt.Sprintf("{start=%#x, size=0x1000}", 0x100000+i*0x2000))
	}
	text := strings.Join([]string{
		`1 openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = 3</dev/kfd>`,
		`1 openat(AT_FDCWD, "/dev/dri/renderD128", O_RDWR|O_CLOEXEC) = 4</dev/dri/renderD128>`,
		`1 ioctl(3, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=4, gpu_id=1}) = 0`,
		`1 ioctl(3, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0}) = 0`,
		fmt.Sprintf(`1 mmap(0x100000, %d, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0) = 0x100000`, n*0x2000),
		fmt.Sprintf(`1 ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400000000, total_size=%#x, ranges=[%s], gpu_id=1, flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=0x100000000}) = 0`,
			n*0x1000, strings.Join(ranges, ", ")),
		`1 ioctl(3, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=0x100000000, device_ids=[1]} => {n_success=1}) = 0`,
		`1 clone(child_stack=NULL, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = 2`,
		`2 madvise(0x102000, 4K, MADV_DONTNEED) = 0`,
		`1 gpu.read(1, 0x400000000, 8K)`,
		"",
	}, "\n")
	tr, err := traces.Parse("ranges", strings.NewReader(text))
	require.NoError(t, err)
	return tr
}

// TestExecutionsDoNotGrowWithTheRangesThatNobodyTouches is what a search over states
// cannot have.
func TestExecutionsDoNotGrowWithTheRangesThatNobodyTouches(t *testing.T) {
	for _, design := range []string{"batch", "wide", "multi"} {
		sizes := []int{64}
		if design == "batch" && !testing.Short() {
			sizes = append(sizes, 4096)
		}
		two, err := Explore(batchOfRanges(t, 2), ExploreOptions{Options: Options{Design: design}})
		require.NoError(t, err)
		require.Equal(t, "ok", two.Verdict)
		require.Equal(t, "complete", two.Extent)
		for _, n := range sizes {
			many, err := Explore(batchOfRanges(t, n), ExploreOptions{Options: Options{Design: design}})
			require.NoError(t, err)
			require.Equal(t, two.Executions, many.Executions, "%s, %d ranges", design, n)
			require.Equal(t, two.Verdict, many.Verdict)
		}
	}
}

func TestTwoWorkersExploreWhatOneDoes(t *testing.T) {
	for _, design := range []string{"batch", "batch+seq-after-fault", "single"} {
		tr := batchOfRanges(t, 3)
		one, err := Explore(tr, ExploreOptions{Options: Options{Design: design}, Workers: 1})
		require.NoError(t, err)
		two, err := Explore(tr, ExploreOptions{Options: Options{Design: design}, Workers: 2})
		require.NoError(t, err)
		if one.Failed != nil {
			require.Equal(t, one.Failed.Fingerprint, two.Failed.Fingerprint)
			one.Failed, two.Failed = nil, nil
		}
		require.Equal(t, one, two)
	}
}
