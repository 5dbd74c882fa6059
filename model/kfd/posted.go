// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// The worker's pass as it was posted, with one switch for each defect. Without
// any it does what FetchInvalid and ConfirmFetchedLocked do; a design that has
// none of passDefects never comes here.
//
// Simplified: model/FIDELITY.md K-POSTED.

// passDefects are the defects of the worker's pass; fetchDefects those of a fetch.
const (
	passDefects = 1<<D1 | 1<<D3 | 1<<D4 | 1<<D5 | 1<<D6 | 1<<D12 | 1<<D15 | 1<<D17 |
		1<<LastSeqOnly | 1<<NoReadRetry | 1<<SeqAlone
	fetchDefects = 1<<SeqAfterFault | 1<<SeqPerPiece | 1<<StaleSeq

	// WatchedDefects are those that the shared code has for any design whose worker
	// uses FetchInvalid and ConfirmFetchedLocked.
	WatchedDefects Defects = 1<<D2 | 1<<D3 | 1<<D4 | 1<<D5 | 1<<D6 | 1<<D8 | 1<<D12 | 1<<D14 | 1<<D17 |
		1<<LastSeqOnly | 1<<NoReadRetry | 1<<SeqAlone | fetchDefects | SharedDefects
)

// fetchAsPosted is FetchInvalid with defects.
func (m *Mem) fetchAsPosted(t *sim.Task, d Defects) errno.Errno {
	todo, invalid := m.InvalidRanges(t)
	if invalid == 0 && d.Any(1<<D5|1<<D6|1<<D12) {
		return 0 // whatever its ranges say
	}
	collided, absent := false, false
	for _, x := range todo {
		if d.Any(1<<D3 | 1<<D4 | 1<<D15) {
			x.unbind() // and the page array keeps what it has
		} else {
			m.DropRange(x.UserRange)
		}
		err := x.GetUserPages(t)
		switch {
		case err == 0 && !d.Has(D3):
			x.SetUserPages()
		case err == 0:
		case err == errno.EAGAIN:
			collided = true
			continue
		case err == errno.EPERM && !d.Has(D17), err == errno.EFAULT:
			absent = true
			if d.Any(1<<D4 | 1<<D15) {
				x.bind()
			}
		default:
			return err
		}
		collided = !x.answerAsPosted(t, d, err == 0) || collided
	}
	if d.Has(D3) {
		m.concatenate()
	}
	if !m.answerAsPosted(t, d, invalid, (!absent || d.Any(1<<D4|1<<D5)) && !collided) || collided {
		return errno.EAGAIN
	}
	return 0
}

// concatenate fills the page array from the fetches of the ranges, in order, up
// to the first range that has none (D3). What comes after keeps its old pages.
//
// Kernel: set_user_pages_batch (the series).
func (m *Mem) concatenate() {
	stopped := false
	for i := range m.Ranges {
		r := &m.Ranges[i]
		stopped = stopped || r.HMM == nil
		switch {
		case r.dma:
		case stopped || r.HMM.Freed():
			r.bind()
		default:
			r.SetUserPages()
		}
	}
}

// answerAsPosted is InvalidRange.Answer with defects.
func (x InvalidRange) answerAsPosted(t *sim.Task, d Defects, present bool) bool {
	info := x.Mem.P.Info
	if present && d.Has(D6) {
		t.Write(&info.obj, 0, 1)
		x.Invalid, x.Absent = 0, 0 // without the lock, over whatever was counted since
		return true
	}
	info.LockNotifier(t)
	ok := true
	switch {
	case present && d.Has(SeqAlone), !present && d.Has(D4):
		x.Invalid, x.Absent = 0, 0
	case !present && d.Has(D5): // stays invalid
	default:
		ok = x.AnswerLocked(present)
	}
	info.UnlockNotifier(t)
	return ok
}

// answerAsPosted is Mem.Answer with defects.
func (m *Mem) answerAsPosted(t *sim.Task, d Defects, snapshot uint32, all bool) bool {
	if d.Has(SeqAlone) {
		snapshot = m.Invalid
	}
	return m.Answer(t, snapshot, all && !d.Has(D1))
}

