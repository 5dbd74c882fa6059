// SPDX-License-Identifier: MIT

// Package wide is the idea of the series' v3 and v4, made correct: one call
// registers many ranges as one BO, and one interval notifier watches everything
// from the lowest start to the highest end. A tree of the ranges says which of
// them an invalidation concerns.
//
// The memory between the ranges is mostly foreign. An invalidation there (a gap
// hit) sets the seq, as every callback must, and does nothing else: it changes no
// counter and stops no queue. But there is only one seq, so a gap hit, or a hit of
// another range, makes every fetch that is under way look stale. Which ranges are
// really invalid is counted for each of them under notifierLock; a fetch whose seq
// is stale is done again although its pages may be right. That costs a pass of the
// worker, never safety. Package wideseq is the same with a seq for each range.
//
//	alloc.go    InitUserPages      evict.go    Invalidate, the tree
//	restore.go  Update, Confirm    defects.go  what v3 and v4 got wrong
//
// How it avoids the defects of the posted versions: as package batch, and
//
//	D10  the seq is set in every callback, before anything else, under the lock
//	D11  the tree is built before the notifier is inserted, and changes no more
//	D12  a range whose seq was beaten counts as invalid again, so that the next pass
//	     fetches it
package wide
