// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Store sets every byte of [addr,addr+n) (bytes) to b, faulting pages in as a
// CPU write does. Pages before the first that faults for good are written.
//
// Errors: EFAULT where the task would get SIGSEGV or SIGBUS, ENOMEM where the
// OOM killer found nobody.
func (mm *MM) Store(t *sim.Task, addr, n uint64, b byte) errno.Errno {
	return mm.access(t, addr, n, true, func(pfn phys.PFN, off, n uint64) {
		if off == 0 && n%PageSize == 0 {
			mm.sys.Mem.Fill(pfn, n/PageSize, b)
		} else {
			mm.sys.Mem.Write(pfn, off, n, b)
		}
	})
}

// Load appends the bytes of [addr,addr+n) to dst as runs of equal bytes.
//
// Errors: as Store.
func (mm *MM) Load(t *sim.Task, dst []phys.ByteRun, addr, n uint64) ([]phys.ByteRun, errno.Errno) {
	err := mm.access(t, addr, n, false, func(pfn phys.PFN, off, n uint64) {
		if pfn == phys.ZeroPFN {
			dst = appendZeroes(dst, n)
			return
		}
		dst = mm.sys.Mem.AppendBytes(dst, pfn, off, n)
	})
	return dst, err
}

// access walks [addr,addr+n) and calls f for every piece that has become
// accessible: n bytes from byte off of frame pfn on, frames consecutive (the
// zero page stands for as many as needed).
func (mm *MM) access(t *sim.Task, addr, n uint64, write bool, f func(pfn phys.PFN, off, n uint64)) errno.Errno {
	if addr+n < addr || addr+n > TaskSize<<PageShift {
		return errno.EFAULT
	}
	for end := addr + n; addr < end; {
		lo, hi := addr>>PageShift, (end+PageSize-1)>>PageShift
		k := step(t, lo, hi)
		if write {
			t.Write(&mm.ptObj, lo, lo+k)
		} else {
			t.Read(&mm.ptObj, lo, lo+k)
		}
		p, k := mm.runAt(lo, k)
		if !p.Accessible() || write && !p.Writable() {
			if err := mm.userFault(t, lo, lo+k, write); err != 0 {
				return err
			}
			continue
		}
		if t.Preemptive() && !mm.stillMapped(t, lo, p, write) {
			continue
		}
		mm.touch(lo, lo+k, p, write)
		m := min(end, (lo+k)<<PageShift) - addr
		f(p.Frame(), addr&(PageSize-1), m)
		addr += m
	}
	return 0
}

// stillMapped is the scheduling point before a CPU access to the contents of a
// page. An unmapped page is flushed from the CPU's TLB before it is reused, so
// translation and access are one step for the CPU.
func (mm *MM) stillMapped(t *sim.Task, vpn uint64, p PTE, write bool) bool {
	if write {
		t.Write(&mm.sys.MemObj, uint64(p.Frame()), uint64(p.Frame())+1)
	} else {
		t.Read(&mm.sys.MemObj, uint64(p.Frame()), uint64(p.Frame())+1)
	}
	t.Touch(sim.Access{Object: &mm.ptObj, Lo: vpn, Hi: vpn + 1, Kind: sim.KindRead})
	const touched = PTEYoung | PTEDirty // by other accesses
	return mm.PTEAt(vpn)&^touched == p&^touched
}

// userFault is the page fault exception of a user access to pages [lo,hi), all
// of which need it.
//
// Kernel: do_user_addr_fault, arch/x86/mm/fault.c.
func (mm *MM) userFault(t *sim.Task, lo, hi uint64, write bool) errno.Errno {
	mm.mmapLock.RLock(t)
	v := mm.vmaAt(lo)
	err := errno.EFAULT
	if v != nil && v.allows(write) {
		hi = min(hi, v.End)
		if end := v.endOfFile(); lo < end {
			hi = min(hi, end) // what lies before the end can be had
		}
		err = mm.handleMMFaultRange(t, v, lo, hi, write)
		if err == errno.EHWPOISON {
			err = errno.EFAULT
		}
	}
	mm.mmapLock.RUnlock(t)
	return err
}

// allows says whether the VMA permits the access.
//
// Kernel: access_error, arch/x86/mm/fault.c.
func (v *VMA) allows(write bool) bool {
	if write {
		return v.Flags&VMWrite != 0
	}
	return v.Flags&vmAccess != 0
}

// appendZeroes appends n zero bytes, joining them to what is there.
func appendZeroes(dst []phys.ByteRun, n uint64) []phys.ByteRun {
	if k := len(dst); k > 0 && dst[k-1].Byte == 0 {
		dst[k-1].N += n
		return dst
	}
	return append(dst, phys.ByteRun{N: n})
}
