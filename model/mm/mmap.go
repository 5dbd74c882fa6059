// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"
	"strings"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnMmap = sim.NewFunc("mmap_region", "start", "end", "flags")
	fnBrk  = sim.NewFunc("do_brk_flags", "start", "end")
)

// mapState is what the calls that shape an address space keep between them.
// All of it is protected by mmapLock; detached and unmap belong to whoever holds
// it for writing, or did until it was downgraded.
type mapState struct {
	area areaCache
	// defOnFault is mlockall(MCL_ONFAULT), of use with MM.defLocked.
	defOnFault bool

	// The rest is memory used again.
	free     *VMA   // list of structures, linked by next
	detached []*VMA // VMAs that a munmap has taken out of the tree
	unmap    NotifierRange
	// pivot, found and visit make a lookup in the tree free of allocations.
	pivot VMA
	found *VMA
	visit func(*VMA) bool
}

// Mmap maps length bytes of f from page pgoff on, or anonymous memory with
// MapAnonymous, and returns the byte address. Whether the file was opened for
// what prot and flags ask is the caller's check.
//
// Errors:
//   - EINVAL: length 0, a fixed address inside a page, no mapping type
//   - ENOMEM: no such addresses, too many VMAs, more memory than the machine has,
//     MAP_HUGETLB (no huge pages are reserved)
//   - EEXIST: MAP_FIXED_NOREPLACE over a mapping
//   - EBADF, EOVERFLOW, EOPNOTSUPP: the file, its offset, flags of
//     MAP_SHARED_VALIDATE
//   - EPERM, EAGAIN: MAP_LOCKED with a memlock limit of 0, beyond the limit
//
// Kernel: ksys_mmap_pgoff, mm/mmap.c, and vm_mmap_pgoff, mm/util.c.
func (mm *MM) Mmap(t *sim.Task, addr, length uint64, prot, flags uint32, f *File, pgoff uint64) (uint64, errno.Errno) {
	switch {
	case flags&MapAnonymous != 0:
		f = nil
		if flags&MapHugeTLB != 0 {
			return 0, errno.ENOMEM
		}
	case f == nil:
		return 0, errno.EBADF
	case flags&MapHugeTLB != 0:
		return 0, errno.EINVAL
	}
	mm.mmapLock.Lock(t)
	addr, vmFlags, err := mm.doMmap(t, addr, length, prot, flags, f, pgoff)
	mm.mmapLock.Unlock(t)
	if err == 0 && (vmFlags&VMLocked != 0 || flags&(MapPopulate|MapNonBlock) == MapPopulate) {
		lo := addr >> PageShift
		mm.mmPopulate(t, lo, lo+pageAlign(length)>>PageShift, true)
	}
	return addr, err
}

// doMmap is Mmap under the lock; it also returns the attributes asked for.
//
// Kernel: do_mmap, mm/mmap.c.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) doMmap(t *sim.Task, addr, length uint64, prot, flags uint32, f *File, pgoff uint64) (uint64, VMFlags, errno.Errno) {
	if length == 0 {
		return 0, 0, errno.EINVAL
	}
	if flags&MapFixedNoReplace != 0 {
		flags |= MapFixed
	}
	if flags&MapFixed == 0 {
		addr = roundHintToMin(addr)
	}
	length = pageAlign(length)
	n := length >> PageShift
	switch {
	case length == 0:
		return 0, 0, errno.ENOMEM
	case pgoff+n < pgoff:
		return 0, 0, errno.EOVERFLOW
	case mm.mapCount() > maxMapCount:
		return 0, 0, errno.ENOMEM
	}
	vmFlags := protFlags(prot) | mapFlags(flags) | mm.defFlags() | VMMayRead | VMMayWrite | VMMayExec
	addr, err := mm.getUnmappedArea(f, addr, length, flags)
	if err != 0 {
		return 0, 0, err
	}
	lo := addr >> PageShift
	switch {
	case flags&MapFixedNoReplace != 0 && mm.intersection(lo, lo+n) != nil:
		return 0, 0, errno.EEXIST
	case flags&MapLocked != 0 && !mm.canDoMlock():
		return 0, 0, errno.EPERM
	case !mm.mlockFutureOK(vmFlags, n):
		return 0, 0, errno.EAGAIN
	}
	if f != nil {
		err = fileMapType(&vmFlags, flags, pgoff, length)
	} else {
		pgoff = lo
		err = anonMapType(&vmFlags, flags)
		if vmFlags&VMShared != 0 {
			pgoff = 0
		}
	}
	if err != 0 {
		return 0, 0, err
	}
	if flags&MapNoReserve != 0 {
		vmFlags |= VMNoReserve
	}
	return addr, vmFlags, mm.mmapRegion(t, lo, lo+n, vmFlags, f, pgoff)
}

