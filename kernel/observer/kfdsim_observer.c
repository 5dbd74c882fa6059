// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A device without hardware that reaches a process's memory as amdgpu does: an
 * interval notifier for each range, hmm_range_fault, read_retry under the lock
 * that the callback takes. Every callback is written to a log.
 *
 * Locks, outermost first:
 *
 *	observer_file.ops	serialises the ioctls of one descriptor
 *	  mmap_lock
 *	    observer_file.lock	what the callback takes; guards seq, pages, valid
 *	      log_lock		(spinlock, may be taken without any other)
 */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/xarray.h>

#include "observer.h"

#define LOG_EVENTS 65536	/* a power of two */
#define MAX_RANGE BIT(32)

struct observer_file {
	struct mutex ops;	/* serialises ioctls */
	struct mutex lock;	/* what the callback takes */
	struct xarray ranges;
};

struct observer_pages {
	struct mmu_interval_notifier notifier;
	struct observer_file *file;
	unsigned long addr, len;
	u64 tag;
	unsigned long *pfns;
	unsigned long seq;	/* guarded by file->lock */
	bool fetched;		/* guarded by file->lock */
};

static struct observer_event *event_log;
static DEFINE_SPINLOCK(log_lock);
static u32 log_head, log_tail;	/* guarded by log_lock; they run over */
static bool log_lost;		/* guarded by log_lock */

static void log_event(const struct observer_pages *p,
		      const struct mmu_notifier_range *range)
{
	struct observer_event *e;

	spin_lock(&log_lock);
	if (log_head - log_tail == LOG_EVENTS) {
		log_lost = true;
	} else {
		e = &event_log[log_head++ % LOG_EVENTS];
		memset(e, 0, sizeof(*e));
		e->tag = p->tag;
		e->start = range->start;
		e->end = range->end;
		e->event = range->event;
		e->blockable = mmu_notifier_range_blockable(range);
		e->pid = task_pid_nr(current);
		get_task_comm(e->comm, current);
	}
	spin_unlock(&log_lock);
}

static bool observer_invalidate(struct mmu_interval_notifier *mni,
				const struct mmu_notifier_range *range,
				unsigned long cur_seq)
{
	struct observer_pages *p = container_of(mni, struct observer_pages, notifier);

	log_event(p, range);
	if (!mmu_notifier_range_blockable(range))
		return false;
	mutex_lock(&p->file->lock);
	mmu_interval_set_seq(mni, cur_seq);
	p->fetched = false;
	mutex_unlock(&p->file->lock);
	return true;
}

static const struct mmu_interval_notifier_ops observer_ops = {
	.invalidate = observer_invalidate,
};

static void free_pages_of(struct observer_pages *p)
{
	mmu_interval_notifier_remove(&p->notifier);
	kvfree(p->pfns);
	kfree(p);
}

static int check_arguments(const struct observer_range *r)
{
	if (!r->len || r->len > MAX_RANGE || !PAGE_ALIGNED(r->addr | r->len))
		return -EINVAL;
	if (r->addr + r->len < r->addr || r->addr + r->len > TASK_SIZE)
		return -EFAULT;
	return 0;
}

