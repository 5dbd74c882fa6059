// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnReap    = sim.NewFunc("__oom_reap_task_mm", "mm", "all")
	fnReapVMA = sim.NewFunc("tlb_gather_mmu", "start", "end")
	fnOOMSkip = sim.NewFunc("oom_skip", "mm")
)

// How long the reaper leaves a victim to itself, and how it tries.
//
// Kernel: OOM_REAPER_DELAY, MAX_OOM_REAP_RETRIES, mm/oom_kill.c.
const (
	oomReaperDelay  = 2 * sim.Second
	oomReapRetries  = 10
	oomReapInterval = 100 * sim.Millisecond
)

// oomState is what the OOM killer knows of an address space.
type oomState struct {
	queued bool // it is a victim: the reaper knows it
	tries  int  // attempts of the reaper
	// unstable says that the reaper has taken pages: a fault that would find zeroes
	// in their place is SIGBUS instead.
	//
	// Kernel: MMF_UNSTABLE.
	unstable bool
	// skip says that nothing more is to be had here: it is gone, was reaped, or
	// could not be.
	//
	// Kernel: MMF_OOM_SKIP.
	skip bool
}

// oomReaper takes the memory of victims that do not exit by themselves.
//
// Kernel: oom_reaper, mm/oom_kill.c.
type oomReaper struct {
	sys   *System
	task  *sim.Task
	obj   sim.Object    // labels queue
	wake  sim.WaitQueue // the reaper, for a victim
	done  sim.WaitQueue // whoever waits for memory or for the end of a victim
	queue []oomVictim
}

type oomVictim struct {
	mm *MM
	at sim.Time // when to begin
}

func (o *oomReaper) init(sys *System) {
	o.sys = sys
	o.obj.Init(sys.Sim, "oom_reaper_list")
	o.wake.Init(sys.Sim, "oom_reaper_wait")
	o.done.Init(sys.Sim, "oom_victims_wait")
}

// OOMSkip says whether the OOM killer expects nothing more of the address space.
func (mm *MM) OOMSkip() bool { return mm.oom.skip }

// OOMBadness is the number of pages by which the OOM killer ranks processes.
//
// Kernel: oom_badness, mm/oom_kill.c.
func (mm *MM) OOMBadness() uint64 { return mm.rss + mm.swapents }

// outOfMemory kills somebody and waits until that has freed what it can; false
// when it cannot help the caller.
//
// Kernel: out_of_memory, mm/oom_kill.c; the wait is the allocation's retry.
//
// Simplified: model/FIDELITY.md M-OOM.
func (sys *System) outOfMemory(t *sim.Task) bool {
	if sys.OOMKill == nil || t.Killed() {
		return false
	}
	victim := sys.OOMKill(t)
	if victim == nil || victim.oom.skip {
		return false
	}
	if !victim.oom.queued {
		sys.Counts.OOMKills++
	}
	sys.reaper.add(t, victim, oomReaperDelay)
	for sys.Mem.Free() == 0 && !victim.oom.skip && !t.Killed() {
		sys.reaper.done.SleepKillable(t)
	}
	return !t.Killed()
}

// OOMReap reaps the address space of a process that was killed, at once, and
// returns when there is nothing more to do.
func (sys *System) OOMReap(t *sim.Task, victim *MM) {
	sys.reaper.add(t, victim, 0)
	for !victim.oom.skip && !t.Killed() {
		sys.reaper.done.SleepKillable(t)
	}
}

// add makes the reaper look at the victim after delay, or earlier if it was to do
// so anyway. That takes no reference: an address space that is gone is skipped.
//
// Kernel: queue_oom_reaper.
func (o *oomReaper) add(t *sim.Task, victim *MM, delay sim.Time) {
	if victim.oom.skip {
		return
	}
	t.Touch(sim.Access{Object: &o.obj, Lo: 0, Hi: 1, Kind: sim.KindWrite})
	at := o.sys.Sim.Now() + delay
	if !victim.oom.queued {
		victim.oom.queued = true
		o.queue = append(o.queue, oomVictim{victim, at})
	}
	for i := range o.queue {
		if v := &o.queue[i]; v.mm == victim {
			v.at = min(v.at, at)
		}
	}
	if o.task == nil {
		o.task = o.sys.Sim.GoDaemon("oom_reaper", o.loop)
		// In recorded order the reaper comes before what the victim does next: that
		// it can is what there is to see. Interleavings have both.
		o.task.Order = 0
	}
	o.wake.WakeAll(t)
}

