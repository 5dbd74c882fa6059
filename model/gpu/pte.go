// SPDX-License-Identifier: MIT

package gpu

import "github.com/kfdsim/kfdsim/model/phys"

// PTE is an entry of a GPU page table: the DMA page, which is the frame number,
// in the low 40 bits; flags and the fragment above. 0 is no entry.
//
// Kernel: AMDGPU_PTE_*, drivers/gpu/drm/amd/amdgpu/amdgpu_vm.h (other bits).
type PTE uint64

// Layout of a PTE.
const (
	frameBits = 40
	frameMask = 1<<frameBits - 1
	flagBits  = 6
	fragShift = frameBits + flagBits
	fragMask  = maxFragment << fragShift
)

// Flags of a PTE.
const (
	Valid      PTE = 1 << (frameBits + iota)
	System         // system memory, not VRAM
	Snooped        // coherent with the CPU's caches
	Executable     // shaders may run from it
	Readable       // reads succeed
	Writeable      // writes succeed
)

// Frame returns the frame of a valid entry.
func (p PTE) Frame() phys.PFN { return phys.PFN(p & frameMask) }

// Flags returns the entry without frame and fragment.
func (p PTE) Flags() PTE { return p &^ (frameMask | fragMask) }

// Fragment returns the log2 of the pages that the entry stands for.
//
// Kernel: AMDGPU_PTE_FRAG.
func (p PTE) Fragment() uint { return uint(p&fragMask) >> fragShift }

// Valid says whether the entry maps a page.
func (p PTE) Valid() bool { return p&Valid != 0 }

// Allows says whether an access through the entry succeeds.
func (p PTE) Allows(write bool) bool {
	need := Valid | Readable
	if write {
		need = Valid | Writeable
	}
	return p&need == need
}
