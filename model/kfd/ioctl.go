// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Flags of an allocation.
//
// Kernel: KFD_IOC_ALLOC_MEM_FLAGS_*, include/uapi/linux/kfd_ioctl.h.
const (
	AllocVRAM        = 1 << 0
	AllocGTT         = 1 << 1
	AllocUserptr     = 1 << 2
	AllocDoorbell    = 1 << 3
	AllocMMIORemap   = 1 << 4
	AllocAQLQueueMem = 1 << 27
	AllocExecutable  = 1 << 30
	AllocWritable    = 1 << 31
)

// maxRanges is the most elements that one kvmalloc of the range array can hold.
const maxRanges = (1<<31 - 1) / 16

var (
	fnAlloc = sim.NewFunc("amdgpu_amdkfd_gpuvm_alloc_memory_of_gpu", "va", "size", "errno")
	fnBatch = sim.NewFunc("amdgpu_amdkfd_gpuvm_alloc_memory_of_gpu_batch", "va", "size", "errno")
)

// AllocArgs are the arguments of ALLOC_MEMORY_OF_GPU and its batch form.
//
// Kernel: struct kfd_ioctl_alloc_memory_of_gpu_args; …_batch_args (the series).
type AllocArgs struct {
	VA         uint64 // bytes
	Size       uint64 // bytes; of a batch: of all ranges
	MmapOffset uint64 // user address of a single userptr
	GPUID      uint32
	Flags      uint32
	Ranges     []AddrRange // batch only
	NumRanges  uint32      // batch only: as user space claims
}

// CheckBatch is the argument check of the batch call, in its order. A performer
// that lowers a batch to single calls makes the same check first.
//
// Errors: EINVAL for sizes, ranges or sums that do not fit, EOPNOTSUPP without
// USERPTR, ENOMEM for more ranges than can be copied, EFAULT for a range array
// shorter than claimed.
//
// Kernel: kfd_ioctl_alloc_memory_of_gpu_batch (the series, v2) with the overflow
// check that it lacks (D14).
func CheckBatch(a *AllocArgs) errno.Errno { return checkBatch(a, true) }

// checkBatch is CheckBatch; overflow says whether sums are checked for it.
func checkBatch(a *AllocArgs, overflow bool) errno.Errno {
	switch {
	case a.Size == 0, a.NumRanges == 0:
		return errno.EINVAL
	case len(a.Ranges) == 0:
		return errno.EINVAL // ranges_ptr is NULL
	case a.Flags&AllocUserptr == 0:
		return errno.EOPNOTSUPP
	case a.NumRanges > maxRanges:
		return errno.ENOMEM
	case int(a.NumRanges) > len(a.Ranges):
		return errno.EFAULT
	}
	var sum uint64
	for _, r := range a.Ranges[:a.NumRanges] {
		if r.Start == 0 || r.Size == 0 || (r.Start|r.Size)&(mm.PageSize-1) != 0 {
			return errno.EINVAL
		}
		if overflow && (sum+r.Size < sum || r.Start+r.Size < r.Start) {
			return errno.EINVAL
		}
		sum += r.Size
	}
	if sum != a.Size {
		return errno.EINVAL
	}
	if a.Flags&AllocAQLQueueMem != 0 {
		return errno.EINVAL
	}
	return 0
}

// AllocMemoryOfGPU registers one user range (USERPTR) or makes another BO.
//
// Errors, in the driver's order: EINVAL for size 0, EADDRINUSE where SVM ranges
// are, EINVAL for a bad gpu_id, ENODEV without an acquired VM, EINVAL for user
// address 0, ENOMEM over the limit, then what fetching the pages says (EFAULT,
// EPERM, EAGAIN, ESRCH).
//
// Kernel: kfd_ioctl_alloc_memory_of_gpu, kfd_chardev.c.
func (p *Process) AllocMemoryOfGPU(t *sim.Task, a *AllocArgs) (uint64, errno.Errno) {
	if a.Size == 0 {
		return 0, errno.EINVAL
	}
	user := []AddrRange{{a.MmapOffset, a.Size}}
	if a.Flags&AllocUserptr == 0 {
		user = nil
	}
	if err := p.svmConflict(t, a.VA, a.Size, user); err != 0 {
		return 0, err
	}
	p.mutex.Lock(t)
	h, err := p.allocSingle(t, a)
	p.mutex.Unlock(t)
	t.Log(fnAlloc, a.VA, a.Size, uint64(err))
	return h, err
}

