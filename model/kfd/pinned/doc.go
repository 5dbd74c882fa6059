// SPDX-License-Identifier: MIT

// Package pinned is the idea of the series' v1: one call pins the pages of many
// ranges (pin_user_pages) and gives them to the GPU as one BO. There is no
// notifier, nothing is ever evicted, and no queue is ever stopped.
//
// It is here for what it costs. A pinned page keeps its frame: it is not swapped
// out, migrated, balanced, merged or collapsed, and fork copies it at once, until
// the BO is freed. But the CPU may take the page out of its page table whenever it
// likes (munmap, mmap over it, mremap, MADV_DONTNEED), and the GPU goes on with the
// old page, which belongs to nobody else and is not what the CPU has there. The
// memory is safe and the contents are wrong: the verdict is stale, by gpu-equals-cpu
// or no-stale-access.
//
// So it is ok on traces whose memory stays where it is, and is not one of the
// designs that `-design all` means.
//
//	alloc.go    InitUserPages, ReleaseUserPages
//
// There is no evict.go and no restore.go: there is nothing to write in them. D1 to
// D12, D15 and D17 need a notifier or a worker and cannot occur.
//
// Simplified: model/FIDELITY.md K-PINNED.
package pinned
