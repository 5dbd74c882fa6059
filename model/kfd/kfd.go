// SPDX-License-Identifier: MIT

// Package kfd models what every design of a userptr allocation shares with the
// amdkfd driver: processes and their queues, kgd_mem, the ioctls with their
// checks and errno in the driver's order, map, unmap and free, the memory limit,
// eviction counting, the restore worker and SMI events. What a design does
// differently is behind the Design interface.
//
//	process.go    struct kfd_process, its devices and its death
//	mem.go        struct kgd_mem, struct user_range_info
//	ioctl.go      ALLOC_MEMORY_OF_GPU, ..._BATCH: checks, handles
//	map.go        MAP, UNMAP, FREE
//	pages.go      getting pages: amdgpu_ttm_tt_get_user_pages and friends
//	fetch.go      a design's share of the worker's pass, for designs with notifiers
//	span.go       one notifier over all ranges of a BO, and the tree of them
//	evict.go      quiesce, resume, and the shared part of an invalidate callback
//	restore.go    restore_userptr_worker
//	queue.go      user queues, GPU accesses, VM faults
//	smi.go        SMI events      limit.go  memory limit      svm.go  SVM ranges
//
//	defects.go    sets of known bugs   defect_table.go  their names and sources
//	posted.go     shared code as it was posted, one switch for each of them
//
// A design is made with a set of defects, empty as a rule. Those that lie in the
// design are switched in its own package; those in shared code are switched here,
// beside the correct code and never in it where that would hide how it works.
//
// # What it is not
//
// No VRAM, no TTM eviction of its own, no CRIU, no debugger: whoever else stops
// queues in the driver is a reason in the counter and nothing more. Page-table
// BOs are never evicted, so validating them never fails.
//
// # Lock order
//
//	Process.mutex                       p->mutex: ioctls
//	  ProcessInfo.lock                  process_info->lock: worker, alloc, map, free
//	    mmap_lock (read)                fetching pages
//	    ProcessInfo.notifierLock        process_info->notifier_lock
//	mmap_lock (any)
//	  ProcessInfo.notifierLock          invalidate callbacks
//	    Device.dqmLock                  dqm->lock: queues
//
// Nothing that faults, allocates or waits for a notifier window runs under
// notifierLock, because reclaim calls back into it.
//
// # Stability
//
// A design outside of this repository uses Design, Digester, Mem, UserRange,
// InvalidRange, InvalidateHSA and the locks of ProcessInfo, and package mm's
// IntervalNotifier, NotifierRange and HMMRange. Until version 1.0 these follow the
// kernel: they change where it does, and the change is named in the commit. Defects and
// what their switches need (posted.go, the AsPosted functions) may change at any time.
package kfd

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Lock classes.
var (
	classProcess  = sim.NewLockClass("process->mutex")
	classInfo     = sim.NewLockClass("process_info->lock")
	classNotifier = sim.NewLockClass("process_info->notifier_lock")
	classDQM      = sim.NewLockClass("dqm->lock")
)

// RestoreDelay is the delay of the restore worker.
//
// Kernel: AMDGPU_USERPTR_RESTORE_DELAY_MS, amdgpu_amdkfd_gpuvm.c.
const RestoreDelay = 1 * sim.Millisecond

// Design is one way to register user memory: a patch, or a version of it. The
// driver calls it; siblings share everything else.
//
// A correct design keeps the promise of hmm_range_fault: a page that a GPU can
// reach while queues run came from a fetch whose seq was still current, checked
// under notifierLock in the section that let the queues run.
type Design interface {
	// Name is what -design selects.
	Name() string

	// Batched says whether one call registers many ranges. Otherwise the
	// performer makes one call for each, at consecutive GPU addresses.
	Batched() bool

	// InitUserPages registers m's ranges and fetches their pages. On an error
	// nothing is left registered. It is called with ProcessInfo.Lock held and m
	// on the valid list.
	//
	// Kernel: init_user_pages.
	InitUserPages(t *sim.Task, m *Mem) errno.Errno

	// ReleaseUserPages undoes InitUserPages when the BO is freed. m is on no
	// list. It may sleep until open notifier windows have ended.
	//
	// Kernel: amdgpu_hmm_unregister and what surrounds it.
	ReleaseUserPages(t *sim.Task, m *Mem)

	// UpdateUserPages fetches what is invalid in one BO of the inval list and
	// forgets what is gone. EAGAIN ends the pass: it collided.
	//
	// Kernel: the body of the loop of update_invalid_user_pages.
	UpdateUserPages(t *sim.Task, m *Mem) errno.Errno

	// ConfirmUserPagesLocked says whether the pages fetched for m are still the
	// right ones; then it lets go of the fetch. When it returns false the pages
	// are not used and the pass is repeated.
	//
	// Preconditions: ProcessInfo.Lock and notifierLock are held, and stay held
	// until queues run.
	//
	// Kernel: the body of the loop of confirm_valid_user_pages_locked.
	ConfirmUserPagesLocked(t *sim.Task, m *Mem) bool
}

