// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// Extent is a piece of an address space in bytes.
//
// Kernel: struct iovec, include/uapi/linux/uio.h.
type Extent struct{ Addr, Len uint64 }

// ProcessMadvise applies advice to pieces of an address space, which need not be
// the caller's, one after the other up to the first that fails. It returns the
// number of bytes that it was applied to.
//
// Errors: EINVAL for advice that takes something away; those of madvise when the
// first piece fails.
//
// Kernel: process_madvise, mm/madvise.c.
func (mm *MM) ProcessMadvise(t *sim.Task, pieces []Extent, advice int) (uint64, errno.Errno) {
	switch advice {
	case MadvCold, MadvPageOut, MadvWillNeed, MadvCollapse:
	default:
		return 0, errno.EINVAL
	}
	var done uint64
	for _, p := range pieces {
		if p.Len == 0 {
			continue
		}
		if err := mm.Madvise(t, p.Addr, p.Len, advice); err != 0 {
			if done == 0 {
				return 0, err
			}
			break
		}
		done += p.Len
	}
	return done, 0
}