// skip notes that nothing more is to be had of the address space.
func (o *oomReaper) skip(t *sim.Task, mm *MM) {
	if mm.oom.skip {
		return
	}
	t.Touch(sim.Access{Object: &o.obj, Lo: 0, Hi: 1, Kind: sim.KindWrite})
	mm.oom.skip = true
	if mm.oom.queued {
		t.Log(fnOOMSkip, uint64(mm.id), 0, 0)
		o.wake.WakeAll(t)
		o.done.WakeAll(t)
	}
}

func (o *oomReaper) loop(t *sim.Task) {
	for {
		t.Rest(func() {
			a := sim.Access{Object: &o.obj, Lo: 0, Hi: 1, Kind: sim.KindWrite}
			o.wake.WaitEventOn(t, a, func() bool { return len(o.queue) > 0 })
		})
		i := o.next()
		v := o.queue[i]
		if !v.mm.oom.skip && o.sys.Sim.Now() < v.at {
			t.Rest(func() { o.wake.SleepUntil(t, v.at) })
			continue
		}
		o.queue = append(o.queue[:i], o.queue[i+1:]...)
		o.reap(t, v.mm)
	}
}

// next returns the victim whose time comes first. One that is to be skipped is due
// at once.
//
// Preconditions: there is one.
func (o *oomReaper) next() int {
	best := -1
	for i := range o.queue {
		v := &o.queue[i]
		if v.mm.oom.skip {
			return i
		}
		if best < 0 || v.at < o.queue[best].at {
			best = i
		}
	}
	return best
}

// reap tries to take the memory of a victim, and gives up after a while: then exit
// must do it.
//
// Kernel: oom_reap_task.
func (o *oomReaper) reap(t *sim.Task, mm *MM) {
	for mm.oom.tries < oomReapRetries && !mm.oomReapTaskMM(t) {
		mm.oom.tries++
		for again := o.sys.Sim.Now() + oomReapInterval; o.sys.Sim.Now() < again && !mm.oom.skip; {
			o.wake.SleepUntil(t, again)
		}
	}
	o.skip(t, mm)
}

// oomReapTaskMM is one attempt; it does not wait for mmapLock.
//
// Kernel: oom_reap_task_mm.
func (mm *MM) oomReapTaskMM(t *sim.Task) bool {
	if mm.oom.skip {
		return true
	}
	if !mm.mmapLock.TryRLock(t) {
		return false
	}
	ok := mm.oom.skip || mm.oomReapMM(t)
	mm.mmapLock.RUnlock(t)
	mm.sys.reaper.done.WakeAll(t)
	return ok
}

// oomReapMM removes the pages of every VMA whose pages are nobody else's, each in
// an UNMAP window that must not block. Where a callback would, the VMA keeps its
// pages, and the result is false.
//
// Kernel: __oom_reap_task_mm.
//
// Preconditions: mmapLock held for reading.
func (mm *MM) oomReapMM(t *sim.Task) bool {
	mm.oom.unstable = true
	all := uint64(1)
	for v := mm.firstVMA(); v != nil; v = v.next {
		if v.Flags&VMPFNMap != 0 || !v.anonymous() && !v.private() {
			continue
		}
		r := NotifierRange{Event: EventUnmap, Start: v.Start, End: v.End}
		if mm.invalidateRangeStart(t, &r) != 0 {
			all = 0
			continue
		}
		t.Log(fnReapVMA, v.Start<<PageShift, v.End<<PageShift, 0)
		mm.unmapPageRange(t, v, v.Start, v.End)
		mm.invalidateRangeEnd(t, &r)
	}
	t.Log(fnReap, uint64(mm.id), all, 0)
	return all == 1
}

// ProcessMrelease reaps the address space of a process that was killed, in the
// calling task.
//
// Errors: EAGAIN when a callback would block: part of the memory is left to the
// exit.
//
// Kernel: process_mrelease, mm/oom_kill.c.
func (mm *MM) ProcessMrelease(t *sim.Task) errno.Errno {
	mm.mmapLock.RLock(t)
	ok := mm.oom.skip || mm.oomReapMM(t)
	mm.mmapLock.RUnlock(t)
	if !ok {
		return errno.EAGAIN
	}
	return 0
}
