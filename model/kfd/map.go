// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnMap   = sim.NewFunc("amdgpu_amdkfd_gpuvm_map_memory_to_gpu", "handle", "gpu", "errno")
	fnUnmap = sim.NewFunc("amdgpu_amdkfd_gpuvm_unmap_memory_from_gpu", "handle", "gpu", "errno")
	fnFreed = sim.NewFunc("amdgpu_amdkfd_gpuvm_free_memory_of_gpu", "handle", "errno")
)

// MapArgs are the arguments of MAP and UNMAP.
//
// Kernel: struct kfd_ioctl_map_memory_to_gpu_args.
type MapArgs struct {
	Handle    uint64
	DeviceIDs []uint32
	NDevices  uint32 // as user space claims
	NSuccess  uint32 // first index to do
}

// check is the part of the argument check that MAP and UNMAP share.
func (a *MapArgs) check() errno.Errno {
	switch {
	case a.NDevices == 0:
		return errno.EINVAL
	case a.NSuccess > a.NDevices:
		return errno.EINVAL
	case a.NDevices > 1<<20:
		return errno.ENOMEM
	case int(a.NDevices) > len(a.DeviceIDs):
		return errno.EFAULT
	}
	return 0
}

// MapMemoryToGPU maps a BO on the GPUs DeviceIDs[NSuccess:]. It returns how many
// of DeviceIDs are done; a repeated call goes on from there.
//
// Errors, in the driver's order: EINVAL for n_devices 0 or n_success above it,
// ENOMEM, EFAULT, EINVAL for an unknown GPU in the handle, ENOMEM for an unknown
// handle, EINVAL for an unknown peer or an address that cannot be mapped.
//
// Kernel: kfd_ioctl_map_memory_to_gpu, kfd_chardev.c.
func (p *Process) MapMemoryToGPU(t *sim.Task, a *MapArgs) (uint32, errno.Errno) {
	if err := a.check(); err != 0 {
		return a.NSuccess, err
	}
	p.mutex.Lock(t)
	n, err := p.mapMem(t, a)
	p.mutex.Unlock(t)
	if err == 0 {
		for _, id := range a.DeviceIDs[:a.NDevices] {
			p.Device(id).VM.FlushTLB(t)
		}
	}
	return n, err
}

func (p *Process) mapMem(t *sim.Task, a *MapArgs) (uint32, errno.Errno) {
	n := a.NSuccess
	_, m, err := p.handleFor(a.Handle)
	if err != 0 {
		return n, err
	}
	if m == nil {
		return n, errno.ENOMEM
	}
	for ; n < a.NDevices; n++ {
		pd, err := p.bind(a.DeviceIDs[n])
		if err == 0 {
			err = m.mapTo(t, pd)
		}
		t.Log(fnMap, a.Handle, uint64(a.DeviceIDs[n]), uint64(err))
		if err != 0 {
			return n, err
		}
	}
	return n, 0
}

// mapTo maps the BO on one GPU. Pages that are invalid now are left to the
// worker.
//
// Kernel: amdgpu_amdkfd_gpuvm_map_memory_to_gpu, amdgpu_amdkfd_gpuvm.c.
//
// Simplified: model/FIDELITY.md K-MAP.
func (m *Mem) mapTo(t *sim.Task, pd *ProcessDevice) errno.Errno {
	if m.VA == 0 || m.unaligned || !m.vaInAperture() {
		return errno.EINVAL
	}
	info := m.P.Info
	info.lock.Lock(t)
	a := m.attachment(pd)
	switch {
	case a != nil && a.mapped:
		info.lock.Unlock(t)
		return 0
	case m.overlapsMapped(pd):
		info.lock.Unlock(t)
		return errno.EINVAL
	case t.MayFail(): // kfd_mem_attach, page-table BOs
		info.lock.Unlock(t)
		return errno.ENOMEM
	case a == nil:
		m.attachTo(pd)
	}
	pd.place(m)
	err := errno.Errno(0)
	if mo, ok := m.P.drv.Design.(Mapper); ok {
		err = mo.Map(t, m)
	} else {
		for i := range m.Ranges {
			r := &m.Ranges[i]
			if !r.dma {
				continue
			}
			if m.rangeInvalid(t, r) {
				t.Mark(MarkMappedWhileInvalid)
			} else {
				m.writePTEs(t, pd, r)
			}
		}
	}
	if err == 0 {
		m.attachment(pd).mapped = true
	} else {
		pd.unplace(m)
	}
	info.lock.Unlock(t)
	m.P.drv.stateChanged(m.P)
	return err
}

