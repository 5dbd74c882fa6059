// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// Msync writes the dirty pages of shared file mappings back (MsSync; MsAsync does
// nothing, as on Linux).
//
// Errors: EINVAL, ENOMEM for holes, EBUSY for MsInvalidate of locked memory.
//
// Kernel: msync, mm/msync.c.
//
// Simplified: model/FIDELITY.md M-MSYNC.
func (mm *MM) Msync(t *sim.Task, addr, length uint64, flags uint32) errno.Errno {
	if flags&^(MsAsync|MsInvalidate|MsSync) != 0 || pageOffset(addr) != 0 || flags&MsAsync != 0 && flags&MsSync != 0 {
		return errno.EINVAL
	}
	length = pageAlign(length)
	if addr+length < addr {
		return errno.ENOMEM
	}
	if length == 0 {
		return 0
	}
	mm.mmapLock.RLock(t)
	err := mm.msyncVMAs(t, addr>>PageShift, (addr+length)>>PageShift, flags)
	mm.mmapLock.RUnlock(t)
	return err
}

// msyncVMAs is Msync for pages [lo,hi).
//
// Preconditions: mmapLock held for reading; it is dropped where a file would be
// written back.
func (mm *MM) msyncVMAs(t *sim.Task, lo, hi uint64, flags uint32) errno.Errno {
	var holes errno.Errno
	for v := mm.FindVMA(lo); ; v = mm.FindVMA(lo) {
		if v == nil {
			return errno.ENOMEM
		}
		if lo < v.Start {
			if flags == MsAsync || v.Start >= hi {
				return errno.ENOMEM
			}
			holes = errno.ENOMEM
		}
		if flags&MsInvalidate != 0 && v.Flags&VMLocked != 0 {
			return errno.EBUSY
		}
		f, off, end := v.File, v.pgoff(max(lo, v.Start)), v.pgoff(min(hi, v.End))
		lo = v.End
		if flags&MsSync != 0 && f != nil && v.Flags&VMShared != 0 {
			f.Ref()
			mm.mmapLock.RUnlock(t)
			mm.sys.fsyncRange(t, f, off, end)
			mm.sys.Unref(f)
			mm.mmapLock.RLock(t)
		}
		if lo >= hi {
			return holes
		}
	}
}
