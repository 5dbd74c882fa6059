// SPDX-License-Identifier: MIT

package mm

import "github.com/kfdsim/kfdsim/sim"

// Race windows of the notifiers and of the fetch; model/marks.go says what they
// mean.
const (
	MarkFetchCollided sim.Mark = iota
	MarkReadBeginWaited
	MarkNonblockRefused
	MarkInsertDeferred
	MarkRemoveDeferred
	MarkCOWBrokenByFetch
	NumMarks
)