// confirmAsPosted is ConfirmFetchedLocked with defects.
func (m *Mem) confirmAsPosted(t *sim.Task, d Defects) bool {
	ok := true
	var last *UserRange
	for _, r := range m.touched {
		if r.HMM != nil && (last == nil || r.Prefix > last.Prefix) {
			last = r
		}
	}
	for _, r := range m.touched {
		if r.Invalid != r.Absent && (r.HMM == nil || !d.Has(SeqAlone)) {
			ok = false
		}
		if r.HMM == nil || d.Has(NoReadRetry) || d.Has(LastSeqOnly) && r != last {
			continue
		}
		if r.CollidedLocked(t) {
			ok = false
			m.afterCollision(t, d, r)
		} else if d.Any(1<<D6 | 1<<D12) {
			r.DropFetch(t) // whatever the checks of the other ranges say
		}
	}
	if m.Invalid != 0 && d.Has(D1) && ok {
		ok = false
		m.P.drv.Counts.Warnings++ // Valid BO is marked invalid
	}
	if ok {
		for _, r := range m.touched {
			r.DropFetch(t)
		}
	}
	return ok
}

// afterCollision is what a failed seq check does to its range: the posted code
// lets go of the fetch and leaves it at that.
func (m *Mem) afterCollision(t *sim.Task, d Defects, r *UserRange) {
	if m.Invalid == 0 {
		m.P.drv.Counts.Warnings++ // Invalid BO not marked invalid
	}
	if d.Any(1<<D6 | 1<<D12) {
		r.DropFetch(t)
	} else if r.Invalid == 0 {
		m.InvalidateAgainLocked(r)
	}
}

// InvalidateAgainLocked makes the next pass fetch a range whose fetch was beaten by
// an invalidation that was none of its own.
//
// Preconditions: ProcessInfo.lock and notifierLock are held; the BO is on the
// inval list.
func (m *Mem) InvalidateAgainLocked(r *UserRange) {
	r.MarkInvalidLocked()
	m.Invalid++
}

// LabelCounters labels that a callback writes the counters, for designs whose
// worker writes them without the lock (D6).
func (m *Mem) LabelCounters(t *sim.Task) {
	if m.P.drv.has(D6) {
		t.Write(&m.P.Info.obj, 0, 1)
	}
}

// WriteCounters labels a write of the counters without the lock (D10).
func (m *Mem) WriteCounters(t *sim.Task) { t.Write(&m.P.Info.obj, 0, 1) }

// piece is how much one call of hmm_range_fault fetches, in pages.
//
// Kernel: MAX_WALK_BYTE, amdgpu_hmm.c.
const piece = 2 << 30 >> mm.PageShift

// hmmTimeout is how long a fetch that collided is repeated.
//
// Kernel: HMM_RANGE_DEFAULT_TIMEOUT, include/linux/hmm.h.
const hmmTimeout = 1000 * sim.Millisecond

// faultWithDefects is hmm_range_fault as mainline has called it.
func (r *UserRange) faultWithDefects(t *sim.Task, h *mm.HMMRange, d Defects) errno.Errno {
	err := errno.Errno(0)
	if d.Has(SeqPerPiece) {
		err = r.faultPieces(t, h)
	} else {
		err = mm.HMMRangeFault(t, h)
	}
	switch {
	case err == 0 && d.Has(SeqAfterFault):
		h.NotifierSeq = h.Notifier.ReadBegin(t)
	case err == errno.EBUSY && d.Has(StaleSeq):
		t.Sleep(hmmTimeout) // each try finds the same: the seq is a dead one: model/FIDELITY.md K-OLDER
	}
	return err
}

// faultPieces fetches a range in pieces, each with a seq of its own (SeqPerPiece).
func (r *UserRange) faultPieces(t *sim.Task, h *mm.HMMRange) errno.Errno {
	var runs []mm.HMMRun
	defer func() { h.Start, h.End, h.Runs = r.Start, r.End, runs }()
	for h.Start = r.Start; h.Start < r.End; h.Start = h.End {
		h.End = min(h.Start+piece, r.End)
		h.NotifierSeq = h.Notifier.ReadBegin(t)
		if err := mm.HMMRangeFault(t, h); err != 0 {
			return err
		}
		runs = append(runs, h.Runs...)
	}
	return 0
}
