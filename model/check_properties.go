// SPDX-License-Identifier: MIT

package model

import "sort"

// Property is something that must always hold.
type Property struct {
	Name string // kebab-case: what a report calls it
	Word string // verdict of a run that breaks it: stale, stuck, misuse or leak
	// Inv are the numbers of the invariants that it covers, of docs on the series.
	Inv []int
	// Protects is what happens on a real machine when it breaks.
	Protects string
	// Source is where the kernel promises or needs it.
	Source string
}

// properties is sorted by name.
var properties = []Property{
	{"callback-sets-seq", "misuse", []int{12},
		"A fetch that ran meanwhile believes its pages, or a reader waits for an invalidation that has ended.",
		"mmu_interval_set_seq, include/linux/mmu_notifier.h"},
	{"commit-atomic", "stale", []int{3},
		"Queues run with one range of a BO still waiting: the GPU writes to a page that belongs to somebody else.",
		"amdgpu_amdkfd_restore_userptr_worker, amdgpu_amdkfd_gpuvm.c"},
	{"dma-balance", "misuse", []int{8},
		"Another device's mapping of the page is torn down: IOMMU faults.",
		"dma_unmap_sgtable, include/linux/dma-mapping.h"},
	{"dma-mapped", "stale", []int{8},
		"The GPU reaches an address that the IOMMU has given to another device.",
		"amdgpu_ttm_backend_unbind, amdgpu_ttm.c"},
	{"dma-unmapped", "leak", []int{8, 26},
		"IOVA space and bounce buffers never come back, and the device keeps access to the page.",
		"dma_map_sgtable, include/linux/dma-mapping.h"},
	{"error-no-change", "leak", []int{29, 31},
		"User space repeats a call that half happened: handles, charges and notifiers pile up until -ENOMEM.",
		"kfd_ioctl_alloc_memory_of_gpu, kfd_chardev.c"},
	{"evict-paired", "misuse", []int{20},
		"The stop count is shared with TTM, SVM and the debugger: queues restart under them, or never again.",
		"evict_process_queues_cpsch, kfd_device_queue_manager.c"},
	{"evicted-stopped", "stale", []int{19},
		"Queues run while the pages behind their addresses are given to somebody else.",
		"amdgpu_amdkfd_evict_userptr, amdgpu_amdkfd_gpuvm.c"},
	{"fetch-freed", "leak", []int{28, 29},
		"8 bytes of kernel memory for each page of the range are lost each time.",
		"amdgpu_hmm_range_free, amdgpu_hmm.c"},
	{"fetch-freed-once", "misuse", []int{28},
		"A double kvfree of the pfn array corrupts the kernel's heap.",
		"amdgpu_hmm_range_free, amdgpu_hmm.c"},
	{"gap-quiet", "misuse", []int{17},
		"A wide notifier turns every malloc and free between the ranges into a stop of all queues.",
		"amdgpu_hmm_invalidate_hsa, amdgpu_hmm.c"},
	{"gpu-equals-cpu", "stale", []int{1, 4, 5},
		"Silent data corruption: the GPU works on pages that are no longer the ones behind the addresses.",
		"hmm_range_fault, mm/hmm.c; Documentation/mm/hmm.rst"},
	{"gpu-write-allowed", "stale", []int{6},
		"The GPU writes to pages that fork, KSM or the zero page share with others.",
		"HMM_PFN_WRITE, include/linux/hmm.h"},
	{"invalid-answered", "stale", []int{21},
		"An invalidation is forgotten: the range looks valid with the pages from before.",
		"update_invalid_user_pages, amdgpu_amdkfd_gpuvm.c"},
	{"layout", "misuse", []int{10},
		"A BO overruns its neighbour in the GPU address space.",
		"amdgpu_vm_bo_map, amdgpu_vm.c"},
	{"limit-sum", "leak", []int{30, 26},
		"A charge that is lost with each BO ends in -ENOMEM for every process.",
		"amdgpu_amdkfd_reserve_mem_limit, amdgpu_amdkfd_gpuvm.c"},
	{"lock-order", "misuse", []int{32},
		"Two tasks can wait for each other for ever: reclaim calls back into the driver.",
		"Documentation/locking/lockdep-design.rst"},
	{"lockdep", "misuse", []int{32},
		"A lock is not held where it guards something, is taken twice, or is never released.",
		"lockdep_assert_held, include/linux/lockdep.h"},
	{"memory-freed", "leak", []int{26},
		"Pages are lost to the machine until it reboots.",
		"put_page, include/linux/mm.h"},
	{"might-sleep", "misuse", []int{16, 32},
		"The OOM reaper, or a CPU that holds a spinlock, hangs.",
		"might_sleep, include/linux/kernel.h; non_block_start"},
	{"mm-freed", "leak", []int{26, 29},
		"An mm_struct and its page tables stay for ever.",
		"mmgrab, include/linux/sched/mm.h"},
	{"no-stale-access", "stale", []int{1},
		"The GPU reads another process's data or overwrites it.",
		"mmu_interval_notifier_ops, include/linux/mmu_notifier.h"},
	{"nonblock", "misuse", []int{16},
		"The OOM reaper waits for the GPU, and the machine for the OOM reaper.",
		"mmu_notifier_range_blockable, include/linux/mmu_notifier.h"},
	{"notifier-once", "misuse", []int{13},
		"The interval tree is corrupted: use after free in whoever unmaps memory next.",
		"mmu_interval_notifier_remove, mm/mmu_notifier.c"},
	{"notifier-removed", "leak", []int{13, 26},
		"The next munmap of that memory calls into a BO that was freed.",
		"mmu_interval_notifier_remove, mm/mmu_notifier.c"},
	{"pages-from-fetch", "stale", []int{2, 9, 21},
		"The whole contract of HMM: pages that an invalidation has taken away are mapped as if they were there.",
		"mmu_interval_read_retry, include/linux/mmu_notifier.h"},
	{"process-gone", "leak", []int{26},
		"A kfd_process with its queues, doorbells and GPU page tables stays until reboot.",
		"kfd_process_wq_release, kfd_process.c"},
	{"range-tree", "misuse", []int{13},
		"A callback follows a pointer into a tree that free takes apart: use after free.",
		"interval_tree_iter_first, include/linux/interval_tree_generic.h"},
	{"range-watched", "stale", []int{11, 13},
		"Invalidations of memory that the GPU has mapped pass unseen.",
		"mmu_interval_notifier_insert, mm/mmu_notifier.c"},
	{"restore-ends", "stuck", []int{23, 25},
		"All queues of the process stay stopped, or a task never returns: the application hangs and cannot be killed.",
		"amdgpu_amdkfd_restore_userptr_worker, amdgpu_amdkfd_gpuvm.c"},
	{"restored-running", "stuck", []int{19},
		"All user memory is valid again and nobody starts the queues: the application hangs.",
		"kgd2kfd_resume_mm, kfd_device.c"},
	{"seq-parity", "misuse", []int{14},
		"Readers take an invalidation that runs for one that has ended.",
		"mn_itree_inv_start_range and mn_itree_inv_end, mm/mmu_notifier.c"},
	{"smi-order", "misuse", []int{34},
		"Profilers that pair eviction and restore events count wrong or fail.",
		"kfd_smi_event_queue_restore, kfd_smi_events.c"},
	{"tlb-flushed", "stale", []int{7, 8},
		"A translation that hardware has kept reaches a page after its entry was removed.",
		"kfd_flush_tlb, kfd_process.c"},
	{"tree-frozen", "misuse", []int{15},
		"A walk of the notifier tree that holds no lock meets a changing tree.",
		"mn_itree_is_invalidating, mm/mmu_notifier.c"},
	{"valid-list", "stuck", []int{22},
		"A BO is forgotten: nothing ever fetches its pages again.",
		"amdgpu_amdkfd_restore_userptr_worker, amdgpu_amdkfd_gpuvm.c"},
}

// Properties returns every property, by name.
func Properties() []Property { return properties }

// wordOf returns the verdict that goes with a property.
func wordOf(name string) string {
	i := sort.Search(len(properties), func(i int) bool { return properties[i].Name >= name })
	if i == len(properties) || properties[i].Name != name {
		panic("BUG: property " + name + " is not in the table")
	}
	return properties[i].Word
}
