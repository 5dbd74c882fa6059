// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// VMFlags are the attributes of a VMA.
//
// Kernel: VM_*, include/linux/mm.h.
type VMFlags uint32

// Attributes of a VMA.
const (
	VMRead VMFlags = 1 << iota
	VMWrite
	VMExec
	VMShared
	VMMayRead
	VMMayWrite
	VMMayExec
	VMMayShare
	VMGrowsDown
	VMLocked
	VMLockOnFault
	VMIO
	VMPFNMap
	VMMixedMap
	VMDontCopy
	VMWipeOnFork
	VMDontExpand
	VMNoReserve
	VMHugePage
	VMNoHugePage
	VMMergeable
	VMSeqRead
	VMRandRead
	VMDontDump
	VMAccount
	VMDroppable

	// vmProtNUMA is no attribute: it asks changeProtection for the hints of NUMA
	// balancing (MM_CP_PROT_NUMA).
	vmProtNUMA VMFlags = 1 << 31

	vmAccess = VMRead | VMWrite | VMExec
	// vmSpecial VMAs are never merged, grown or locked (VM_SPECIAL).
	vmSpecial    = VMIO | VMDontExpand | VMPFNMap | VMMixedMap
	vmLockedMask = VMLocked | VMLockOnFault
	vmMayShift   = 4 // VMMayRead is VMRead << vmMayShift, and so on
)

// VMA is a piece of an address space with one set of attributes.
//
// Kernel: struct vm_area_struct, include/linux/mm_types.h. Every field is
// protected by the mm's mmapLock.
type VMA struct {
	Start, End uint64 // pages, half-open
	Flags      VMFlags
	policy     policyID // on which nodes pages are allocated
	// File is nil for anonymous memory. Pgoff is the offset of Start in pages:
	// in the file, or for anonymous memory the page number where it was first
	// mapped (which keeps split and moved pieces mergeable only in order).
	File  *File
	Pgoff uint64
	// AnonVMA is the family of mappings that may share anonymous pages; nil
	// until the first anonymous page (anon_vma_prepare).
	AnonVMA *AnonVMA
	anonPos int // index in AnonVMA.vmas
	filePos int // index in File.mappings
	// forked is the VMA that fork made and this one is a piece of; nil in an
	// address space's own VMAs. It stands for an anon_vma_chain of more than one:
	// such a VMA merges only with pieces of the same one.
	forked *VMA
	// node and tip are the anon_vma that fork gave to it and the end of its chain;
	// nil unless forked is the VMA itself.
	node, tip *anonNode
	// linkSeq is the order in which VMAs came into the trees of the reverse map.
	linkSeq uint64
	// rmap says that a reverse-map walk may have found the VMA.
	rmap bool

	mm *MM
	// prev and next are the neighbours in address order.
	prev, next *VMA
}

// Len returns the number of pages.
func (v *VMA) Len() uint64 { return v.End - v.Start }

// MM returns the address space of the VMA.
func (v *VMA) MM() *MM { return v.mm }

// private says whether writes stay in this address space.
func (v *VMA) private() bool { return v.Flags&VMShared == 0 }

// anonymous says whether the VMA has no file behind it.
//
// Kernel: vma_is_anonymous.
func (v *VMA) anonymous() bool { return v.File == nil }

// cow says whether writes may copy pages.
//
// Kernel: is_cow_mapping.
func (v *VMA) cow() bool { return v.Flags&(VMShared|VMMayWrite) == VMMayWrite }

// pgoff returns the linear page index of a page of the VMA.
//
// Kernel: linear_page_index.
func (v *VMA) pgoff(vpn uint64) uint64 { return v.Pgoff + (vpn - v.Start) }

