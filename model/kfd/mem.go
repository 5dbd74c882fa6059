// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
)

// UserRange is one CPU address range of a BO.
//
// Kernel: struct user_range_info (the batch series); for one range the fields of
// struct kgd_mem and struct amdgpu_ttm_tt.
type UserRange struct {
	Mem        *Mem
	Start, End uint64 // CPU pages, half-open; immutable
	Prefix     uint64 // page of the BO where the range begins; immutable

	Notifier mm.IntervalNotifier
	// Registered says whether Notifier is inserted; protected by ProcessInfo.lock.
	Registered bool

	// Watch is the notifier whose seq guards the fetches of the range; nil is
	// Notifier. Immutable once registered.
	Watch *mm.IntervalNotifier

	// HMM is a fetch that has not been confirmed, nil if there is none. Protected
	// by ProcessInfo.lock; released under notifierLock too.
	HMM *mm.HMMRange
	// Invalid counts invalidations that no fetch has answered. Protected by
	// notifierLock.
	Invalid uint32
	// Absent is the value of Invalid for which the last fetch found the memory
	// gone or read-only; 0 otherwise. Protected by notifierLock.
	Absent uint32
	// noted says that the range is in Mem.touched. Protected by notifierLock.
	noted bool
	// gone says that the last fetch found the memory gone, for MarkEFAULTBeforeCallback.
	gone bool
	// dma says that Mem.Pages holds the pages of the range and that they are
	// mapped for DMA on every attachment in use. Protected by ProcessInfo.lock.
	dma bool
}

// Len returns the number of pages.
func (r *UserRange) Len() uint64 { return r.End - r.Start }

// Mem is a buffer object with user memory behind it.
//
// Kernel: struct kgd_mem, amdgpu_amdkfd.h, with its amdgpu_bo and ttm_tt.
type Mem struct {
	P    *Process
	Dev  *ProcessDevice // the GPU whose handle it is
	VA   uint64         // GPU page of its first page; immutable
	Size uint64         // pages; immutable
	// unaligned says that the GPU address asked for is not a page's: such a BO can
	// be made, and not mapped. Immutable.
	unaligned bool
	Flags     uint32 // KFD_IOC_ALLOC_MEM_FLAGS_*; immutable
	// UserAddr is the CPU address that single allocations registered (bytes).
	UserAddr uint64
	handle   uint32

	// Ranges are the CPU ranges in the order of their GPU addresses; immutable
	// after creation.
	Ranges []UserRange

	// Invalid counts invalidations of any range that no pass has answered.
	// Protected by notifierLock.
	Invalid uint32
	// onInval and noted say which list of ProcessInfo the BO is on, removed that it
	// is on none for good. Protected by notifierLock.
	onInval, noted, removed bool
	// seq is the order of creation, pos the place in ProcessInfo.bos.
	seq uint64
	pos int
	// touched are the ranges that were invalidated since they were last confirmed;
	// protected by notifierLock. pass is what the present pass looks at; protected
	// by ProcessInfo.lock.
	touched, pass []*UserRange
	// fetching is the range whose pages are being fetched, for
	// MarkCallbackDuringFetch.
	fetching *UserRange

	// Pages are the frames behind the BO by page of the BO: ttm->pages. Protected
	// by ProcessInfo.lock.
	Pages phys.Map

	attachments []attachment // by GPU, in order of first mapping
	freed       bool

	// Private is the Design's own.
	Private any
	// Seen is the Watcher's own.
	Seen any
}

// attachment is a BO on one GPU.
//
// Kernel: struct kfd_mem_attachment.
type attachment struct {
	pd     *ProcessDevice
	mapped bool
}

// attachment returns the BO's attachment to a GPU, nil if there is none.
func (m *Mem) attachment(pd *ProcessDevice) *attachment {
	for i := range m.attachments {
		if m.attachments[i].pd == pd {
			return &m.attachments[i]
		}
	}
	return nil
}

// Handle returns the 64-bit handle of the BO.
//
// Kernel: MAKE_HANDLE, kfd_chardev.c.
func (m *Mem) Handle() uint64 { return uint64(m.Dev.Dev.ID())<<32 | uint64(m.handle) }

// MappedTo calls f for every GPU that has the BO mapped.
func (m *Mem) MappedTo(f func(pd *ProcessDevice)) {
	for i := range m.attachments {
		if m.attachments[i].mapped {
			f(m.attachments[i].pd)
		}
	}
}

// Mapped says whether any GPU has the BO mapped.
func (m *Mem) Mapped() bool {
	for i := range m.attachments {
		if m.attachments[i].mapped {
			return true
		}
	}
	return false
}

// pteFlags returns the PTE flags of the BO's pages.
//
// Kernel: get_pte_flags, amdgpu_amdkfd_gpuvm.c.
func (m *Mem) pteFlags() gpu.PTE {
	f := gpu.Valid | gpu.System | gpu.Snooped | gpu.Readable
	if m.Flags&AllocWritable != 0 {
		f |= gpu.Writeable
	}
	if m.Flags&AllocExecutable != 0 {
		f |= gpu.Executable
	}
	return f
}

// newMem makes a BO with its ranges, not yet registered.
func (p *Process) newMem(pd *ProcessDevice, va uint64, flags uint32, ranges []AddrRange) *Mem {
	m := &Mem{P: p, Dev: pd, VA: va >> mm.PageShift, unaligned: va&(mm.PageSize-1) != 0, Flags: flags, Ranges: make([]UserRange, len(ranges))}
	for i, r := range ranges {
		u := &m.Ranges[i]
		u.Mem, u.Start = m, r.Start>>mm.PageShift
		u.End = (r.Start + r.Size + mm.PageSize - 1) >> mm.PageShift
		u.Prefix = m.Size
		m.Size += u.Len()
	}
	return m
}

// AddrRange is [Start,Start+Size) in bytes.
//
// Kernel: struct kfd_ioctl_userptr_range (the batch series).
type AddrRange struct{ Start, Size uint64 }

// handleFor returns the BO of a handle.
//
// Errors: EINVAL for an unknown GPU; the caller says what a bad number means.
func (p *Process) handleFor(handle uint64) (*ProcessDevice, *Mem, errno.Errno) {
	pd := p.Device(uint32(handle >> 32))
	if pd == nil {
		return nil, nil, errno.EINVAL
	}
	return pd, pd.handles[uint32(handle)], 0
}
