// SPDX-License-Identifier: MIT

package traces

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
)

// overlayBatch is a live batch of ours.
type overlayBatch struct {
	handle   uint64
	va, size uint64          // bytes; va is the GPU's
	ranges   []*overlayRange // in order of the ioctl, so of va
}

// overlayRange is one range of a batch.
type overlayRange struct {
	start, size uint64 // bytes; start is the CPU's
	va          uint64
	lost        bool // a page of it was taken away, so that nothing touches it any more
}

const (
	firstVA = 0x400000000
	endVA   = 1 << 47 // of the aperture
	alignVA = 2 << 20 // of a batch: what a huge fragment needs

	firstHandle = 1 << 32 // gpu_id 1 << 32, as KFD composes them
)

// register registers and maps a new batch. It returns nil if there is no memory to pick.
func (ov *overlay) register(th *thread) *overlayBatch {
	want := ov.o.Ranges
	if ov.rand.below(4) == 0 {
		want = 1 + int(ov.rand.below(uint64(want)))
	}
	b := &overlayBatch{handle: firstHandle + ov.handles}
	for _, r := range ov.pick(want) {
		b.ranges = append(b.ranges, &overlayRange{start: r.Start, size: r.Size, va: b.size})
		b.size += r.Size
	}
	if b.size == 0 || !ov.place(b) {
		return nil
	}
	ov.handles++
	list := []byte{}
	for i, r := range b.ranges {
		r.va += b.va
		if i > 0 {
			list = append(list, ", "...)
		}
		list = fmt.Appendf(list, "{start=%#x, size=%#x}", r.start, r.size)
	}
	ov.live = append(ov.live, b)
	ov.registered = append(ov.registered, b.ranges...)
	slices.SortFunc(ov.registered, func(x, y *overlayRange) int { return cmp.Compare(x.start, y.start) })
	ov.stats.Batches++
	ov.stats.Ranges += len(b.ranges)
	ov.stats.Bytes += b.size
	ov.print(th, "ioctl(%s, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=%#x, total_size=%#x, ranges=[%s], gpu_id=1, "+
		"flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=%#x}) = 0",
		ov.kfd(), b.va, b.size, list, b.handle)
	ov.print(th, "ioctl(%s, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=%#x, device_ids=[1]} => {n_success=1}) = 0", ov.kfd(), b.handle)
	return b
}

// release unmaps and frees the i-th live batch.
func (ov *overlay) release(th *thread, i int) {
	b := ov.live[i]
	ov.live = slices.Delete(ov.live, i, i+1)
	ov.registered = slices.DeleteFunc(ov.registered, func(r *overlayRange) bool { return slices.Contains(b.ranges, r) })
	ov.print(th, "ioctl(%s, AMDKFD_IOC_UNMAP_MEMORY_FROM_GPU, {handle=%#x, device_ids=[1]} => {n_success=1}) = 0",
		ov.kfd(), b.handle)
	ov.print(th, "ioctl(%s, AMDKFD_IOC_FREE_MEMORY_OF_GPU, {handle=%#x}) = 0", ov.kfd(), b.handle)
}

// place finds GPU addresses for b: behind the last batch, and from the start again once the aperture is used up.
func (ov *overlay) place(b *overlayBatch) bool {
	for wrapped := false; ; {
		va := ov.nextVA
		if va+b.size > endVA {
			if wrapped {
				return false
			}
			wrapped, ov.nextVA = true, firstVA
			continue
		}
		i := slices.IndexFunc(ov.live, func(x *overlayBatch) bool { return va < x.va+x.size && x.va < va+b.size })
		if i >= 0 {
			ov.nextVA = alignUpVA(ov.live[i].va + ov.live[i].size)
			continue
		}
		b.va, ov.nextVA = va, alignUpVA(va+b.size)
		return true
	}
}

func alignUpVA(va uint64) uint64 { return (va + alignVA - 1) &^ (alignVA - 1) }

// pick takes up to want ranges out of the memory that may be registered, in random order.
func (ov *overlay) pick(want int) []Range {
	ov.findFree()
	var picked []Range
	for len(picked) < want && len(ov.free) > 0 {
		i := ov.rand.below(uint64(len(ov.free)))
		piece := ov.free[i]
		r := ov.part(piece)
		picked = append(picked, r)
		ov.free[i] = ov.free[len(ov.free)-1]
		ov.free = ov.free[:len(ov.free)-1]
		ov.addFree(piece.Start, r.Start)
		ov.addFree(r.Start+r.Size, piece.Start+piece.Size)
	}
	return picked
}

// part picks a part of piece, short ones as likely as long ones. Precondition: piece is not shorter than Min.
func (ov *overlay) part(piece Range) Range {
	least := ov.o.Min / pageSize
	most := min(piece.Size, ov.o.Max) / pageSize
	if scaled := least << ov.rand.below(11); scaled < most {
		most = scaled
	}
	n := least + ov.rand.below(most-least+1)
	at := ov.rand.below(piece.Size/pageSize - n + 1)
	return Range{piece.Start + at*pageSize, n * pageSize}
}

// findFree lists the eligible memory of the target that no live batch has registered and no call in flight may
// take away, in runs of at least Min.
func (ov *overlay) findFree() {
	ov.free = ov.free[:0]
	rs := ov.target.space.regions
	for i := 0; i < len(rs); {
		if !rs[i].attr.eligible() {
			i++
			continue
		}
		lo, hi := rs[i].start, rs[i].end
		for i++; i < len(rs) && rs[i].start == hi && rs[i].attr.eligible(); i++ {
			hi = rs[i].end
		}
		for k := ov.firstRegistered(lo); k < len(ov.registered) && ov.registered[k].start < hi; k++ {
			r := ov.registered[k]
			ov.addUnheld(0, lo, r.start)
			lo = max(lo, r.start+r.size)
		}
		ov.addUnheld(0, lo, hi)
	}
}

// addUnheld adds [lo,hi) without what the holds from the k-th on cover.
func (ov *overlay) addUnheld(k int, lo, hi uint64) {
	holds := ov.target.space.holds
	for ; k < len(holds); k++ {
		if h := holds[k]; lo < h.hi && h.lo < hi {
			ov.addUnheld(k+1, lo, h.lo)
			lo = h.hi
		}
	}
	ov.addFree(lo, hi)
}

func (ov *overlay) addFree(lo, hi uint64) {
	if lo < hi && hi-lo >= ov.o.Min {
		ov.free = append(ov.free, Range{lo, hi - lo})
	}
}

// firstRegistered returns the index of the first registered range that ends behind addr.
func (ov *overlay) firstRegistered(addr uint64) int {
	return sort.Search(len(ov.registered), func(i int) bool {
		return ov.registered[i].start+ov.registered[i].size > addr
	})
}

// lose hears that [lo,hi) of the target's memory is taken away.
func (ov *overlay) lose(lo, hi uint64) {
	for i := ov.firstRegistered(lo); i < len(ov.registered) && ov.registered[i].start < hi; i++ {
		if r := ov.registered[i]; !r.lost {
			r.lost = true
			ov.stats.Lost++
		}
	}
}
