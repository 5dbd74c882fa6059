// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Parts of MM.ptObj that are no pages.
const (
	// placedPart is what the driver has registered and mapped of the address space.
	placedPart = EndOfSpace + iota
	// subsPart is whether the address space has ever had a notifier.
	subsPart
	// vmasPart is what VMAs there are, for those who look without mmapLock.
	vmasPart
)

func (mm *MM) part(part uint64, k sim.Kind) sim.Access {
	return sim.Access{Object: &mm.ptObj, Lo: part, Hi: part + 1, Kind: k}
}

// PlacedAccess labels a look at what of the address space a driver has registered
// and mapped, or a change of it.
func (mm *MM) PlacedAccess(k sim.Kind) sim.Access { return mm.part(placedPart, k) }

// VMAsAccess labels a look without mmapLock at what VMAs there are, or a change of
// that.
func (mm *MM) VMAsAccess(k sim.Kind) sim.Access { return mm.part(vmasPart, k) }

// vmasChanged labels the present step as one that changes what VMAs there are.
func (mm *MM) vmasChanged() {
	if t := mm.sys.Sim.Current(); t != nil {
		t.Touch(mm.VMAsAccess(sim.KindWrite))
	}
}

// familySeen labels the present step as one that looks at what VMAs can map a page.
func (sys *System) familySeen() { sys.family(sim.KindRead) }

// familyChanged labels the present step as one that changes that.
func (v *VMA) familyChanged() {
	if v.mm != nil {
		v.mm.sys.family(sim.KindWrite)
	}
}

func (sys *System) family(k sim.Kind) {
	if t := sys.Sim.Current(); t != nil {
		t.Touch(sim.Access{Object: &sys.familyObj, Lo: 0, Hi: 1, Kind: k})
	}
}

// seeUsers is a scheduling point before a look at whether the address space has
// users. Dropping a reference may be what makes the last one of another drop, so it
// conflicts with that; drops commute among themselves, but for the last (Put labels
// it with the second part of the object).
func (mm *MM) seeUsers(t *sim.Task) {
	t.Read(&mm.usersObj, 0, 0)
	t.Touch(sim.Access{Object: &mm.usersObj, Lo: 0, Hi: 1, Kind: sim.KindTry})
}

// subscribed returns the notifier state of the address space, nil if it never had a
// notifier.
func (mm *MM) subscribed(t *sim.Task) *subscriptions {
	t.Touch(mm.part(subsPart, sim.KindRead))
	return mm.subs
}

// next returns the first run of entries that ends after page i and begins before
// hi. Whatever comes to the pages that it passes over, or goes from there, could have
// come first.
func (mm *MM) next(t *sim.Task, i, hi uint64) (phys.Run, bool) {
	r, ok := mm.pt.Next(i)
	end := hi
	if ok = ok && r.Lo < hi; ok {
		end = min(hi, r.Hi)
		if t.Preemptive() {
			end = max(i, r.Lo) + 1
		}
	}
	mm.looked(t, i, end)
	return r, ok
}

// looked labels the present step as one that looks at the entries of [lo,hi).
func (mm *MM) looked(t *sim.Task, lo, hi uint64) {
	if t.Preemptive() && lo < hi {
		t.Touch(sim.Access{Object: &mm.ptObj, Lo: lo, Hi: hi, Kind: sim.KindRead})
	}
}

// get takes a reference to each of n frames.
//
// Kernel: folio_get, include/linux/mm.h.
func (sys *System) get(pfn phys.PFN, n uint64) {
	sys.counted(pfn, n, sim.KindWrite)
	sys.Mem.Get(pfn, n)
}

// put drops a reference to each of n frames and returns how many are free now.
//
// Kernel: folio_put, include/linux/mm.h.
func (sys *System) put(pfn phys.PFN, n uint64) (freed uint64) {
	if pfn != phys.ZeroPFN {
		sys.counted(pfn, n, sim.KindWrite)
	}
	return sys.Mem.Put(pfn, n)
}

// counted labels the present step as one that looks at the reference counts of
// frames or changes them.
func (sys *System) counted(pfn phys.PFN, n uint64, k sim.Kind) {
	if t := sys.Sim.Current(); t != nil && t.Preemptive() {
		t.Touch(sim.Access{Object: &sys.countObj, Lo: uint64(pfn), Hi: uint64(pfn) + n, Kind: k})
	}
}