// attachTo makes the BO's pages reachable by the GPU's DMA.
//
// Kernel: kfd_mem_attach, amdgpu_amdkfd_gpuvm.c.
func (m *Mem) attachTo(pd *ProcessDevice) {
	m.attachments = append(m.attachments, attachment{pd: pd})
	for i := range m.Ranges {
		if r := &m.Ranges[i]; r.dma {
			m.dma(pd, r, true)
		}
	}
}

// Mapper is a Design that does by itself what mapping a BO on a GPU takes, and
// writes its PTEs when it likes (mirror).
type Mapper interface {
	Map(t *sim.Task, m *Mem) errno.Errno
}

// rangeInvalid reads under notifierLock whether the range waits for the worker.
func (m *Mem) rangeInvalid(t *sim.Task, r *UserRange) bool {
	l := &m.P.Info.notifierLock
	l.Lock(t)
	invalid := r.Invalid != 0
	l.Unlock(t)
	return invalid
}

// overlapsMapped says whether another BO has a place where m wants to be.
//
// Kernel: amdgpu_vm_bo_map's check for overlapping mappings.
func (m *Mem) overlapsMapped(pd *ProcessDevice) bool {
	return len(pd.Placed(m.VA, m.VA+m.Size)) > 0
}

// UnmapMemoryFromGPU takes a BO's entries off the GPUs DeviceIDs[NSuccess:].
//
// Errors: as MapMemoryToGPU, and EINVAL for a BO that is not mapped there.
//
// Kernel: kfd_ioctl_unmap_memory_from_gpu, kfd_chardev.c.
func (p *Process) UnmapMemoryFromGPU(t *sim.Task, a *MapArgs) (uint32, errno.Errno) {
	if err := a.check(); err != 0 {
		return a.NSuccess, err
	}
	p.mutex.Lock(t)
	n, err := p.unmapMem(t, a)
	p.mutex.Unlock(t)
	return n, err
}

func (p *Process) unmapMem(t *sim.Task, a *MapArgs) (uint32, errno.Errno) {
	n := a.NSuccess
	_, m, err := p.handleFor(a.Handle)
	if err != 0 {
		return n, err
	}
	if m == nil {
		return n, errno.ENOMEM
	}
	for ; n < a.NDevices; n++ {
		err := errno.EINVAL
		if pd := p.Device(a.DeviceIDs[n]); pd != nil {
			err = m.unmapFrom(t, pd)
		}
		t.Log(fnUnmap, a.Handle, uint64(a.DeviceIDs[n]), uint64(err))
		if err != 0 {
			return n, err
		}
	}
	return n, 0
}

// unmapFrom removes the BO's entries from one GPU and flushes its TLB.
//
// Kernel: amdgpu_amdkfd_gpuvm_unmap_memory_from_gpu, and the flush that
// kfd_ioctl_unmap_memory_from_gpu does for chips that need it (all, here).
//
// Simplified: model/FIDELITY.md K-UNMAPFLUSH.
func (m *Mem) unmapFrom(t *sim.Task, pd *ProcessDevice) errno.Errno {
	info := m.P.Info
	info.lock.Lock(t)
	a := m.attachment(pd)
	if a == nil || !a.mapped {
		info.lock.Unlock(t)
		return errno.EINVAL
	}
	pd.VM.ClearRange(t, m.VA, m.VA+m.Size)
	// Mapped until the flush is done: a callback that comes before would give the
	// pages up with their translations still cached.
	pd.VM.FlushTLB(t)
	a.mapped = false
	pd.unplace(m)
	info.lock.Unlock(t)
	m.P.drv.stateChanged(m.P)
	return 0
}

