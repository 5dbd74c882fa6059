// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// HMMFlags are the bits of a requested or returned pfn.
//
// Kernel: enum hmm_pfn_flags, include/linux/hmm.h.
type HMMFlags uint8

// Result bits, and the request bits that share their place in the kernel.
const (
	HMMValid HMMFlags = 1 << iota // the page is there
	HMMWrite                      // and may be written
	HMMError                      // cannot be accessed at all

	HMMReqFault = HMMValid // fault the page in
	HMMReqWrite = HMMWrite // and make it writable
)

// HMMRun is the result for the pages [Lo,Hi): frames PFN, PFN+Stride, …
type HMMRun struct {
	Lo, Hi uint64
	PFN    phys.PFN
	Stride uint64 // 1, or 0 for the zero page
	Flags  HMMFlags
	Order  uint8 // of the CPU's mapping: 9 for a huge page, else 0
}

// HMMRange asks for the pages [Start,End) of a notifier's mm.
//
// Kernel: struct hmm_range, include/linux/hmm.h.
type HMMRange struct {
	Notifier    *IntervalNotifier
	NotifierSeq uint64
	Start, End  uint64
	// DefaultFlags is the request for every page.
	DefaultFlags HMMFlags
	// Runs is the result: in order, without gaps, of all of [Start,End) when
	// the call returned 0. It takes no page references: the frames mean nothing
	// until ReadRetry is false under the driver lock.
	Runs []HMMRun

	freed bool
}

// Free lets go of the result. Every range is freed exactly once.
//
// Kernel: amdgpu_hmm_range_free; kvfree of hmm_pfns and kfree of the range.
func (r *HMMRange) Free(t *sim.Task) {
	if r.freed {
		t.Sim().Fail(sim.Failure{Verdict: "misuse", Property: "fetch-freed-once", Title: "hmm_range freed twice",
			Detail: fmt.Sprintf("the fetch of [%#x,%#x) under seq %d", r.Start<<PageShift, r.End<<PageShift, r.NotifierSeq)})
		return
	}
	r.freed = true
	r.Runs = nil
}

var fnHMM = sim.NewFunc("hmm_range_fault", "start", "end", "errno")

// HMMRangeFault walks the page tables of r and faults in what r asks for.
//
// Errors: EBUSY when the notifier's seq moved (call again after a new
// ReadBegin), EFAULT for a hole, an unreadable VMA or a failed fault, EPERM for
// a write to a VMA without write access, ENOMEM.
//
// Preconditions: the mm's mmapLock is held.
//
// Kernel: hmm_range_fault, mm/hmm.c.
//
// Simplified: model/FIDELITY.md M-HMM.
func HMMRangeFault(t *sim.Task, r *HMMRange) errno.Errno {
	mm := r.Notifier.MM
	mm.mmapLock.AssertHeld(t)
	mm.sys.Counts.HMMFaults++
	w := hmmWalk{mm: mm, r: r, last: r.Start}
	r.Runs = r.Runs[:0]
	err := errno.EBUSY
	for err == errno.EBUSY {
		// A fault may have slept: what was read so far may be stale.
		if r.Notifier.CheckRetry(t, r.NotifierSeq) {
			mm.sys.Counts.HMMBusy++
			t.Mark(MarkFetchCollided)
			break
		}
		err = w.walk(t)
	}
	if err == 0 {
		mm.sys.Counts.HMMPages += r.End - r.Start
	}
	t.Log(fnHMM, r.Start<<PageShift, r.End<<PageShift, uint64(err))
	return err
}

// hmmWalk is the state of one walk; last is where it goes on after a fault.
//
// Kernel: struct hmm_vma_walk, mm/hmm.c.
type hmmWalk struct {
	mm   *MM
	r    *HMMRange
	last uint64
}

// walk goes on from w.last. EBUSY means that a fault was taken and the walk has
// to be started again.
//
// Kernel: walk_page_range with hmm_walk_ops.
func (w *hmmWalk) walk(t *sim.Task) errno.Errno {
	for w.last < w.r.End {
		v := w.mm.FindVMA(w.last)
		switch {
		case v == nil || v.Start > w.last:
			hole := w.r.End
			if v != nil {
				hole = min(hole, v.Start)
			}
			if w.r.DefaultFlags&HMMReqFault != 0 {
				return errno.EFAULT
			}
			w.emit(hole, 0, 0, HMMError, 0)
		case v.Flags&(VMIO|VMPFNMap) != 0 || v.Flags&VMRead == 0:
			if w.r.DefaultFlags&HMMReqFault != 0 {
				return errno.EFAULT
			}
			w.emit(min(v.End, w.r.End), 0, 0, HMMError, 0)
		default:
			if err := w.walkVMA(t, v, min(v.End, w.r.End)); err != 0 {
				return err
			}
		}
	}
	return 0
}

