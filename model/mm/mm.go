// SPDX-License-Identifier: MIT

// Package mm models the part of Linux memory management that gives pages to a
// process and takes them away: address spaces, page tables, faults, fork,
// reclaim, mmu interval notifiers and hmm_range_fault.
//
// File names are the kernel's: mmap.go memory.go fork.go vmscan.go
// mmu_notifier.go hmm.go. One kernel function is one Go function of that name.
// Behaviour follows Linux 6.12; where it is simpler, model/FIDELITY.md says what
// is lost.
//
// # What it is not
//
// It knows no GPU and no driver: a driver's callback is a value stored in the
// notifier (IntervalNotifierOps). It is no allocator benchmark and no security
// model: every task is root unless the caller says otherwise.
//
// # Units
//
// Addresses inside this package are page numbers (the address >> 12), written
// lo, hi, vpn or pgoff; ranges are half-open [lo,hi). Only the system calls at
// the border (mmap.go) take byte addresses and check their alignment. Memory
// follows distinct content: page tables hold runs (phys.Map), so a loop over
// "pages" is a loop over runs under a cooperative chooser and goes page by page
// under a preemptive one, where the order inside the loop can matter.
//
// # Lock order
//
//	File.inode                      truncation, holes
//	MM.mmapLock                     read: faults, HMM, populate; write: everything that changes VMAs
//	  MM.mmapLock of a forked child (dup_mmap only)
//	  the driver's locks, from callbacks of a notifier window
//	    subscriptions.lock          spinlock; never held over a callback
//
// Page table entries change in single labelled steps (MM.ptObj with the page
// range), which stand for the page table lock.
package mm

