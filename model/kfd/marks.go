// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Race windows of the driver; model/marks.go says what they mean.
const (
	MarkConfirmRetry = mm.NumMarks + iota
	MarkEvictedAgain
	MarkCallbackDuringFetch
	MarkEFAULTBeforeCallback
	MarkFreedWhileEvicted
	MarkExitDuringRestore
	MarkMappedWhileInvalid
	MarkGapHit
	NumMarks
)

// markConfirm notes that a commit meets a fetch whose seq has moved on.
//
// Preconditions: ProcessInfo.lock and notifierLock are held.
func (i *ProcessInfo) markConfirm(t *sim.Task) {
	for _, m := range i.inval {
		for _, r := range m.touched {
			if r.HMM != nil && r.HMM.Notifier.Seq() != r.HMM.NotifierSeq {
				t.Mark(MarkConfirmRetry)
				return
			}
		}
	}
}
