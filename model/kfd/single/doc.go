// SPDX-License-Identifier: MIT

// Package single is the design of mainline: one user range for one BO, one
// notifier for the range, and for many ranges many calls.
//
// It follows the newest trees where 6.12 is wrong (facts of the series' review
// call these D15 and D17): a range whose memory is gone or has become read-only
// loses its pages, so that the GPU faults there instead of reaching old pages,
// and the restore of everything else goes on.
//
//	alloc.go    InitUserPages      evict.go    Invalidate
//	restore.go  Update, Confirm    defects.go  what older kernels got wrong
//
// How it stays clear of the defects of the posted series:
//
//	D1        one counter for one fetch: reset when the fetch answers it
//	D2        the fetch is dropped in the same step that ends it (UserRange.Done)
//	D3        one range: the page array is written whole or emptied
//	D4 D5     a range that is gone is emptied and does not hold up the pass
//	D6        the counter is reset under notifierLock, against its snapshot
//	D7 D8     every error path unregisters and drops what was fetched
//	D9        a window that must not block is refused before any lock
//	D10-D12   the notifier covers the range and nothing else: no gaps
//	D13       the CPU address and the GPU address are two fields
//	D14       sizes are 64 bit and checked for overflow before anything happens
package single
