// SPDX-License-Identifier: MIT

package traces

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const goldenCapture = `7  10.1 execve("/bin/a", ["a"], 0x7ffe /* 1 var */) = 0
7  10.2 mmap(NULL, 64K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x10000
7  10.3 brk(NULL)                       = 0x50000
7  10.4 brk(0x58000)                    = 0x58000
7  10.5 munmap(0x14000, 8192 <unfinished ...>
7  10.6 <... munmap resumed>)           = 0
7  10.7 clone(child_stack=NULL, flags=SIGCHLD) = 8
8  10.8 munmap(0x10000, 0x10000)        = 0
8  10.9 exit_group(0)                   = ?
7  11.0 exit_group(0)                   = ?
7  11.1 +++ exited with 0 +++
`

func TestOverlayOfASmallCapture(t *testing.T) {
	out, st := overlaid(t, "dir/small.trace", goldenCapture, OverlayOptions{Every: 1, Ranges: 3, Seed: 765})
	require.Equal(t, strings.ReplaceAll(overlaidGolden, "@", "`"), out)
	require.Equal(t, 7, st.Process)
	judged(t, out, 4096)
}

// overlaidGolden is the whole output, "@" standing for a backquote.
const overlaidGolden = `# The capture small.trace with userptr batches laid over it: an ordinary program whose memory a GPU uses.
# Made by @kfdsim overlay@: min 4096, max 4194304, ranges 3, every 1, seed 765, batches 8.
#: question: does the GPU see the memory of small.trace while the program unmaps, forks and returns it?
#: needs: gpu
#: result: batch=ok mirror=ok single=ok
7 10.1 execve("/bin/a", ["a"], 0x7ffe /* 1 var */) = 0
7 10.2 openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = 900</dev/kfd>
7 10.2 openat(AT_FDCWD, "/dev/dri/renderD128", O_RDWR|O_CLOEXEC) = 901</dev/dri/renderD128>
7 10.2 ioctl(900</dev/kfd>, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=901, gpu_id=1}) = 0
7 10.2 ioctl(900</dev/kfd>, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0}) = 0
7 10.2 mmap(NULL, 64K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x10000
7 10.3 ioctl(900</dev/kfd>, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400000000, total_size=0x10000, ranges=[{start=0x12000, size=0xe000}, {start=0x10000, size=0x2000}], gpu_id=1, flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=0x100000000}) = 0
7 10.3 ioctl(900</dev/kfd>, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=0x100000000, device_ids=[1]} => {n_success=1}) = 0
7 10.3 gpu.write(1, 0x400000000, 65536, 0x48) = 0
7 10.3 gpu.read(1, 0x400000000, 65536) = {0x48*65536}
7 10.3 brk(NULL) = 0x50000
7 10.4 cpu.read(0x17000, 4096)
7 10.4 brk(0x58000) = 0x58000
7 10.5 gpu.read(1, 0x400000000, 4096)
7 10.5 gpu.write(1, 0x400003000, 32768, 0x9) = 0
7 10.5 gpu.read(1, 0x400003000, 32768) = {0x9*32768}
7 10.5 gpu.read(1, 0x400003000, 49152)
7 10.5 gpu.read(1, 0x40000a000, 20480)
7 10.5 munmap(0x14000, 8192 <unfinished ...>
7 10.6 <... munmap resumed>) = 0
7 10.7 ioctl(900</dev/kfd>, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400200000, total_size=0x8000, ranges=[{start=0x53000, size=0x5000}, {start=0x50000, size=0x3000}], gpu_id=1, flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=0x100000001}) = 0
7 10.7 ioctl(900</dev/kfd>, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=0x100000001, device_ids=[1]} => {n_success=1}) = 0
7 10.7 gpu.write(1, 0x400200000, 32768, 0x9d) = 0
7 10.7 gpu.read(1, 0x400200000, 32768) = {0x9d*32768}
7 10.7 clone(child_stack=NULL, flags=SIGCHLD) = 8
7 10.8 cpu.write(0x11500, 2688, 0x87) = 0
8 10.8 munmap(0x10000, 0x10000) = 0
7 10.9 sleep(2)
8 10.9 exit_group(0) = ?
7 11.0 gpu.read(1, 0x40000e000, 8192)
7 11.0 gpu.write(1, 0x400202000, 16384, 0x17) = 0
7 11.0 gpu.read(1, 0x400201000, 4096)
7 11.0 gpu.write(1, 0x400200000, 32768, 0x83) = 0
7 11.0 ioctl(900</dev/kfd>, AMDKFD_IOC_UNMAP_MEMORY_FROM_GPU, {handle=0x100000000, device_ids=[1]} => {n_success=1}) = 0
7 11.0 ioctl(900</dev/kfd>, AMDKFD_IOC_FREE_MEMORY_OF_GPU, {handle=0x100000000}) = 0
7 11.0 exit_group(0) = ?
7 11.1 +++ exited with 0 +++
`