// fileMapType applies MAP_TYPE to a file mapping of length bytes.
func fileMapType(vmFlags *VMFlags, flags uint32, pgoff, length uint64) errno.Errno {
	const maxFileSize = 1<<63 - 1
	if length > maxFileSize || pgoff > (maxFileSize-length)>>PageShift {
		return errno.EOVERFLOW
	}
	switch flags & MapType {
	case MapSharedValidate:
		if flags&^legacyMapMask != 0 {
			return errno.EOPNOTSUPP
		}
		*vmFlags |= VMShared | VMMayShare
	case MapShared:
		*vmFlags |= VMShared | VMMayShare
	case MapPrivate:
	default:
		return errno.EINVAL
	}
	if *vmFlags&VMGrowsDown != 0 {
		return errno.EINVAL
	}
	return 0
}

// anonMapType applies MAP_TYPE to a mapping without a file.
func anonMapType(vmFlags *VMFlags, flags uint32) errno.Errno {
	switch flags & MapType {
	case MapShared:
		if *vmFlags&VMGrowsDown != 0 {
			return errno.EINVAL
		}
		*vmFlags |= VMShared | VMMayShare
	case MapDroppable:
		if flags&MapLocked != 0 || *vmFlags&VMGrowsDown != 0 {
			return errno.EINVAL
		}
		*vmFlags |= VMDroppable | VMNoReserve | VMWipeOnFork | VMDontDump
	case MapPrivate:
	default:
		return errno.EINVAL
	}
	return 0
}

// mmapRegion puts a mapping at pages [lo,hi), in the place of what is there.
//
// Errors: ENOMEM.
//
// Kernel: __mmap_region, mm/mmap.c.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) mmapRegion(t *sim.Task, lo, hi uint64, flags VMFlags, f *File, pgoff uint64) errno.Errno {
	old := mm.intersection(lo, hi)
	var accounted uint64
	if old != nil {
		var err errno.Errno
		if old, err = mm.gatherVMAs(t, old, lo, hi); err != 0 {
			return err
		}
		accounted = accountedPages(old, hi)
	}
	if flags&(VMNoReserve|VMShared|VMWrite) == VMWrite {
		if !mm.enoughMemory(hi - lo - accounted) {
			return errno.ENOMEM
		}
		flags |= VMAccount
	}
	if old != nil {
		mm.completeMunmap(t, old, lo, hi, false)
	}
	g := vmaMerge{start: lo, end: hi, pgoff: pgoff, flags: flags, file: f}
	g.prev, g.next = mm.neighbours(lo)
	if flags&VMDroppable != 0 {
		flags &^= vmLockedMask
	}
	if v := mm.mergeNew(&g); v == nil {
		v = mm.newVMA(lo, hi, flags, pgoff)
		if f == nil && flags&VMShared != 0 {
			f = mm.sys.NewFile("/dev/zero (deleted)", true)
			f.SetSize((hi - lo) << PageShift)
		}
		if f != nil {
			v.setFile(f)
			f.Ref()
		}
		mm.insertVMAAfter(v, g.prev)
	}
	t.Log(fnMmap, lo<<PageShift, hi<<PageShift, uint64(flags))
	return 0
}

// accountedPages returns how many pages of v and its successors below hi count
// as committed.
func accountedPages(v *VMA, hi uint64) uint64 {
	var n uint64
	for ; v != nil && v.Start < hi; v = v.next {
		if v.Flags&VMAccount != 0 {
			n += v.Len()
		}
	}
	return n
}

// enoughMemory says whether n more pages may be promised: as many as the machine
// has in all (OVERCOMMIT_GUESS).
//
// Kernel: __vm_enough_memory, mm/util.c.
//
// Simplified: model/FIDELITY.md M-OVERCOMMIT.
func (mm *MM) enoughMemory(n uint64) bool {
	return n <= mm.sys.cfg.RAM+mm.sys.cfg.Swap
}

// protFlags turns PROT_* into attributes.
//
// Kernel: calc_vm_prot_bits, include/linux/mman.h.
func protFlags(prot uint32) VMFlags { return VMFlags(prot & (ProtRead | ProtWrite | ProtExec)) }

// mapFlags turns MAP_* into attributes.
//
// Kernel: calc_vm_flag_bits.
func mapFlags(flags uint32) VMFlags {
	var v VMFlags
	if flags&MapGrowsDown != 0 {
		v |= VMGrowsDown
	}
	if flags&MapLocked != 0 {
		v |= VMLocked
	}
	if flags&MapStack != 0 {
		v |= VMNoHugePage
	}
	return v
}

// defFlags returns the attributes of every new mapping.
//
// Kernel: mm->def_flags.
func (mm *MM) defFlags() VMFlags {
	switch {
	case !mm.defLocked:
		return 0
	case mm.maps.defOnFault:
		return VMLocked | VMLockOnFault
	}
	return VMLocked
}