// walkVMA walks [w.last,end) of one VMA.
func (w *hmmWalk) walkVMA(t *sim.Task, v *VMA, end uint64) errno.Errno {
	for w.last < end {
		n := max(step(t, w.last, end), w.mm.pmdRest(w.last, end))
		t.Read(&w.mm.ptObj, w.last, w.last+n)
		p, n := w.mm.runAt(w.last, n)
		flags := hmmFlags(p)
		if w.needsFault(flags) {
			return w.fault(t, v, end)
		}
		if flags&HMMValid == 0 {
			w.emit(w.last+n, 0, 0, 0, 0)
		} else {
			w.emit(w.last+n, p.Frame(), p.stride(), flags, p.order())
		}
	}
	return 0
}

// hmmFlags returns what the device may do with a page as it is mapped now.
//
// Kernel: pte_to_hmm_pfn_flags, mm/hmm.c.
func hmmFlags(p PTE) HMMFlags {
	switch {
	case !p.Accessible():
		return 0
	case p.Writable():
		return HMMValid | HMMWrite
	}
	return HMMValid
}

// needsFault says whether the request asks for more than flags.
//
// Kernel: hmm_pte_need_fault.
func (w *hmmWalk) needsFault(flags HMMFlags) bool {
	req := w.r.DefaultFlags
	if req&HMMReqFault == 0 {
		return false
	}
	return flags&HMMValid == 0 || req&HMMReqWrite != 0 && flags&HMMWrite == 0
}

// fault makes everything from w.last to the end of the page table accessible
// and asks for a restart: a write fault may have replaced pages that the walk
// has read already. Where nothing is mapped a fault replaces nothing, so under a
// cooperative chooser the whole hole is one step.
//
// Kernel: hmm_vma_fault, mm/hmm.c.
func (w *hmmWalk) fault(t *sim.Task, v *VMA, end uint64) errno.Errno {
	write := w.r.DefaultFlags&HMMReqWrite != 0
	if write && v.Flags&VMWrite == 0 {
		return errno.EPERM
	}
	stop := min(end, (w.last>>pmdShift+1)<<pmdShift)
	p, n := w.mm.runAt(w.last, step(t, w.last, end))
	if p.none() || p.swap() {
		stop = max(stop, w.last+n)
	}
	if err := w.mm.handleMMFaultRange(t, v, w.last, stop, write); err != 0 {
		return errno.EFAULT
	}
	if now, _ := w.mm.runAt(w.last, 1); p.Accessible() && now.Accessible() && now.Frame() != p.Frame() {
		t.Mark(MarkCOWBrokenByFetch)
	}
	return errno.EBUSY
}

// emit appends the result for [w.last,hi) and moves on.
func (w *hmmWalk) emit(hi uint64, pfn phys.PFN, stride uint64, flags HMMFlags, order uint8) {
	r := w.r
	if k := len(r.Runs); k > 0 {
		l := &r.Runs[k-1]
		if l.Flags == flags && l.Order == order && l.Stride == stride && l.PFN+phys.PFN((l.Hi-l.Lo)*stride) == pfn {
			l.Hi = hi
			w.last = hi
			return
		}
	}
	r.Runs = append(r.Runs, HMMRun{w.last, hi, pfn, stride, flags, order})
	w.last = hi
}

// CheckAccess says whether every page of [lo,hi) could be fetched for writing:
// EFAULT for a hole or an unreadable VMA, EPERM for one without write access. It
// faults nothing in.
func (mm *MM) CheckAccess(t *sim.Task, lo, hi uint64) errno.Errno {
	err := errno.Errno(0)
	mm.mmapLock.RLock(t)
	for at := lo; at < hi && err == 0; {
		v := mm.FindVMA(at)
		switch {
		case v == nil || v.Start > at, v.Flags&(VMIO|VMPFNMap) != 0, v.Flags&VMRead == 0:
			err = errno.EFAULT
		case v.Flags&VMWrite == 0:
			err = errno.EPERM
		case min(v.End, hi) > v.endOfFile():
			err = errno.EFAULT
		default:
			at = v.End
		}
	}
	mm.mmapLock.RUnlock(t)
	return err
}
