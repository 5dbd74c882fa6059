// SPDX-License-Identifier: MIT

// Package batch is the idea of the series' v2, made correct: one call registers
// many ranges as one BO, one interval notifier watches each range, and all
// ranges are validated together. It is the reference that kernel/ implements.
//
// Every range keeps its own counter of invalidations and its own fetch. A pass
// of the worker fetches the ranges that are invalid and no others; a commit
// checks every range that has been fetched since the last commit, in the one
// section of notifierLock that lets the queues run.
//
//	alloc.go    InitUserPages      evict.go    Invalidate
//	restore.go  Update, Confirm    defects.go  what v2 got wrong
//
// A pass of the worker over one BO is kfd.Mem.FetchInvalid and ConfirmFetchedLocked
// (kfd/fetch.go), which the designs with one fetch for each range share.
//
// How it avoids the defects of the posted versions:
//
//	D1   Mem.Invalid is reset when every range has been answered
//	D2   a fetch ends in one place, which also forgets it
//	D3   each range writes its own slice of the page array; a range that was not
//	     fetched keeps its slice, and no range depends on another's fetch
//	D4   a range whose memory is gone loses its slice, and its PTEs are cleared
//	D5   such a range does not fail the commit, and is fetched again in the next pass
//	D6   counters are reset under notifierLock only, against their snapshots; a
//	     range is never valid by a flag alone, its fetch has to pass read_retry
//	D7   an error unregisters every range before the BO goes
//	D8   an error drops every fetch and every page
//	D9   a window that must not block is refused before any lock
//	D10  every callback sets the seq, under notifierLock
//	D11  the range table never changes while a notifier is registered
//	D12  a failed commit keeps the fetches that were not hit, so the next pass
//	     checks them again instead of skipping them
//	D13  no range's CPU address stands for the BO; the GPU address is a field of its own
//	D14  the sum is checked for overflow; sizes are 64 bit. Overlapping ranges are
//	     legal and charged twice
//
// Where it is more careful than v2 asks: a fetch that collides does not stop the
// others, so that one pass breaks copy-on-write in every range, and registering
// n ranges after a fork takes as many retries as one range does.
package batch
