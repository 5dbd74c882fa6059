// SPDX-License-Identifier: MIT

// Package multi is what the review of the series asked for: hmm_range_fault on
// several ranges at once, with one seq. One interval notifier watches each range,
// as in package batch; their callbacks hand the seq on to the BO as a whole, too.
// All ranges that have to be fetched are fetched in one call, under one hold of
// mmap_lock, and checked against the seq of the BO.
//
// So an invalidation of any range makes the whole fetch void, and it is repeated
// from its first range on. Invalidations between the ranges do not concern it.
//
//	alloc.go    InitUserPages      evict.go    Invalidate
//	restore.go  Update, Confirm    defects.go
//
// D1 to D17 do not occur, for the reasons that package batch gives.//
// Simplified: model/FIDELITY.md K-PROPOSED.
package multi
