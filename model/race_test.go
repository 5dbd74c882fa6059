// SPDX-License-Identifier: MIT

package model

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// unguarded is batch without the two guards of a commit: an invalidation that
// comes while the worker runs is not counted, and read_retry is not asked.
func unguarded(uncounted, unasked bool) *faulty {
	d := &faulty{Design: batch.New()}
	if uncounted {
		d.invalidate = func(_ *faulty, inner mm.IntervalNotifierOps, t *sim.Task, n *mm.IntervalNotifier, r *mm.NotifierRange, seq uint64) bool {
			if !n.Owner.(*kfd.UserRange).Mem.P.Info.RestoreRunning() {
				return inner.Invalidate(t, n, r, seq)
			}
			onlySetSeq(t, n, seq)
			return true
		}
	}
	if unasked {
		d.confirm = func(_ *faulty, t *sim.Task, m *kfd.Mem) bool {
			for _, r := range m.TouchedLocked() {
				r.DropFetch(t)
			}
			return true
		}
	}
	return d
}

// TestACommitNeedsTheCountOfEvictions: the count alone is enough. read_retry alone
// is not: a range that was valid before and is hit while the worker runs is not
// fetched again, so nobody asks for it; what was fetched and hit is stuck.
func TestACommitNeedsTheCountOfEvictions(t *testing.T) {
	const race = `1 openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = 3</dev/kfd>
1 openat(AT_FDCWD, "/dev/dri/renderD128", O_RDWR|O_CLOEXEC) = 4</dev/dri/renderD128>
1 ioctl(3, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=4, gpu_id=1}) = 0
1 ioctl(3, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0}) = 0
1 mmap(0x10000, 8K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0) = 0x10000
1 ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400000000, total_size=0x2000, ranges=[{start=0x10000, size=0x1000}, {start=0x11000, size=0x1000}], gpu_id=1, flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=0x100000000}) = 0
1 ioctl(3, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=0x100000000, device_ids=[1]} => {n_success=1}) = 0
1 clone(child_stack=NULL, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = 2
1 madvise(0x10000, 4K, MADV_DONTNEED) = 0
2 madvise(0x11000, 4K, MADV_DONTNEED) = 0
`
	tr, err := traces.Parse("race", strings.NewReader(race))
	require.NoError(t, err)
	for name, c := range map[string]struct {
		uncounted, unasked bool
		want               string
	}{
		"both":    {false, false, "ok"},
		"count":   {false, true, "ok"},
		"retry":   {true, false, "stale"},
		"neither": {true, true, "stale"},
	} {
		e, err := Explore(tr, ExploreOptions{Options: Options{New: func() kfd.Design { return unguarded(c.uncounted, c.unasked) }}})
		require.NoError(t, err)
		require.Equal(t, c.want, e.Verdict, "%s: %s", name, e.Reason)
	}
}
