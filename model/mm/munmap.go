// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

var fnMunmap = sim.NewFunc("do_vmi_align_munmap", "start", "end", "vmas")

// Munmap removes the mappings of [addr,addr+length) (bytes).
//
// Errors: EINVAL for a bad range, ENOMEM when a VMA would have to be cut in two
// and there are too many already.
//
// Kernel: __vm_munmap, mm/mmap.c.
func (mm *MM) Munmap(t *sim.Task, addr, length uint64) errno.Errno {
	mm.mmapLock.Lock(t)
	err := mm.doMunmap(t, addr, length, true)
	if err != 0 {
		mm.mmapLock.Unlock(t)
	}
	return err
}

// doMunmap is Munmap under the lock, which it releases on success if unlock is
// set.
//
// Kernel: do_vmi_munmap, mm/vma.c.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) doMunmap(t *sim.Task, addr, length uint64, unlock bool) errno.Errno {
	const taskBytes = TaskSize << PageShift
	if pageOffset(addr) != 0 || addr > taskBytes || length > taskBytes-addr || length == 0 {
		return errno.EINVAL
	}
	lo, hi := addr>>PageShift, (addr+pageAlign(length))>>PageShift
	v := mm.intersection(lo, hi)
	if v == nil {
		if unlock {
			mm.mmapLock.Unlock(t)
		}
		return 0
	}
	return mm.alignMunmap(t, v, lo, hi, unlock)
}

// alignMunmap removes the mappings of pages [lo,hi), of which v is the first.
//
// Kernel: do_vmi_align_munmap, mm/vma.c.
//
// Preconditions: as doMunmap.
func (mm *MM) alignMunmap(t *sim.Task, v *VMA, lo, hi uint64, unlock bool) errno.Errno {
	v, err := mm.gatherVMAs(t, v, lo, hi)
	if err != 0 {
		return err
	}
	mm.completeMunmap(t, v, lo, hi, unlock)
	return 0
}

// gatherVMAs cuts VMAs at lo and hi, so that whole VMAs make up what is mapped
// between, and returns the first of them.
//
// Errors: ENOMEM when cutting one VMA in three would give too many.
//
// Kernel: vms_gather_munmap_vmas, mm/vma.c.
func (mm *MM) gatherVMAs(t *sim.Task, v *VMA, lo, hi uint64) (*VMA, errno.Errno) {
	if v.Start < lo {
		if hi < v.End && mm.mapCount() >= maxMapCount {
			return nil, errno.ENOMEM
		}
		mm.splitVMANoLimit(t, v, lo, true)
	}
	last := v
	for last.next != nil && last.next.Start < hi {
		last = last.next
	}
	if last.End > hi {
		mm.splitVMANoLimit(t, last, hi, false)
	}
	return v, 0
}

// completeMunmap takes v and its successors below hi out of the address space
// and gives their pages back. With unlock it releases the lock, and holds it only
// for reading from the moment on when the VMAs are gone: a page fault can fail
// before the UNMAP window opens.
//
// Kernel: vms_complete_munmap_vmas and vms_clear_ptes, mm/vma.c.
//
// Preconditions: mmapLock held for writing; gatherVMAs has run.
func (mm *MM) completeMunmap(t *sim.Task, v *VMA, lo, hi uint64, unlock bool) {
	m := &mm.maps
	below := v.prev
	for v != nil && v.Start < hi {
		next := v.next
		mm.detachVMA(v)
		m.detached = append(m.detached, v)
		v = next
	}
	mm.noteHole(below, v)
	t.Log(fnMunmap, lo<<PageShift, hi<<PageShift, uint64(len(m.detached)))
	if unlock {
		mm.mmapLock.Downgrade(t)
	}

	m.unmap = NotifierRange{Event: EventUnmap, Start: lo, End: hi, Blockable: true}
	mm.invalidateRangeStart(t, &m.unmap)
	for _, d := range m.detached {
		mm.unmapPageRange(t, d, d.Start, d.End)
	}
	mm.invalidateRangeEnd(t, &m.unmap)
	mm.freePgtables(lo, hi)
	for i, d := range m.detached {
		mm.releaseVMA(d)
		m.detached[i] = nil
	}
	m.detached = m.detached[:0]
	if unlock {
		mm.mmapLock.RUnlock(t)
	}
}
