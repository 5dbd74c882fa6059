// SPDX-License-Identifier: MIT

// Package wideseq is package wide with a seq for each range: one interval notifier
// watches everything from the lowest start to the highest end, and its callback
// hands the seq on to the ranges that the window touches. A fetch is checked
// against the seq of its range, so that an invalidation between the ranges, or of
// another range, does not beat it.
//
// The price is a struct mmu_interval_notifier for each range that is never
// inserted (mm.IntervalNotifier.InitView), because hmm_range_fault wants one.
//
//	alloc.go    InitUserPages      evict.go    Invalidate
//	restore.go  Update, Confirm    defects.go//
//
// Simplified: model/FIDELITY.md K-PROPOSED.
package wideseq
