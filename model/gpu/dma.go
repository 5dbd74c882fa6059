// SPDX-License-Identifier: MIT

package gpu

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/phys"
)

// dmaOne is one mapping in the words of Device.dma. It is not 1, so that counts
// of neighbours never differ by one: phys.Map would take them for a run.
const dmaOne = 2

// DMAMap maps n frames from pfn on for the device. A frame may be mapped any
// number of times.
//
// Kernel: dma_map_sgtable, kernel/dma/mapping.c, without IOMMU.
//
// Simplified: model/FIDELITY.md G-DMA.
func (d *Device) DMAMap(pfn phys.PFN, n uint64) {
	lo, hi := uint64(pfn), uint64(pfn)+n
	d.Counts.DMAMapped += n
	if n == 1 {
		v, _ := d.dma.Get(lo)
		d.dma.Set(lo, hi, v+dmaOne, 0)
		return
	}
	d.runs = d.dma.AppendRuns(d.runs[:0], lo, hi)
	for _, r := range d.runs {
		d.dma.Set(lo, r.Lo, dmaOne, 0)
		d.dma.Set(r.Lo, r.Hi, r.V+dmaOne, 0)
		lo = r.Hi
	}
	d.dma.Set(lo, hi, dmaOne, 0)
}

// DMAUnmap undoes one DMAMap of n frames from pfn on. Frames that are not mapped
// are misuse, and then nothing changes.
//
// Kernel: dma_unmap_sgtable.
func (d *Device) DMAUnmap(pfn phys.PFN, n uint64) {
	lo, hi := uint64(pfn), uint64(pfn)+n
	if !d.DMAMapped(pfn, n) {
		d.misuse("dma-balance", "DMA unmap of a page that is not mapped",
			fmt.Sprintf("gpu %d: frames [%#x,%#x)", d.id, lo, hi))
		return
	}
	d.Counts.DMAUnmapped += n
	d.runs = d.dma.AppendRuns(d.runs[:0], lo, hi)
	for _, r := range d.runs {
		if r.V == dmaOne {
			d.dma.Clear(r.Lo, r.Hi)
		} else {
			d.dma.Set(r.Lo, r.Hi, r.V-dmaOne, 0)
		}
	}
}

// DMAMapped says whether all of n frames from pfn on are mapped for the device.
func (d *Device) DMAMapped(pfn phys.PFN, n uint64) bool {
	next, hi := uint64(pfn), uint64(pfn)+n
	for it := d.dma.Iter(next, hi); it.Next() && it.Run.Lo == next; {
		next = it.Run.Hi
	}
	return next == hi
}

// Mapped returns the number of frames that are mapped for the device, each
// counted once.
func (d *Device) Mapped() uint64 { return d.dma.Len() }
