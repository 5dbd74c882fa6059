/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * /dev/kfdsim_observer: watch ranges of the caller's memory as a GPU driver does.
 */
#ifndef KFDSIM_OBSERVER_H
#define KFDSIM_OBSERVER_H

#include <linux/bits.h>
#include <linux/ioctl.h>
#include <linux/types.h>

#define OBSERVER_ABI 1

/* Page-aligned [addr, addr + len). @tag is the caller's own and returned in events. */
struct observer_range {
	__u64 addr;
	__u64 len;
	__u64 tag;
	__u32 id;	/* out of REGISTER, into UNREGISTER */
	__u32 pad;
};

#define OBSERVER_FETCH_FAULT	1
#define OBSERVER_FETCH_WRITE	2

/*
 * One attempt: read_begin, hmm_range_fault, read_retry under the lock that the
 * callback takes. EBUSY when an invalidation came between. @npfns entries of
 * struct hmm_range.hmm_pfns go to @pfns, in the form of OBSERVER_PFN_*.
 */
struct observer_fetch {
	__u32 id;
	__u32 flags;
	__u64 pfns;
	__u64 npfns;
};

#define OBSERVER_PFN_VALID	BIT_ULL(63)
#define OBSERVER_PFN_WRITE	BIT_ULL(62)
#define OBSERVER_PFN_ERROR	BIT_ULL(61)
#define OBSERVER_PFN_ORDER_SHIFT 56		/* 5 bits */
#define OBSERVER_PFN_MASK	GENMASK_ULL(55, 0)

/*
 * Read or write [off, off + len) bytes of a range through the pages that were
 * fetched. ESTALE when they were invalidated since, EACCES where a page is not
 * there, or may not be written.
 */
struct observer_access {
	__u32 id;
	__u32 write;
	__u64 off;
	__u64 len;
	__u64 buf;
};

/* What read(2) on any descriptor returns: callbacks of all ranges, oldest first. */
struct observer_event {
	__u64 tag;
	__u64 start;
	__u64 end;
	__u32 event;	/* enum mmu_notifier_event; OBSERVER_LOST: events were lost */
	__u32 blockable;
	__u32 pid;
	__u32 pad;
	char comm[16];
};

#define OBSERVER_LOST 0xffffffffU

#define OBSERVER_VERSION	_IOR('O', 0, __u32)
#define OBSERVER_REGISTER	_IOWR('O', 1, struct observer_range)
#define OBSERVER_UNREGISTER	_IOW('O', 2, struct observer_range)
#define OBSERVER_CHECK		_IOW('O', 3, struct observer_range)
#define OBSERVER_FETCH		_IOW('O', 4, struct observer_fetch)
#define OBSERVER_ACCESS		_IOW('O', 5, struct observer_access)

#endif