import (
	"github.com/google/btree"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Page geometry of x86-64.
const (
	PageShift = 12
	PageSize  = 1 << PageShift
	pmdShift  = 9  // pages of one page table (2 MiB)
	pudShift  = 18 // pages of one PMD table (1 GiB)

	// TaskSize is the end of the user address space, in pages: 47 bits less a
	// page.
	TaskSize = 1<<(47-PageShift) - 1
	// EndOfSpace is the page after the last one: what the kernel prints as
	// ULONG_MAX in RELEASE and exit's UNMAP events.
	EndOfSpace = 1 << (64 - PageShift)
)

// Lock classes.
var (
	classMmapLock       = sim.NewLockClass("mmap_lock")
	classMmapLockNested = sim.NewLockClass("mmap_lock/1")
	classInode          = sim.NewLockClass("inode->i_rwsem")
	classSubscriptions  = sim.NewLockClass("subscriptions->lock")
)

// Counts are what happened in a machine, for reports and the cost model.
type Counts struct {
	Windows       uint64 // invalidate_range_start calls on an mm with notifiers
	Invalidations uint64 // callbacks delivered
	PagesFaulted  uint64 // pages made present by a fault
	COWBreaks     uint64 // pages copied by a write fault
	PagesSwapOut  uint64
	PagesSwapIn   uint64
	PagesMigrated uint64
	PagesMerged   uint64 // by KSM
	PagesZapped   uint64
	HMMFaults     uint64 // hmm_range_fault calls
	HMMPages      uint64 // pages they returned
	HMMBusy       uint64 // -EBUSY returns
	OOMKills      uint64

	HugeFaults    uint64 // huge pages mapped by a fault
	HugeSplits    uint64 // PMDs split
	HugeCollapses uint64 // huge pages made of small ones
}

// Config describes the simulated machine.
type Config struct {
	RAM     uint64 // pages
	Swap    uint64 // pages
	Nodes   int
	Memlock uint64 // RLIMIT_MEMLOCK in pages; ^0 = none
	THP     THPMode
}

// System is one machine: its memory and every address space on it.
type System struct {
	Sim *sim.Sim
	Mem *phys.Memory
	// MemObj labels accesses to the contents of frames, by CPU and GPU; its part
	// is the frame number.
	MemObj sim.Object
	// countObj labels reference counts of frames.
	countObj sim.Object
	// familyObj labels what VMAs can map the pages of a family or a file.
	familyObj sim.Object
	Counts    Counts

	cfg    Config
	mms    []*MM // in order of creation; dead ones are removed
	nextMM int
	watch  Watcher
	kswapd kswapd
	// khugepaged is a task once it was asked to scan.
	khugepaged khugepaged
	ksmd       ksmd
	// policies are all memory policies there ever were, each once.
	policies  []mempolicy
	swapCache swapCache
	// anonNodes are all anon_vmas by id; anonOf says to which a frame belongs, if not
	// to the root of its family. links counts VMAs that came into a reverse map.
	anonNodes []*anonNode
	anonOf    phys.Map
	links     uint64
	// large holds the frames of huge pages that are not split, however they are mapped.
	large phys.Map
	// isolated holds the frames that somebody migrates: nobody else may.
	isolated phys.Map
	// pins counts PinUserPages by frame.
	pins phys.Map
	// migrated is woken when migration entries have become pages again.
	migrated sim.WaitQueue
	reaper   oomReaper
	files    []*File // that live, in order of creation

	// OOMKill chooses a process, kills it and returns its address space, or that
	// of one that was chosen before and is not gone yet; nil when nobody is left or
	// it is the caller's own. The runner sets it; nil when no process can be killed.
	OOMKill func(t *sim.Task) *MM
}

// Watcher sees what the properties need to see. Calls come in the middle of
// steps: an implementation notes what is dirty and looks later.
type Watcher interface {
	// PageTableChanged: the CPU page table of mm changed somewhere in [lo,hi).
	PageTableChanged(mm *MM, lo, hi uint64)
	// Window: a notifier window over [r.Start,r.End) opened or closed.
	Window(mm *MM, r *NotifierRange, open bool)
	// Invalidating: a callback of n is about to be called.
	Invalidating(n *IntervalNotifier, r *NotifierRange)
	// SeqSet: task t has set the seq of n.
	SeqSet(t *sim.Task, n *IntervalNotifier)
	// Invalidated: a callback of n has returned with verdict ok.
	Invalidated(n *IntervalNotifier, r *NotifierRange, curSeq uint64, ok bool)
	// Notifier: n was inserted or removed.
	Notifier(n *IntervalNotifier, inserted bool)
}

// NewSystem makes a machine without processes.
func NewSystem(s *sim.Sim, cfg Config, w Watcher) *System {
	sys := &System{Sim: s, cfg: cfg, watch: w}
	sys.Mem = phys.NewMemory(phys.Config{Pages: cfg.RAM, SwapPages: cfg.Swap, Nodes: cfg.Nodes})
	sys.MemObj.Init(s, "memory")
	sys.countObj.Init(s, "page count")
	sys.familyObj.Init(s, "anon_vma")
	sys.kswapd.init(sys)
	sys.ksmd.init(sys)
	sys.policies = []mempolicy{{}}
	sys.migrated.Init(s, "migration_entry_wait")
	sys.reaper.init(sys)
	return sys
}

// MMs returns the live address spaces in order of creation. The caller must not
// modify the slice.
func (sys *System) MMs() []*MM { return sys.mms }

// MM is an address space.
//
// Kernel: struct mm_struct, include/linux/mm_types.h.
type MM struct {
	sys *System
	id  int
	// Name labels the mm in reports (the first task's pid).
	Name string

	// mmapLock guards the VMAs and, held for writing, page-table shape.
	mmapLock sim.RWSem

	// vmas is protected by mmapLock.
	vmas *btree.BTreeG[*VMA]
	// lastVMA caches the last vma found; protected by mmapLock, verified on use.
	lastVMA *VMA

	// pt maps page numbers to PTE words. Changes are labelled steps on ptObj.
	pt    phys.Map
	ptObj sim.Object
	// tables has an entry for each page table (2 MiB of addresses, index
	// vpn>>9) that exists, and for each PMD without one: tablePTE, tablePMD.
	// Changed with pt.
	tables phys.Map
	// puds has an entry for each PMD table (1 GiB of addresses, index page>>18), which
	// stays when the page tables below are gone, as long as any VMA is around it.
	puds phys.Map
	// thp says that there has been a huge page, here or in a parent. Changed with pt.
	thp bool

	// users counts what keeps the address space alive (threads, mmget); count
	// keeps the structure alive. Labelled on usersObj.
	//
	// Kernel: mm_users, mm_count.
	users, count int
	usersObj     sim.Object

	// The fields below are protected by mmapLock.
	startBrk, brk uint64 // bytes
	lockedVM      uint64 // pages in VMLocked VMAs
	totalVM       uint64 // pages in all VMAs
	defLocked     bool   // mlockall(MCL_FUTURE)
	mmapBase      uint64 // pages; top of the area that mmap searches downwards
	maps          mapState

	// subs is made once, under mmapLock, and lives as long as the mm.
	subs *subscriptions
	// release holds what runs when the address space dies.
	release []func(t *sim.Task)

	// rss is the number of present pages that are not the zero page.
	rss uint64
	// swapents is the number of swap entries.
	swapents uint64
	exited   bool
	oom      oomState

	// Ambient totals: mappings made because the trace succeeded on addresses
	// that it never mapped.
	AmbientRanges, AmbientPages uint64
}

// NewMM makes an empty address space with one user.
//
// Kernel: mm_alloc, kernel/fork.c.
func (sys *System) NewMM(name string) *MM {
	sys.nextMM++
	mm := &MM{sys: sys, id: sys.nextMM, Name: name, users: 1, count: 1}
	mm.mmapLock.Init(sys.Sim, classMmapLock)
	mm.ptObj.Init(sys.Sim, "page table")
	mm.usersObj.Init(sys.Sim, "mm_users")
	mm.vmas = btree.NewG(16, func(a, b *VMA) bool { return a.Start < b.Start })
	mm.mmapBase = TaskSize - 0x40000
	sys.mms = append(sys.mms, mm)
	return mm
}

// System returns the machine of the mm.
func (mm *MM) System() *System { return mm.sys }

// ID returns the number of the mm, counted from 1 in order of creation.
func (mm *MM) ID() int { return mm.id }

// RSS returns the number of resident pages.
func (mm *MM) RSS() uint64 { return mm.rss }

// Exited says whether exit_mmap has run.
func (mm *MM) Exited() bool { return mm.exited }

// ReadLock takes mmap_lock for reading, for drivers.
//
// Kernel: mmap_read_lock, include/linux/mmap_lock.h.
func (mm *MM) ReadLock(t *sim.Task) { mm.mmapLock.RLock(t) }

// ReadUnlock releases ReadLock.
//
// Kernel: mmap_read_unlock.
func (mm *MM) ReadUnlock(t *sim.Task) { mm.mmapLock.RUnlock(t) }

// WriteLock takes mmap_lock for writing, for drivers.
//
// Kernel: mmap_write_lock.
func (mm *MM) WriteLock(t *sim.Task) { mm.mmapLock.Lock(t) }

// WriteUnlock releases WriteLock.
//
// Kernel: mmap_write_unlock.
func (mm *MM) WriteUnlock(t *sim.Task) { mm.mmapLock.Unlock(t) }

// GetNotZero takes a reference on the address space unless its last user has
// gone.
//
// Kernel: mmget_not_zero, include/linux/sched/mm.h.
func (mm *MM) GetNotZero(t *sim.Task) bool {
	mm.seeUsers(t)
	if mm.users == 0 {
		return false
	}
	mm.users++
	return true
}

// Get takes another reference.
//
// Kernel: mmget.
func (mm *MM) Get() { mm.users++ }

// Users returns mm_users.
func (mm *MM) Users() int { return mm.users }

// Put drops a reference; the last one tears the address space down, which may
// sleep.
//
// Kernel: mmput, kernel/fork.c.
func (mm *MM) Put(t *sim.Task) {
	t.MightSleep("mmput")
	t.Read(&mm.usersObj, 1, 2)
	t.Touch(sim.Access{Object: &mm.usersObj, Lo: 0, Hi: 1, Kind: sim.KindRelease})
	mm.users--
	if mm.users < 0 {
		panic("BUG: mm_users below zero")
	}
	if mm.users == 0 {
		t.Touch(sim.Access{Object: &mm.usersObj, Lo: 1, Hi: 2, Kind: sim.KindWrite})
		mm.exitMmap(t)
		mm.Drop()
	}
}

// Grab keeps the structure alive (not its memory).
//
// Kernel: mmgrab.
func (mm *MM) Grab() { mm.count++ }

// Drop releases Grab.
//
// Kernel: mmdrop.
func (mm *MM) Drop() {
	mm.count--
	if mm.count < 0 {
		panic("BUG: mm_count below zero")
	}
	if mm.count > 0 {
		return
	}
	for i, x := range mm.sys.mms {
		if x == mm {
			mm.sys.mms = append(mm.sys.mms[:i], mm.sys.mms[i+1:]...)
			break
		}
	}
}

// Count returns mm_count.
func (mm *MM) Count() int { return mm.count }