// Accessor is a Design that answers GPU accesses itself instead of queues and a
// restore worker (mirror).
type Accessor interface {
	// Access makes what can be made valid of the GPU range [va,va+n) (bytes) valid
	// and calls f while it is.
	Access(t *sim.Task, p *Process, gpuID int, va, n uint64, f func(t *sim.Task))
}

// Pinner is a Design that holds the pages of its ranges instead of watching them
// (pinned).
type Pinner interface {
	PinsPages()
}

// Counts are what happened in the driver, for reports and the cost model.
type Counts struct {
	Ioctls        uint64 // calls that reached the driver
	Retries       uint64 // of them, repeats after EAGAIN
	BOs           uint64 // user memory BOs created
	Notifiers     uint64 // interval notifiers inserted
	Evictions     uint64 // 0 -> 1 edges of evicted_bos
	Evicted       uint64 // callbacks that counted an eviction
	RestorePasses uint64 // runs of the restore worker
	Restores      uint64 // of them, those that committed
	Fetches       uint64 // ranges fetched
	Collisions    uint64 // fetches or commits that an invalidation beat
	Warnings      uint64 // WARN lines in the kernel's log
}

// Driver is the driver of a machine.
type Driver struct {
	Sim    *sim.Sim
	MM     *mm.System
	Design Design
	GPUs   []*Device // index 0 is gpu_id 1
	SMI    []SMIEvent
	Counts Counts

	// procs are the live processes in order of creation.
	procs []*Process
	byMM  map[*mm.MM]*Process
	// acquired are the render node files whose VM has become a process's. It
	// stays so after the process.
	acquired map[any]bool
	watch    Watcher
	// defects are the design's, as far as they lie in shared code; immutable.
	defects Defects
	limit   uint64 // bytes
	used    uint64 // bytes; changes in single steps
}

// Watcher sees what the properties need to see; an implementation notes what is
// dirty and looks later.
type Watcher interface {
	// StateChanged: the counters or the queue state of a process changed.
	StateChanged(p *Process)
	// Committed: the worker let the queues of p run again. Called before the
	// notifierLock is dropped.
	Committed(t *sim.Task, p *Process)
	// Fetched: pages of r were fetched.
	Fetched(r *UserRange)
	// FetchFailed: an attempt to fetch pages of r failed.
	FetchFailed(r *UserRange, err errno.Errno)
	// Dropping: the pages of r are about to be unmapped for DMA.
	Dropping(r *UserRange)
	// Evicting: a window counted an eviction of p.
	Evicting(p *Process, r *mm.NotifierRange)
	// Allocated: a BO came. Placed: it has its addresses on a GPU from now on;
	// Unplaced: until now. Freeing: it has left its list. Freed: it is gone; also
	// one that could not be made.
	Allocated(m *Mem)
	Placed(m *Mem, pd *ProcessDevice)
	Unplaced(m *Mem, pd *ProcessDevice)
	Freeing(m *Mem)
	Freed(m *Mem)
	// Gone: a process was torn down completely.
	Gone(p *Process)
}

// Device is a GPU as the driver knows it.
//
// Kernel: struct kfd_node, kfd_priv.h.
type Device struct {
	*gpu.Device
	// dqmLock guards the queues of every process on the device.
	dqmLock sim.Mutex
}

// New makes a driver for the GPUs of a machine. limit is the memory limit in
// bytes, 0 for the driver's own.
func New(s *sim.Sim, sys *mm.System, d Design, gpus int, limit uint64, w Watcher, gw gpu.Watcher) *Driver {
	dr := &Driver{Sim: s, MM: sys, Design: d, byMM: map[*mm.MM]*Process{}, acquired: map[any]bool{}, watch: w, defects: DefectsOfDesign(d), limit: limit}
	if limit == 0 {
		dr.limit = SystemMemLimit(sys.Mem.Total() << mm.PageShift)
	}
	for i := 0; i < gpus; i++ {
		dev := &Device{Device: gpu.NewDevice(s, sys.Mem, &sys.MemObj, i+1)}
		dev.Watch = gw
		dev.dqmLock.Init(s, classDQM)
		dev.OnFault = dr.vmFault
		dev.Planted.SkipFlush = dr.has(SkipFlush)
		dr.GPUs = append(dr.GPUs, dev)
	}
	return dr
}

// Processes returns the live processes in order of creation.
func (d *Driver) Processes() []*Process { return d.procs }

func (d *Driver) stateChanged(p *Process) {
	if d.watch != nil {
		d.watch.StateChanged(p)
	}
	d.Sim.Dirty()
}

// Leaks names what is left of the driver, one line each.
func (d *Driver) Leaks() []string {
	var l []string
	for _, p := range d.procs {
		l = append(l, "kfd_process of "+p.MM.Name)
	}
	for _, g := range d.GPUs {
		l = append(l, g.Leaks()...)
	}
	if d.used != 0 {
		l = append(l, "memory limit is not back at 0")
	}
	return l
}
