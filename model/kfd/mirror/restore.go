// SPDX-License-Identifier: MIT

package mirror

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Access fetches every invalid range that the GPU range [va,va+n) (bytes)
// touches, until all are settled at one moment, and runs f in that moment. A
// range whose memory is gone or read-only stays unmapped: the GPU faults there,
// after it has done what lies before.
func (*Design) Access(t *sim.Task, p *kfd.Process, gpuID int, va, n uint64, f func(t *sim.Task)) {
	info := p.Info
	lo, hi := va>>mm.PageShift, (va+n+mm.PageSize-1)>>mm.PageShift
	info.Lock(t)
	pd := p.Device(uint32(gpuID))
	ranges := touched(pd, lo, hi)
	for {
		fetch(t, ranges)
		info.LockNotifier(t)
		if publish(t, pd, ranges) {
			break
		}
		info.UnlockNotifier(t)
	}
	f(t)
	info.UnlockNotifier(t)
	info.Unlock(t)
}

// touched returns the ranges that are mapped on the GPU in the GPU pages [lo,hi).
func touched(pd *kfd.ProcessDevice, lo, hi uint64) []*kfd.UserRange {
	var out []*kfd.UserRange
	for _, m := range pd.Placed(lo, hi) {
		if !m.MappedOn(pd) {
			continue
		}
		ranges := m.RangesIn(lo, hi)
		for i := range ranges {
			out = append(out, &ranges[i])
		}
	}
	return out
}

// fetch fetches the ranges that are invalid. One that collides is left to the
// next round.
func fetch(t *sim.Task, ranges []*kfd.UserRange) {
	for _, r := range ranges {
		info := r.Mem.P.Info
		info.LockNotifier(t)
		invalid := r.Invalid
		info.UnlockNotifier(t)
		if invalid == 0 {
			continue
		}
		r.DropFetch(t)
		switch r.GetUserPages(t) {
		case errno.EFAULT, errno.EPERM, errno.ESRCH:
			info.LockNotifier(t)
			r.Absent = invalid
			info.UnlockNotifier(t)
		}
	}
}

// publish maps what was fetched if every range is valid now; false means that
// one was invalidated meanwhile.
//
// Preconditions: ProcessInfo.lock and notifierLock are held.
func publish(t *sim.Task, pd *kfd.ProcessDevice, ranges []*kfd.UserRange) bool {
	ok := true
	for _, r := range ranges {
		switch {
		case r.HMM == nil && r.Invalid != 0:
			ok = ok && r.Absent == r.Invalid
			r.Absent = 0 // look again at the next access
		case r.HMM == nil:
			if !pd.VM.PTEAt(r.Mem.VA + r.Prefix).Valid() {
				r.Mem.MapRangeLocked(t, pd, r) // valid, and new to this GPU
			}
		case r.Notifier.ReadRetry(t, r.HMM.NotifierSeq):
			t.Mark(kfd.MarkConfirmRetry)
			r.DropFetch(t)
			ok = false
		default:
			r.SetUserPages()
			r.DropFetch(t)
			r.Invalid = 0
			r.Mem.MapRangeLocked(t, pd, r)
		}
	}
	return ok
}
