// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

var fnMprotect = sim.NewFunc("mprotect_fixup", "start", "end", "flags")

// Mprotect gives the pages of [addr,addr+length) (bytes) the access prot. What
// was done before an error stays.
//
// Errors: EINVAL (arguments, ProtGrowsDown on what is no stack), ENOMEM (hole, too
// many VMAs, more memory than the machine has), EACCES (not allowed to the
// mapping).
//
// Kernel: do_mprotect_pkey, mm/mprotect.c.
//
// Simplified: model/FIDELITY.md M-PKEY.
func (mm *MM) Mprotect(t *sim.Task, addr, length uint64, prot uint32) errno.Errno {
	const bothGrow = ProtGrowsDown | ProtGrowsUp
	grows := prot & bothGrow
	prot &^= bothGrow
	if grows == bothGrow || pageOffset(addr) != 0 {
		return errno.EINVAL
	}
	if length == 0 {
		return 0
	}
	end := addr + pageAlign(length)
	if end <= addr {
		return errno.ENOMEM
	}
	if prot&^(ProtRead|ProtWrite|ProtExec|ProtSem) != 0 {
		return errno.EINVAL
	}
	mm.mmapLock.Lock(t)
	err := mm.mprotectVMAs(t, addr>>PageShift, end>>PageShift, protFlags(prot), grows)
	mm.mmapLock.Unlock(t)
	return err
}

// mprotectVMAs is Mprotect for pages [lo,hi).
//
// Preconditions: mmapLock held for writing.
func (mm *MM) mprotectVMAs(t *sim.Task, lo, hi uint64, access VMFlags, grows uint32) errno.Errno {
	v := mm.intersection(lo, hi)
	switch {
	case v == nil:
		return errno.ENOMEM
	case grows&ProtGrowsDown != 0:
		lo = v.Start
		if v.Flags&VMGrowsDown == 0 {
			return errno.EINVAL
		}
	case v.Start > lo:
		return errno.ENOMEM
	case grows&ProtGrowsUp != 0:
		return errno.EINVAL // no mapping of x86 grows up
	}
	for at := lo; ; {
		flags := v.Flags&^vmAccess | access
		if flags&vmAccess&^(flags>>vmMayShift) != 0 {
			return errno.EACCES
		}
		var err errno.Errno
		if v, err = mm.mprotectFixup(t, v, at, min(v.End, hi), flags); err != 0 {
			return err
		}
		if at = v.End; at >= hi {
			return 0
		}
		if v = v.next; v == nil || v.Start != at {
			return errno.ENOMEM
		}
	}
}

// mprotectFixup gives pages [lo,hi) of a VMA the attributes flags, which differ
// in the access only, and returns the VMA that they are in now.
//
// Kernel: mprotect_fixup, mm/mprotect.c.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) mprotectFixup(t *sim.Task, v *VMA, lo, hi uint64, flags VMFlags) (*VMA, errno.Errno) {
	old := v.Flags
	if flags == old {
		return v, 0
	}
	switch {
	case flags&VMWrite != 0:
		if old&(VMAccount|VMWrite|VMShared|VMNoReserve) == 0 {
			if !mm.enoughMemory(hi - lo) {
				return v, errno.ENOMEM
			}
			flags |= VMAccount
		}
	case v.anonymous() && v.AnonVMA == nil:
		flags &^= VMAccount
	}
	v, err := mm.modifyFlags(t, v, lo, hi, flags)
	if err != 0 {
		return nil, err
	}
	mm.setFlags(v, flags)
	t.Log(fnMprotect, lo<<PageShift, hi<<PageShift, uint64(flags))
	mm.changeProtection(t, v, lo, hi, flags)
	if old&(VMWrite|VMShared|VMLocked) == VMLocked && flags&VMWrite != 0 {
		// Copy now what a write would have to copy later; a failure shows then.
		mm.populateVMAPageRange(t, v, lo, hi)
	}
	return v, 0
}