// File is what a mapping shows: a file, a memfd or shared anonymous memory.
// Contents are one byte value per file, written pages apart.
//
// Kernel: struct address_space, include/linux/fs.h.
type File struct {
	Path string
	// Fill is the byte that a page shows when nobody wrote to it.
	Fill byte
	// Shmem says that its pages live in memory and swap alone (memfd, shared
	// anonymous memory): there is no disk behind them.
	Shmem bool
	// cache maps page offsets to frames (with pgDirty, pgWriteback) or swap
	// entries, one reference each. Labelled on obj, by page offset.
	cache phys.Map
	obj   sim.Object
	// inode serialises what changes the size and punches holes.
	//
	// Kernel: inode->i_rwsem.
	inode sim.Mutex
	// size is the length in bytes where sized says that it is known: a trace does
	// not show how long the files are that it maps. Protected by inode, labelled
	// on obj.
	size  uint64
	sized bool
	// disk is what write-back has left; nil before the first time, and for shmem.
	disk *phys.Disk
	// settle is where truncation waits for a page that somebody else holds.
	settle sim.WaitQueue
	// mappings are the VMAs that map it, in order of mapping.
	mappings []*VMA
	refs     int
}

func (v *VMA) setFile(f *File) {
	if old := v.File; old != nil {
		last := len(old.mappings) - 1
		old.mappings[v.filePos] = old.mappings[last]
		old.mappings[v.filePos].filePos = v.filePos
		old.mappings = old.mappings[:last]
		v.familyChanged()
	}
	v.File = f
	if f != nil {
		v.rmap = true
		v.filePos = len(f.mappings)
		f.mappings = append(f.mappings, v)
		v.familyChanged()
		v.relink()
	}
}

// floorVMA returns the VMA with the highest start at or below vpn, nil if none.
func (mm *MM) floorVMA(vpn uint64) *VMA {
	m := &mm.maps
	if m.visit == nil {
		m.visit = func(v *VMA) bool {
			m.found = v
			return false
		}
	}
	m.pivot.Start, m.found = vpn, nil
	mm.vmas.DescendLessOrEqual(&m.pivot, m.visit)
	return m.found
}

// firstVMA returns the lowest VMA, nil if none.
func (mm *MM) firstVMA() *VMA {
	v, _ := mm.vmas.Min()
	return v
}

// FindVMA returns the VMA that contains vpn or the first one above, nil if none.
//
// Kernel: find_vma, mm/mmap.c.
//
// Preconditions: mmapLock held.
func (mm *MM) FindVMA(vpn uint64) *VMA {
	v := mm.lastVMA
	switch {
	case v == nil:
	case vpn >= v.End:
		if v = v.next; v == nil || vpn < v.End {
			return mm.foundVMA(v)
		}
	case vpn >= v.Start || v.prev == nil || vpn >= v.prev.End:
		return v
	}
	v = mm.floorVMA(vpn)
	switch {
	case v == nil:
		v = mm.firstVMA()
	case vpn >= v.End:
		v = v.next
	}
	return mm.foundVMA(v)
}

func (mm *MM) foundVMA(v *VMA) *VMA {
	if v != nil {
		mm.lastVMA = v
	}
	return v
}

// neighbours returns the VMAs below and above a page that is in none.
func (mm *MM) neighbours(vpn uint64) (below, above *VMA) {
	if above = mm.FindVMA(vpn); above != nil {
		return above.prev, above
	}
	below, _ = mm.vmas.Max()
	return below, nil
}

// vmaAt returns the VMA that contains vpn, nil if none.
//
// Kernel: vma_lookup.
func (mm *MM) vmaAt(vpn uint64) *VMA {
	if v := mm.FindVMA(vpn); v != nil && v.Start <= vpn {
		return v
	}
	return nil
}

// intersection returns the first VMA that overlaps [lo,hi), nil if none.
//
// Kernel: find_vma_intersection.
func (mm *MM) intersection(lo, hi uint64) *VMA {
	if v := mm.FindVMA(lo); v != nil && v.Start < hi {
		return v
	}
	return nil
}

// prevVMA returns the last VMA that starts below vpn, nil if none.
func (mm *MM) prevVMA(vpn uint64) *VMA {
	if v := mm.lastVMA; v != nil && v.Start < vpn && (v.next == nil || v.next.Start >= vpn) {
		return v
	}
	if vpn == 0 {
		return nil
	}
	return mm.floorVMA(vpn - 1)
}