static long observer_register(struct observer_file *file, void __user *arg)
{
	struct observer_range r;
	struct observer_pages *p;
	int err;

	if (copy_from_user(&r, arg, sizeof(r)))
		return -EFAULT;
	err = check_arguments(&r);
	if (err)
		return err;
	p = kzalloc(sizeof(*p), GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	p->file = file;
	p->addr = r.addr;
	p->len = r.len;
	p->tag = r.tag;
	p->pfns = kvcalloc(r.len >> PAGE_SHIFT, sizeof(*p->pfns), GFP_KERNEL);
	if (!p->pfns) {
		kfree(p);
		return -ENOMEM;
	}
	err = mmu_interval_notifier_insert(&p->notifier, current->mm, r.addr, r.len,
					   &observer_ops);
	if (err) {
		kvfree(p->pfns);
		kfree(p);
		return err;
	}
	err = xa_alloc(&file->ranges, &r.id, p, xa_limit_31b, GFP_KERNEL);
	if (!err && copy_to_user(arg, &r, sizeof(r))) {
		xa_erase(&file->ranges, r.id);
		err = -EFAULT;
	}
	if (err)
		free_pages_of(p);
	return err;
}

static long observer_unregister(struct observer_file *file, void __user *arg)
{
	struct observer_range r;
	struct observer_pages *p;

	if (copy_from_user(&r, arg, sizeof(r)))
		return -EFAULT;
	p = xa_erase(&file->ranges, r.id);
	if (!p)
		return -ENOENT;
	free_pages_of(p);
	return 0;
}

/* Where the pages of a file end that is mapped, in the address space. */
static unsigned long end_of_file(const struct vm_area_struct *vma)
{
	unsigned long pages;

	if (!vma->vm_file || !S_ISREG(file_inode(vma->vm_file)->i_mode))
		return vma->vm_end;
	pages = DIV_ROUND_UP(i_size_read(file_inode(vma->vm_file)), PAGE_SIZE);
	if (pages <= vma->vm_pgoff)
		return vma->vm_start;
	return min(vma->vm_end, vma->vm_start + ((pages - vma->vm_pgoff) << PAGE_SHIFT));
}

/*
 * Could every page of the range be fetched for writing? As far as the VMAs tell;
 * nothing is faulted in.
 */
static long observer_check(void __user *arg)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	struct observer_range r;
	unsigned long at;
	int err;

	if (copy_from_user(&r, arg, sizeof(r)))
		return -EFAULT;
	err = check_arguments(&r);
	mmap_read_lock(mm);
	for (at = r.addr; !err && at < r.addr + r.len; at = vma->vm_end) {
		vma = vma_lookup(mm, at);
		if (!vma || vma->vm_flags & (VM_IO | VM_PFNMAP) ||
		    !(vma->vm_flags & VM_READ))
			err = -EFAULT;
		else if (!(vma->vm_flags & VM_WRITE))
			err = -EPERM;
		else if (min(vma->vm_end, r.addr + r.len) > end_of_file(vma))
			err = -EFAULT;
		if (err)
			break;
	}
	mmap_read_unlock(mm);
	return err;
}

static u64 exported_pfn(unsigned long pfn)
{
	u64 out = 0;

	if (pfn & HMM_PFN_ERROR)
		return OBSERVER_PFN_ERROR;
	if (!(pfn & HMM_PFN_VALID))
		return 0;
	out = OBSERVER_PFN_VALID | page_to_pfn(hmm_pfn_to_page(pfn));
	if (pfn & HMM_PFN_WRITE)
		out |= OBSERVER_PFN_WRITE;
	return out | (u64)hmm_pfn_to_map_order(pfn) << OBSERVER_PFN_ORDER_SHIFT;
}

static int fetch_once(struct observer_pages *p, u32 flags)
{
	struct mm_struct *mm = p->notifier.mm;
	struct hmm_range range = {
		.notifier = &p->notifier,
		.start = p->addr,
		.end = p->addr + p->len,
		.hmm_pfns = p->pfns,
	};
	int err = -EFAULT;

	if (flags & OBSERVER_FETCH_FAULT)
		range.default_flags |= HMM_PFN_REQ_FAULT;
	if (flags & OBSERVER_FETCH_WRITE)
		range.default_flags |= HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;
	if (!mmget_not_zero(mm))
		return -ESRCH;
	mmap_read_lock(mm);
	range.notifier_seq = mmu_interval_read_begin(&p->notifier);
	if (vma_lookup(mm, p->addr))
		err = hmm_range_fault(&range);
	mmap_read_unlock(mm);
	mutex_lock(&p->file->lock);
	p->fetched = false;
	if (!err && mmu_interval_read_retry(&p->notifier, range.notifier_seq))
		err = -EBUSY;
	if (!err) {
		p->seq = range.notifier_seq;
		p->fetched = true;
	}
	mutex_unlock(&p->file->lock);
	mmput(mm);
	return err;
}

static long observer_fetch(struct observer_file *file, void __user *arg)
{
	struct observer_fetch a;
	struct observer_pages *p;
	u64 __user *out;
	u64 i;
	int err;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	p = xa_load(&file->ranges, a.id);
	if (!p)
		return -ENOENT;
	if (a.npfns > p->len >> PAGE_SHIFT)
		return -EINVAL;
	err = fetch_once(p, a.flags);
	if (err)
		return err;
	out = u64_to_user_ptr(a.pfns);
	for (i = 0; i < a.npfns; i++)
		if (put_user(exported_pfn(p->pfns[i]), out + i))
			return -EFAULT;
	return 0;
}

/* Preconditions: file->lock is held and the pages are valid. */
static int copy_pages(struct observer_pages *p, const struct observer_access *a,
		      char *buf)
{
	u64 done = 0;

	while (done < a->len) {
		unsigned long at = a->off + done, in_page = offset_in_page(at);
		unsigned long n = min_t(u64, a->len - done, PAGE_SIZE - in_page);
		unsigned long pfn = p->pfns[at >> PAGE_SHIFT];
		struct page *page;

		if (!(pfn & HMM_PFN_VALID) || (a->write && !(pfn & HMM_PFN_WRITE)))
			return -EACCES;
		page = hmm_pfn_to_page(pfn);
		if (a->write)
			memcpy_to_page(page, in_page, buf + done, n);
		else
			memcpy_from_page(buf + done, page, in_page, n);
		done += n;
	}
	return 0;
}

