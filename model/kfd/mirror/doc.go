// SPDX-License-Identifier: MIT

// Package mirror is the smallest driver that keeps the contract of
// hmm_range_fault: registering inserts one notifier per range, mapping faults
// once, and every GPU access faults what is invalid until read_retry agrees and
// then runs, under the lock that the callback takes.
//
// It has no restore worker and never stops a queue: a callback takes the range
// out of the GPU page table at once. It is what the observer module does on a
// real kernel, so model and kernel can be compared event by event.
//
//	alloc.go    InitUserPages, Map            evict.go    Invalidate
//	restore.go  Access
//
// D1, D4, D5, D6, D12, D15 and D17 need a restore worker and cannot occur. The
// others: D2 and D8, a fetch lives within one call; D3, each range writes its own
// slice; D7, an error unregisters all; D9, a window that must not block is
// refused; D10, every callback sets the seq; D11, the table is fixed while
// registered; D13 and D14, as in package batch.
package mirror