func (p *Process) allocSingle(t *sim.Task, a *AllocArgs) (uint64, errno.Errno) {
	pd, err := p.bind(a.GPUID)
	if err != 0 {
		return 0, err
	}
	if a.Flags&AllocUserptr == 0 {
		return 0, errno.EINVAL // other domains are not modelled: model/FIDELITY.md F10
	}
	if a.MmapOffset == 0 {
		return 0, errno.EINVAL
	}
	// The tag bits of the address are stripped; its alignment is not checked.
	start := a.MmapOffset &^ (0xff << 56)
	size := (a.Size + mm.PageSize - 1) &^ (mm.PageSize - 1)
	if size < a.Size || start+size < start {
		return 0, errno.EINVAL
	}
	return p.allocUserptr(t, pd, a.VA, a.Flags, []AddrRange{{start &^ (mm.PageSize - 1), size}})
}

// AllocMemoryOfGPUBatch registers all ranges as one BO at consecutive GPU
// addresses.
//
// Errors: CheckBatch, then as AllocMemoryOfGPU.
//
// Kernel: kfd_ioctl_alloc_memory_of_gpu_batch (the series).
func (p *Process) AllocMemoryOfGPUBatch(t *sim.Task, a *AllocArgs) (uint64, errno.Errno) {
	if err := checkBatch(a, !p.drv.has(D14)); err != 0 {
		return 0, err
	}
	ranges := a.Ranges[:a.NumRanges]
	if err := p.svmConflict(t, a.VA, a.Size, ranges); err != 0 {
		return 0, err
	}
	p.mutex.Lock(t)
	var h uint64
	pd, err := p.bind(a.GPUID)
	if err == 0 {
		h, err = p.allocUserptr(t, pd, a.VA, a.Flags, ranges)
	}
	p.mutex.Unlock(t)
	t.Log(fnBatch, a.VA, a.Size, uint64(err))
	return h, err
}

// bind finds the process on a GPU.
//
// Kernel: kfd_bind_process_to_device.
func (p *Process) bind(gpuID uint32) (*ProcessDevice, errno.Errno) {
	pd := p.Device(gpuID)
	switch {
	case pd == nil:
		return nil, errno.EINVAL
	case pd.VM == nil:
		return nil, errno.ENODEV
	}
	return pd, 0
}

// allocUserptr makes a BO over user ranges. On an error nothing is left.
//
// Preconditions: Process.mutex is held.
//
// Kernel: amdgpu_amdkfd_gpuvm_alloc_memory_of_gpu, amdgpu_amdkfd_gpuvm.c.
//
// Simplified: model/FIDELITY.md K-ALLOC.
func (p *Process) allocUserptr(t *sim.Task, pd *ProcessDevice, va uint64, flags uint32, ranges []AddrRange) (uint64, errno.Errno) {
	if t.MayFail() { // kzalloc of the kgd_mem, the table of ranges, the BO
		return 0, errno.ENOMEM
	}
	m := p.newMem(pd, va, flags, ranges)
	if len(ranges) == 1 {
		m.UserAddr = ranges[0].Start
	}
	bytes := m.Size << mm.PageShift
	if !p.drv.reserveMemLimit(bytes) {
		return 0, errno.ENOMEM
	}
	info := p.Info
	info.lock.Lock(t)
	info.add(m)
	err := p.drv.Design.InitUserPages(t, m)
	if err != 0 {
		info.remove(t, m)
	}
	info.lock.Unlock(t)
	if err != 0 {
		m.dropPages()
		p.drv.unreserveMemLimit(bytes)
		if w := p.drv.watch; w != nil {
			w.Freed(m)
		}
		p.drv.stateChanged(p)
		return 0, err
	}
	if t.MayFail() { // kfd_process_device_create_obj_handle
		p.freeMem(t, m)
		return 0, errno.EFAULT
	}
	m.handle = pd.nextHandle
	pd.nextHandle++
	pd.handles[m.handle] = m
	p.drv.Counts.BOs++
	if w := p.drv.watch; w != nil {
		w.Allocated(m)
	}
	p.drv.stateChanged(p)
	return m.Handle(), 0
}

// vaInAperture says whether a BO can be mapped where it wants to be.
func (m *Mem) vaInAperture() bool { return gpu.InAperture(m.VA, m.VA+m.Size) }
