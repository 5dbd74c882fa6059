// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// PTE is a page table entry: the frame or swap slot in the low 40 bits, flags
// above. Absent entries are not stored at all (pte_none).
//
// Kernel: pte_t, arch/x86/include/asm/pgtable_types.h.
type PTE uint64

// Flags of a PTE.
const (
	pteFrameBits = 40
	pteFrameMask = 1<<pteFrameBits - 1

	PTEPresent   PTE = 1 << (pteFrameBits + iota) // maps a frame
	PTEWrite                                      // writable
	PTEDirty                                      // written since the last clean
	PTEYoung                                      // referenced since the last reclaim scan
	PTESwap                                       // names a swap slot; not present
	PTEAnon                                       // the frame is anonymous memory
	PTEExclusive                                  // anonymous and of this mm only (PageAnonExclusive)
	PTEZero                                       // maps the shared zero page (stride 0)
	PTEProtNone                                   // present, but no access (PROT_NONE)
	PTELazyFree                                   // MADV_FREE: may be dropped while clean
	PTEKSM                                        // the frame stands for equal pages (PageKsm): never written, always copied
	PTEMigration                                  // not present: the frame is on its way to another; a fault waits
	PTEPoison                                     // not present: the frame is broken; an access is SIGBUS
)

// Frame returns the frame of a present entry.
func (p PTE) Frame() phys.PFN { return phys.PFN(p & pteFrameMask) }

// Slot returns the swap slot of a swap entry.
func (p PTE) Slot() uint64 { return uint64(p & pteFrameMask) }

// Present says whether the entry maps a frame.
func (p PTE) Present() bool { return p&PTEPresent != 0 }

// Writable says whether a CPU write would succeed without a fault.
func (p PTE) Writable() bool { return p&PTEWrite != 0 }

// Accessible says whether a read would succeed without a fault.
func (p PTE) Accessible() bool { return p&(PTEPresent|PTEProtNone) == PTEPresent }

func (p PTE) swap() bool { return p&PTESwap != 0 }
func (p PTE) zero() bool { return p&PTEZero != 0 }
func (p PTE) anon() bool { return p&PTEAnon != 0 }
func (p PTE) ksm() bool  { return p&PTEKSM != 0 }

func (p PTE) migration() bool { return p&PTEMigration != 0 }
func (p PTE) poison() bool    { return p&PTEPoison != 0 }
func (p PTE) flags() PTE      { return p &^ pteFrameMask }
func (p PTE) none() bool      { return p == 0 }
func (p PTE) stride() uint64 {
	if p.zero() {
		return 0
	}
	return 1
}

// PTEAt returns the entry of one page, 0 when there is none.
func (mm *MM) PTEAt(vpn uint64) PTE {
	v, _ := mm.pt.Get(vpn)
	return PTE(v)
}

// PTERuns returns the entries of [lo,hi) as runs, appended to dst.
func (mm *MM) PTERuns(dst []phys.Run, lo, hi uint64) []phys.Run {
	return mm.pt.AppendRuns(dst, lo, hi)
}

// PageAccess labels an access to the entries of [lo,hi).
func (mm *MM) PageAccess(lo, hi uint64, k sim.Kind) sim.Access {
	return sim.Access{Object: &mm.ptObj, Lo: lo, Hi: hi, Kind: k}
}

// moveRun writes a run of entries that came from elsewhere to lo and up.
func (mm *MM) moveRun(lo uint64, r phys.Run) {
	hi := lo + r.Len()
	mm.pt.Set(lo, hi, r.V, r.Stride)
	mm.makeTables(lo, hi, PTE(r.V))
	mm.changed(lo, hi)
}

// setPTEs writes entries for [lo,hi), the frame advancing with the page unless
// it is the zero page.
//
// Preconditions: the caller made a labelled write access to [lo,hi).
func (mm *MM) setPTEs(lo, hi uint64, p PTE) {
	mm.pt.Set(lo, hi, uint64(p), p.stride())
	mm.makeTables(lo, hi, p)
	mm.changed(lo, hi)
}

// clearPTEs removes the entries of [lo,hi); the tables stay.
func (mm *MM) clearPTEs(lo, hi uint64) {
	mm.pt.Clear(lo, hi)
	mm.changed(lo, hi)
}

// makeTables notes that page tables for [lo,hi) exist, or the PMDs of entries like
// p that are huge.
func (mm *MM) makeTables(lo, hi uint64, p PTE) {
	a, b := lo>>pmdShift, (hi-1)>>pmdShift+1
	kind := uint64(tablePTE)
	if p.huge() {
		kind, mm.thp = tablePMD, true
	}
	if b == a+1 {
		if v, ok := mm.tables.Get(a); ok && v == kind {
			return
		}
	}
	mm.tables.Set(a, b, kind, 0)
	const pmds = pudShift - pmdShift
	mm.puds.Set(a>>pmds, (b-1)>>pmds+1, 0, 0)
}

// changed tells the properties that entries of [lo,hi) changed.
func (mm *MM) changed(lo, hi uint64) {
	if mm.subs != nil && mm.sys.watch != nil {
		mm.sys.watch.PageTableChanged(mm, lo, hi)
	}
}
