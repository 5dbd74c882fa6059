// SPDX-License-Identifier: MIT

package model

import "github.com/kfdsim/kfdsim/sim"

// excerptLines is how many events a race diagram shows at most: what a commit
// message bears.
const excerptLines = 40

// excerptLeast is how many events come behind a quiet moment at least, so that it
// is worth beginning there.
const excerptLeast = 6

// Excerpt returns the part of the history that shows how the run came to its end:
// the events since the last quiet moment, when no notifier window was open and no
// queue was stopped.
func (r *Result) Excerpt() []sim.Event {
	events := r.tail
	from, windows, stopped := 0, 0, 0
	for i := range events {
		switch events[i].Func.Name() {
		case "mn_itree_inv_start_range":
			windows++
		case "mn_itree_inv_end":
			windows = max(windows-1, 0)
		case "kgd2kfd_quiesce_mm":
			stopped++
		case "kgd2kfd_resume_mm":
			stopped = max(stopped-1, 0)
		}
		if windows == 0 && stopped == 0 && len(events)-i-1 >= excerptLeast {
			from = i + 1
		}
	}
	return events[max(from, len(events)-excerptLines):]
}