// roundHintToMin keeps a hint out of the lowest pages.
//
// Kernel: round_hint_to_min, mm/mmap.c.
func roundHintToMin(hint uint64) uint64 {
	hint &^= PageSize - 1
	if hint != 0 && hint < mmapMinAddr<<PageShift {
		return mmapMinAddr << PageShift
	}
	return hint
}

// SetBrk says where the heap begins (bytes); execve does it.
func (mm *MM) SetBrk(start uint64) { mm.startBrk, mm.brk = start, start }

// Brk moves the end of the heap to addr (bytes) and returns the end, which is the
// old one when that was not possible.
//
// Kernel: brk, mm/mmap.c.
func (mm *MM) Brk(t *sim.Task, addr uint64) uint64 {
	mm.mmapLock.Lock(t)
	oldEnd, newEnd := pageAlign(mm.brk), pageAlign(addr)
	switch {
	case addr < mm.startBrk:
	case oldEnd == newEnd:
		mm.brk = addr
	case addr <= mm.brk:
		return mm.shrinkBrk(t, addr, newEnd>>PageShift, oldEnd>>PageShift)
	case mm.growBrk(t, oldEnd, newEnd):
		mm.brk = addr
		if mm.defLocked {
			mm.mmapLock.Unlock(t)
			mm.mmPopulate(t, oldEnd>>PageShift, newEnd>>PageShift, true)
			return addr
		}
	}
	end := mm.brk
	mm.mmapLock.Unlock(t)
	return end
}

// shrinkBrk gives pages [lo,hi) of the heap back and releases the lock.
func (mm *MM) shrinkBrk(t *sim.Task, addr, lo, hi uint64) uint64 {
	old := mm.brk
	if v := mm.intersection(lo, hi); v != nil {
		mm.brk = addr
		if mm.alignMunmap(t, v, lo, hi, true) == 0 {
			return addr
		}
		mm.brk = old
	}
	mm.mmapLock.Unlock(t)
	return old
}

// growBrk maps [oldEnd,newEnd) (bytes, page aligned) for the heap, if it may be.
//
// Kernel: check_brk_limits and do_brk_flags, mm/mmap.c.
func (mm *MM) growBrk(t *sim.Task, oldEnd, newEnd uint64) bool {
	flags := VMRead | VMWrite | VMMayRead | VMMayWrite | VMMayExec | VMAccount | mm.defFlags()
	if _, err := mm.getUnmappedArea(nil, oldEnd, newEnd-oldEnd, MapFixed); err != 0 {
		return false
	}
	lo, hi := oldEnd>>PageShift, newEnd>>PageShift
	if !mm.mlockFutureOK(mm.defFlags(), hi-lo) {
		return false
	}
	below, next := mm.neighbours(lo)
	if next != nil && (next.Start < lo || next.startGap() < hi+1) {
		return false
	}
	if mm.mapCount() > maxMapCount || !mm.enoughMemory(hi-lo) {
		return false
	}
	g := vmaMerge{start: lo, end: hi, pgoff: lo, flags: flags, prev: below}
	if below != nil && below.End <= mm.startBrk>>PageShift {
		g.prev = nil // not the heap
	}
	if mm.mergeNew(&g) == nil {
		mm.insertVMAAfter(mm.newVMA(lo, hi, flags, lo), below)
	}
	t.Log(fnBrk, oldEnd, newEnd, 0)
	return true
}

// vmFlagNames are printed by VMAString, in this order.
var vmFlagNames = [...]struct {
	flag VMFlags
	name string
}{
	{VMGrowsDown, "gd"}, {VMLocked, "lo"}, {VMLockOnFault, "lf"}, {VMIO, "io"}, {VMPFNMap, "pf"}, {VMMixedMap, "mm"},
	{VMDontCopy, "dc"}, {VMWipeOnFork, "wf"}, {VMDontExpand, "de"}, {VMNoReserve, "nr"}, {VMHugePage, "hg"},
	{VMNoHugePage, "nh"}, {VMMergeable, "mg"}, {VMSeqRead, "sr"}, {VMRandRead, "rr"}, {VMDontDump, "dd"},
	{VMAccount, "ac"}, {VMDroppable, "dp"},
}

// VMAString shows the VMAs like /proc/pid/maps, a line each, but in pages: range,
// access, offset, file, and the other attributes by their names in smaps.
func (mm *MM) VMAString() string {
	var b strings.Builder
	for v := mm.firstVMA(); v != nil; v = v.next {
		mode := []byte("---p")
		for i, c := range "rwxs" {
			if v.Flags&(VMRead<<i) != 0 {
				mode[i] = byte(c)
			}
		}
		fmt.Fprintf(&b, "[%#x,%#x) %s %#x", v.Start, v.End, mode, v.Pgoff)
		if v.File != nil {
			b.WriteString(" " + v.File.Path)
		}
		for _, f := range vmFlagNames {
			if v.Flags&f.flag != 0 {
				b.WriteString(" " + f.name)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