// VMAs calls f for every VMA that overlaps [lo,hi), in order.
//
// Preconditions: mmapLock held; f does not change the tree.
func (mm *MM) VMAs(lo, hi uint64, f func(*VMA) bool) {
	for v := mm.FindVMA(lo); v != nil && v.Start < hi && f(v); v = v.next {
	}
}

// newVMA returns a VMA that is not in the tree, with no file and no family.
func (mm *MM) newVMA(start, end uint64, flags VMFlags, pgoff uint64) *VMA {
	v := mm.maps.free
	if v == nil {
		v = new(VMA)
	} else {
		mm.maps.free = v.next
	}
	*v = VMA{Start: start, End: end, Flags: flags, Pgoff: pgoff, mm: mm}
	return v
}

// insertVMA puts a new VMA into the tree and accounts for it.
//
// Preconditions: mmapLock held for writing; nothing overlaps it.
func (mm *MM) insertVMA(v *VMA) {
	below, _ := mm.neighbours(v.Start)
	mm.insertVMAAfter(v, below)
}

// insertVMAAfter is insertVMA where the VMA below, nil for none, is known.
func (mm *MM) insertVMAAfter(v, prev *VMA) {
	v.mm = mm
	v.prev = prev
	if prev == nil {
		v.next = mm.firstVMA()
	} else {
		v.next = prev.next
		prev.next = v
	}
	if v.next != nil {
		v.next.prev = v
	}
	mm.vmas.ReplaceOrInsert(v)
	mm.account(v, v.Len())
	mm.lastVMA = v
	mm.vmasChanged()
}

// account adds n pages (modulo 2^64) of the VMA to the totals.
func (mm *MM) account(v *VMA, n uint64) {
	mm.totalVM += n
	if v.Flags&VMLocked != 0 {
		mm.lockedVM += n
	}
}

// setRange moves the borders of a VMA in the tree.
//
// Preconditions: mmapLock held for writing; it stays between its neighbours.
func (mm *MM) setRange(v *VMA, start, end, pgoff uint64) {
	mm.vmasChanged()
	mm.account(v, end-start-v.Len())
	v.Start, v.End, v.Pgoff = start, end, pgoff
	v.relink()
}

// relink puts the VMA behind others with the same offset in the trees that a
// reverse-map walk goes through.
//
// Kernel: anon_vma_interval_tree_post_update_vma, mm/mmap.c.
func (v *VMA) relink() {
	if v.mm != nil {
		v.mm.sys.links++
		v.linkSeq = v.mm.sys.links
	}
}

// setFlags changes the attributes of a VMA in the tree.
//
// Kernel: vm_flags_reset, include/linux/mm.h.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) setFlags(v *VMA, flags VMFlags) {
	mm.account(v, -v.Len())
	v.Flags = flags
	mm.account(v, v.Len())
}

// detachVMA takes a VMA out of the tree. Reclaim still finds it through its
// family and its file until releaseVMA.
//
// Kernel: vma_mark_detached, mm/vma.h.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) detachVMA(v *VMA) {
	mm.vmas.Delete(v)
	mm.vmasChanged()
	if v.prev != nil {
		v.prev.next = v.next
	}
	if v.next != nil {
		v.next.prev = v.prev
	}
	mm.account(v, -v.Len())
	if mm.lastVMA == v {
		mm.lastVMA = v.prev
	}
	v.prev, v.next = nil, nil
}

// unlinkVMA takes a VMA out of the tree and of its families.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) unlinkVMA(v *VMA) {
	below, above := v.prev, v.next
	mm.detachVMA(v)
	mm.noteHole(below, above)
	v.setAnonVMA(nil)
	v.setFile(nil)
}

// releaseVMA ends the life of a detached VMA: it leaves its families and drops
// its file. The structure is used again unless a reverse-map walk that sleeps
// may still know it.
//
// Kernel: remove_vma, mm/vma.c.
func (mm *MM) releaseVMA(v *VMA) {
	if !v.rmap {
		v.next = mm.maps.free
		mm.maps.free = v
		return
	}
	v.setAnonVMA(nil)
	if f := v.File; f != nil {
		v.setFile(nil)
		mm.sys.Unref(f)
	}
}
