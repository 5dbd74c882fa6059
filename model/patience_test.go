// SPDX-License-Identifier: MIT

package model

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/traces"
)

// evictsItself is a buffer that is larger than memory: fetching one page takes another
// away.
const evictsItself = `#: ram: 64K
#: swap: 1M
#: nodes: 1
#: limit: 1M
1 openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = 3</dev/kfd>
1 openat(AT_FDCWD, "/dev/dri/renderD128", O_RDWR|O_CLOEXEC) = 4</dev/dri/renderD128>
1 ioctl(3, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=4, gpu_id=1}) = 0
1 ioctl(3, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0}) = 0
1 mmap(0x10000, 128K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0) = 0x10000
1 ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400000000, total_size=0x20000, ranges=[{start=0x10000, size=0x20000}], gpu_id=1, flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=0x100000000}) = 0
`

// TestALoopThatChanceKeepsVaryingIsStuck: no two laps of it come to the same state
// under a seed, so that it must be looked at in an order that is fair.
func TestALoopThatChanceKeepsVaryingIsStuck(t *testing.T) {
	tr, err := traces.Parse("x", strings.NewReader(evictsItself))
	require.NoError(t, err)
	for seed := range uint64(20) {
		r, err := Run(tr, Options{Seed: &seed, Record: true})
		require.NoError(t, err)
		if !r.impatient {
			continue
		}
		require.Equal(t, "stuck", r.Verdict)
		c := r.Counterexample(traces.LineSpan{})
		again, err := Run(tr, Options{Follow: c})
		require.NoError(t, err)
		require.Equal(t, r.Fingerprint, again.Fingerprint)
		return
	}
	require.Fail(t, "no seed loops")
}
