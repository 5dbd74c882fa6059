// SPDX-License-Identifier: MIT

package mm

import "github.com/kfdsim/kfdsim/model/phys"

// What properties look at and nobody else needs.

// PTEIter walks the entries of [lo,hi) as runs, without copying them. The page
// table must not change meanwhile.
func (mm *MM) PTEIter(lo, hi uint64) phys.Iter { return mm.pt.Iter(lo, hi) }

// Hits returns the number of notifiers that the open window overlapped when it
// began.
func (r *NotifierRange) Hits() int { return len(r.hits) }

// Freed says whether Free was called.
func (r *HMMRange) Freed() bool { return r.freed }