// FreeMemoryOfGPU frees a BO.
//
// Errors: EINVAL for an unknown GPU or handle, EBUSY while any GPU has it mapped.
//
// Kernel: kfd_ioctl_free_memory_of_gpu, kfd_chardev.c.
func (p *Process) FreeMemoryOfGPU(t *sim.Task, handle uint64) errno.Errno {
	p.mutex.Lock(t)
	pd, m, err := p.handleFor(handle)
	switch {
	case err != 0:
	case m == nil:
		err = errno.EINVAL
	case m.Mapped():
		err = errno.EBUSY
	default:
		p.freeMem(t, m)
		delete(pd.handles, m.handle)
	}
	p.mutex.Unlock(t)
	t.Log(fnFreed, handle, uint64(err), 0)
	return err
}

// freeMem takes an unmapped BO apart: off the list first, so that the worker
// forgets it, then the notifiers, then pages and charge.
//
// Kernel: amdgpu_amdkfd_gpuvm_free_memory_of_gpu, amdgpu_amdkfd_gpuvm.c.
func (p *Process) freeMem(t *sim.Task, m *Mem) {
	info := p.Info
	info.lock.Lock(t)
	info.remove(t, m)
	if w := p.drv.watch; w != nil {
		w.Freeing(m)
	}
	info.lock.Unlock(t)
	p.drv.Design.ReleaseUserPages(t, m)
	info.lock.Lock(t)
	m.dropPages()
	m.attachments = nil
	m.freed = true
	info.lock.Unlock(t)
	p.drv.unreserveMemLimit(m.Size << mm.PageShift)
	if w := p.drv.watch; w != nil {
		w.Freed(m)
	}
	p.drv.stateChanged(p)
}

// writePTEs gives the GPU the pages of a range.
//
// Preconditions: ProcessInfo.lock is held; the range has pages.
//
// Kernel: update_gpuvm_pte, amdgpu_amdkfd_gpuvm.c.
func (m *Mem) writePTEs(t *sim.Task, pd *ProcessDevice, r *UserRange) {
	info := m.P.Info
	info.runs = m.Pages.AppendRuns(info.runs[:0], r.Prefix, r.Prefix+r.Len())
	lo := m.VA + r.Prefix
	pd.VM.UpdateRange(t, lo, lo+r.Len(), info.runs, m.pteFlags())
}

// clearPTEs takes a range away from the GPU.
func (m *Mem) clearPTEs(t *sim.Task, pd *ProcessDevice, r *UserRange) {
	lo := m.VA + r.Prefix
	pd.VM.ClearRange(t, lo, lo+r.Len())
}

// dma maps or unmaps the pages of a range for DMA on one GPU.
//
// Kernel: amdgpu_ttm_backend_bind and _unbind through sg tables.
func (m *Mem) dma(pd *ProcessDevice, r *UserRange, on bool) {
	it := m.Pages.Iter(r.Prefix, r.Prefix+r.Len())
	for it.Next() {
		// A frame behind several pages is mapped as often.
		pfn, n, times := phys.PFN(it.Run.V), it.Run.Len(), uint64(1)
		if it.Run.Stride == 0 {
			n, times = 1, n
		}
		for ; times > 0; times-- {
			if on {
				pd.Dev.DMAMap(pfn, n)
			} else {
				pd.Dev.DMAUnmap(pfn, n)
			}
		}
	}
}

// dropPages gives up every page of the BO.
//
// Preconditions: no GPU has the BO mapped; ProcessInfo.lock is held or the BO is
// not yet known to anybody.
func (m *Mem) dropPages() {
	for i := range m.Ranges {
		m.DropRange(&m.Ranges[i])
	}
	m.Pages.Reset()
}

// MapRangeLocked gives one GPU the pages of a range, for designs without worker.
//
// Preconditions: notifierLock is held and the pages are valid.
func (m *Mem) MapRangeLocked(t *sim.Task, pd *ProcessDevice, r *UserRange) { m.writePTEs(t, pd, r) }

// UnmapRangeLocked takes a range away from every GPU and gives up its pages, for
// designs without worker.
//
// Preconditions: notifierLock is held.
func (m *Mem) UnmapRangeLocked(t *sim.Task, r *UserRange) {
	if !r.dma {
		return
	}
	m.MappedTo(func(pd *ProcessDevice) {
		m.clearPTEs(t, pd, r)
		pd.VM.FlushTLB(t)
	})
	m.DropRange(r)
}

// MappedOn says whether one GPU has the BO mapped.
func (m *Mem) MappedOn(pd *ProcessDevice) bool {
	a := m.attachment(pd)
	return a != nil && a.mapped
}