static long observer_access(struct observer_file *file, void __user *arg)
{
	struct observer_access a;
	struct observer_pages *p;
	char *buf;
	long err;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	p = xa_load(&file->ranges, a.id);
	if (!p)
		return -ENOENT;
	if (a.off > p->len || a.len > p->len - a.off || a.len > SZ_1M)
		return -EINVAL;
	buf = kvmalloc(a.len, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	if (a.write && copy_from_user(buf, u64_to_user_ptr(a.buf), a.len)) {
		kvfree(buf);
		return -EFAULT;
	}
	mutex_lock(&file->lock);
	if (!p->fetched || mmu_interval_read_retry(&p->notifier, p->seq))
		err = -ESTALE;
	else
		err = copy_pages(p, &a, buf);
	mutex_unlock(&file->lock);
	if (!err && !a.write && copy_to_user(u64_to_user_ptr(a.buf), buf, a.len))
		err = -EFAULT;
	kvfree(buf);
	return err;
}

static long observer_ioctl(struct file *f, unsigned int cmd, unsigned long arg)
{
	struct observer_file *file = f->private_data;
	void __user *user = (void __user *)arg;
	long err;

	mutex_lock(&file->ops);
	switch (cmd) {
	case OBSERVER_VERSION:
		err = put_user(OBSERVER_ABI, (u32 __user *)user);
		break;
	case OBSERVER_REGISTER:
		err = observer_register(file, user);
		break;
	case OBSERVER_UNREGISTER:
		err = observer_unregister(file, user);
		break;
	case OBSERVER_CHECK:
		err = observer_check(user);
		break;
	case OBSERVER_FETCH:
		err = observer_fetch(file, user);
		break;
	case OBSERVER_ACCESS:
		err = observer_access(file, user);
		break;
	default:
		err = -ENOTTY;
	}
	mutex_unlock(&file->ops);
	return err;
}

/* Takes the oldest event off the log; false when there is none. */
static bool take_event(struct observer_event *e)
{
	bool any = true;

	spin_lock(&log_lock);
	if (log_head != log_tail) {
		*e = event_log[log_tail++ % LOG_EVENTS];
	} else if (log_lost) {
		memset(e, 0, sizeof(*e));
		e->event = OBSERVER_LOST;
		log_lost = false;
	} else {
		any = false;
	}
	spin_unlock(&log_lock);
	return any;
}

static ssize_t observer_read(struct file *f, char __user *buf, size_t len, loff_t *pos)
{
	struct observer_event e;
	size_t done = 0;

	while (len - done >= sizeof(e) && take_event(&e)) {
		if (copy_to_user(buf + done, &e, sizeof(e)))
			return done ? done : -EFAULT;
		done += sizeof(e);
	}
	return done;
}

static int observer_open(struct inode *inode, struct file *f)
{
	struct observer_file *file = kzalloc(sizeof(*file), GFP_KERNEL);

	if (!file)
		return -ENOMEM;
	mutex_init(&file->ops);
	mutex_init(&file->lock);
	xa_init_flags(&file->ranges, XA_FLAGS_ALLOC1);
	f->private_data = file;
	return 0;
}

static int observer_release(struct inode *inode, struct file *f)
{
	struct observer_file *file = f->private_data;
	struct observer_pages *p;
	unsigned long id;

	xa_for_each(&file->ranges, id, p)
		free_pages_of(p);
	xa_destroy(&file->ranges);
	kfree(file);
	return 0;
}

static const struct file_operations observer_fops = {
	.owner = THIS_MODULE,
	.open = observer_open,
	.release = observer_release,
	.read = observer_read,
	.unlocked_ioctl = observer_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice observer_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kfdsim_observer",
	.fops = &observer_fops,
	.mode = 0600,
};

static int __init observer_init(void)
{
	int err;

	event_log = vzalloc(array_size(LOG_EVENTS, sizeof(*event_log)));
	if (!event_log)
		return -ENOMEM;
	err = misc_register(&observer_device);
	if (err)
		vfree(event_log);
	return err;
}

static void __exit observer_exit(void)
{
	misc_deregister(&observer_device);
	vfree(event_log);
}

module_init(observer_init);
module_exit(observer_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Watches ranges of memory as a GPU driver does, and shows what it is told");
