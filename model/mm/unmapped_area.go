// SPDX-License-Identifier: MIT

package mm

import "github.com/kfdsim/kfdsim/model/errno"

// Limits of a search, in pages.
const (
	// mmapMinAddr is vm.mmap_min_addr; MAP_FIXED may go below it (root).
	mmapMinAddr = 0x10
	// stackGuardGap keeps mappings away from a stack that grows.
	stackGuardGap = 256
	// legacyBase is where the search upwards begins (TASK_UNMAPPED_BASE).
	legacyBase = (TaskSize + 2) / 3
	fourGiB    = 1 << (32 - PageShift)
)

// areaCache remembers where the last search downwards ended: no hole that ends
// above top is larger than hole. So a search for more begins at top, and mapping
// piece after piece does not look at all the pieces again. The zero value knows
// nothing.
type areaCache struct {
	top, hole uint64 // pages
}

// noteHole tells the cache that the hole between two neighbours may have grown.
func (mm *MM) noteHole(below, above *VMA) {
	c := &mm.maps.area
	end, start := mm.mmapBase, uint64(0)
	if above != nil {
		end = min(end, above.Start)
	}
	if below != nil {
		start = min(end, below.End)
	}
	if end > c.top {
		c.hole = max(c.hole, end-start)
	}
}

// startGap returns where the free space below a VMA ends.
//
// Kernel: vm_start_gap, include/linux/mm.h.
func (v *VMA) startGap() uint64 {
	if v.Flags&VMGrowsDown != 0 {
		return v.Start - min(v.Start, stackGuardGap)
	}
	return v.Start
}

// getUnmappedArea returns the byte address for length bytes (page aligned, not
// 0): addr itself with MapFixed, addr if it is a usable hint, else the highest
// free place below mmapBase.
//
// Errors: ENOMEM when nothing is free or the range leaves the address space,
// EINVAL for a fixed address inside a page.
//
// Kernel: __get_unmapped_area, mm/mmap.c; arch_get_unmapped_area_topdown,
// arch/x86/kernel/sys_x86_64.c.
//
// Preconditions: mmapLock held for writing.
//
// Simplified: model/FIDELITY.md M-PLACE.
func (mm *MM) getUnmappedArea(f *File, addr, length uint64, flags uint32) (uint64, errno.Errno) {
	const taskBytes = TaskSize << PageShift
	if length > taskBytes {
		return 0, errno.ENOMEM
	}
	if flags&MapFixed == 0 {
		vpn, ok := mm.searchArea(f, addr>>PageShift, length>>PageShift, flags)
		if !ok {
			return 0, errno.ENOMEM
		}
		return vpn << PageShift, 0
	}
	switch {
	case addr > taskBytes-length:
		return 0, errno.ENOMEM
	case pageOffset(addr) != 0:
		return 0, errno.EINVAL
	}
	return addr, 0
}

// searchArea finds n free pages, at hint if that is possible.
func (mm *MM) searchArea(f *File, hint, n uint64, flags uint32) (uint64, bool) {
	const hugePages = 1 << pmdShift
	if hint == 0 && f == nil && flags&MapShared == 0 && n%hugePages == 0 {
		// Anonymous memory that could be huge pages is aligned to them.
		if vpn, ok := mm.searchRange(0, n+hugePages, flags); ok {
			return (vpn + hugePages) &^ (hugePages - 1), true
		}
	}
	return mm.searchRange(hint, n, flags)
}

// searchRange is searchArea without alignment.
func (mm *MM) searchRange(hint, n uint64, flags uint32) (uint64, bool) {
	if flags&Map32Bit != 0 {
		return mm.searchUp(0x40000, 0x80000, n)
	}
	if hint != 0 && hint <= TaskSize-n {
		if v := mm.FindVMA(hint); v == nil || hint+n <= v.startGap() {
			return hint, true
		}
	}
	low := uint64(mmapMinAddr)
	if flags&MapAbove4G != 0 {
		low = fourGiB
	}
	if vpn, ok := mm.searchDown(low, n); ok {
		return vpn, true
	}
	return mm.searchUp(legacyBase, TaskSize, n)
}

// searchDown finds the highest n free pages in [low, mmapBase).
//
// Kernel: unmapped_area_topdown, mm/mmap.c.
func (mm *MM) searchDown(low, n uint64) (uint64, bool) {
	c := &mm.maps.area
	hi, hole := c.top, c.hole
	if c.top == 0 || n <= c.hole {
		hi, hole = mm.mmapBase, 0
	}
	for v := mm.prevVMA(hi); ; v = v.prev {
		start := low
		if v != nil {
			start = max(low, v.End)
		}
		if hi >= start && hi-start >= n {
			c.top, c.hole = hi, hole
			return hi - n, true
		}
		if v == nil || v.End <= low {
			return 0, false
		}
		if hi > start {
			hole = max(hole, hi-start)
		}
		hi = min(hi, v.startGap())
	}
}

// searchUp finds the lowest n free pages in [low,high).
//
// Kernel: unmapped_area, mm/mmap.c.
func (mm *MM) searchUp(low, high, n uint64) (uint64, bool) {
	for v := mm.FindVMA(low); ; v = v.next {
		end := high
		if v != nil {
			end = min(high, v.startGap())
		}
		if end >= low && end-low >= n {
			return low, true
		}
		if v == nil || v.End >= high {
			return 0, false
		}
		low = max(low, v.End)
	}
}
