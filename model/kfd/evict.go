// SPDX-License-Identifier: MIT

package kfd

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// Trigger says why queues are stopped.
//
// Kernel: enum KFD_QUEUE_EVICTION_TRIGGERS, include/uapi/linux/kfd_ioctl.h.
type Trigger uint8

// Reasons to stop queues. TriggerFault has no number in the kernel: a faulted
// process is stopped without an eviction event.
const (
	TriggerSVM Trigger = iota
	TriggerUserptr
	TriggerTTM
	TriggerSuspend
	TriggerFault
	numReasons
)

var (
	fnEvict   = sim.NewFunc("amdgpu_amdkfd_evict_userptr", "start", "end", "evicted_bos")
	fnQuiesce = sim.NewFunc("kgd2kfd_quiesce_mm", "mm", "trigger")
	fnResume  = sim.NewFunc("kgd2kfd_resume_mm", "mm", "trigger")
)

// InvalidateHSA is the part of an invalidate callback that every correct design
// shares, around what a design does to its ranges: it refuses to sleep, sets the
// seq under notifierLock, and stops the queues on the first eviction. invalidate
// says whether any range was hit; if none was, nothing is counted or stopped.
//
// Kernel: amdgpu_hmm_invalidate_hsa, amdgpu_hmm.c.
func InvalidateHSA(t *sim.Task, m *Mem, n *mm.IntervalNotifier, r *mm.NotifierRange, curSeq uint64, invalidate func() bool) bool {
	if !r.Blockable && !m.P.drv.has(D9) {
		return false
	}
	info := m.P.Info
	info.notifierLock.Lock(t)
	n.SetSeq(t, curSeq)
	hit := invalidate()
	if f := m.fetching; f != nil && f.Start < r.End && r.Start < f.End {
		t.Mark(MarkCallbackDuringFetch)
	}
	if !hit {
		t.Mark(MarkGapHit)
	}
	if hit {
		m.markInvalidLocked()
		info.evictUserptrLocked(t, r)
	}
	info.notifierLock.Unlock(t)
	if hit {
		m.P.drv.stateChanged(m.P)
	}
	return true
}

// evictUserptrLocked counts an eviction and stops the queues on the first one.
//
// Preconditions: notifierLock is held.
//
// Kernel: amdgpu_amdkfd_evict_userptr, amdgpu_amdkfd_gpuvm.c.
func (i *ProcessInfo) evictUserptrLocked(t *sim.Task, r *mm.NotifierRange) {
	i.evictedBOs++
	i.P.drv.Counts.Evicted++
	if w := i.P.drv.watch; w != nil {
		w.Evicting(i.P, r)
	}
	t.Log(fnEvict, r.Start<<mm.PageShift, r.End<<mm.PageShift, i.evictedBOs)
	if i.evictedBOs != 1 {
		return
	}
	i.P.drv.Counts.Evictions++
	if i.P.drv.quiesceMM(t, i.P.MM, TriggerUserptr) != errno.ESRCH {
		i.restore.Queue(t, RestoreDelay)
	}
}

// quiesceMM stops every queue of the process that owns m.
//
// Errors: ESRCH when the process is gone.
//
// Kernel: kgd2kfd_quiesce_mm, kfd_device.c.
func (d *Driver) quiesceMM(t *sim.Task, m *mm.MM, why Trigger) errno.Errno {
	p := d.byMM[m]
	if p == nil {
		return errno.ESRCH
	}
	p.evictQueues(t, why)
	return 0
}

// evictQueues stops the queues on every GPU, counting the reason.
//
// Kernel: kfd_process_evict_queues, kfd_process.c.
func (p *Process) evictQueues(t *sim.Task, why Trigger) {
	t.Log(fnQuiesce, uint64(p.MM.ID()), uint64(why), 0)
	for _, pd := range p.devs {
		p.drv.smi(t, SMIEvent{Kind: SMIEviction, MM: p.MM.ID(), Name: p.MM.Name, GPU: pd.Dev.ID(), Trigger: why})
		pd.evict(t, why)
	}
	p.drv.stateChanged(p)
}

// evict stops the queues of the process on one GPU for one more reason.
//
// Kernel: evict_process_queues_cpsch, kfd_device_queue_manager.c.
func (pd *ProcessDevice) evict(t *sim.Task, why Trigger) {
	pd.Dev.dqmLock.Lock(t)
	pd.reasons[why]++
	pd.evicted++
	if pd.evicted == 1 {
		for _, q := range pd.hardwareQueues() {
			q.Preempt(t)
		}
	}
	pd.Dev.dqmLock.Unlock(t)
}

// hardwareQueues returns the queues of the process on the GPU; without a VM there
// are none, but reasons to stop them are counted all the same.
func (pd *ProcessDevice) hardwareQueues() []*gpu.Queue {
	if pd.VM == nil {
		return nil
	}
	return pd.VM.Queues()
}

// resumeMM lets the queues of the process run again, as far as this reason goes.
//
// Errors: ESRCH when the process is gone.
//
// Kernel: kgd2kfd_resume_mm, kfd_device.c.
func (d *Driver) resumeMM(t *sim.Task, m *mm.MM, why Trigger) errno.Errno {
	p := d.byMM[m]
	if p == nil {
		return errno.ESRCH
	}
	t.Log(fnResume, uint64(m.ID()), uint64(why), 0)
	for _, pd := range p.devs {
		d.smi(t, SMIEvent{Kind: SMIRestore, MM: m.ID(), Name: m.Name, GPU: pd.Dev.ID(), Trigger: why})
		pd.restore(t, why)
	}
	d.stateChanged(p)
	return 0
}

// restore takes one reason back; the last one lets the queues run.
//
// Kernel: restore_process_queues_cpsch, kfd_device_queue_manager.c.
func (pd *ProcessDevice) restore(t *sim.Task, why Trigger) {
	pd.Dev.dqmLock.Lock(t)
	if pd.evicted == 0 || pd.reasons[why] == 0 {
		t.Sim().Fail(sim.Failure{Verdict: "misuse", Property: "evict-paired",
			Title:  "queues resumed more often than they were stopped",
			Detail: fmt.Sprintf("process %s, GPU %d, trigger %d", pd.p.MM.Name, pd.Dev.ID(), why)})
	} else {
		pd.reasons[why]--
		pd.evicted--
		if pd.evicted == 0 {
			for _, q := range pd.hardwareQueues() {
				q.Resume(t)
			}
		}
	}
	pd.Dev.dqmLock.Unlock(t)
}

// Evicted returns the number of outstanding reasons that keep the queues of the
// process stopped on this GPU, and how many of them are userptr.
func (pd *ProcessDevice) Evicted() (all, userptr, sum int) {
	for _, n := range pd.reasons {
		sum += n
	}
	return pd.evicted, pd.reasons[TriggerUserptr], sum
}

// EvictedBOs returns the eviction counter, for properties.
func (i *ProcessInfo) EvictedBOs() uint64 { return i.evictedBOs }

// RestorePending says whether a run of the worker is due or under way.
func (i *ProcessInfo) RestorePending() bool { return i.restore.Pending() || i.restore.Running() }

// RestoreRunning says whether the worker runs now.
func (i *ProcessInfo) RestoreRunning() bool { return i.restore.Running() }

// NotifierLockHeldBy says whether t holds notifierLock.
func (i *ProcessInfo) NotifierLockHeldBy(t *sim.Task) bool { return i.notifierLock.HeldBy(t) }

// LockNotifier takes notifierLock, for designs.
func (i *ProcessInfo) LockNotifier(t *sim.Task) { i.notifierLock.Lock(t) }

// UnlockNotifier releases LockNotifier.
func (i *ProcessInfo) UnlockNotifier(t *sim.Task) { i.notifierLock.Unlock(t) }

// AssertNotifierLock reports misuse when t does not hold notifierLock.
func (i *ProcessInfo) AssertNotifierLock(t *sim.Task) { i.notifierLock.AssertHeld(t) }

// Lock takes ProcessInfo.lock, for designs.
func (i *ProcessInfo) Lock(t *sim.Task) { i.lock.Lock(t) }

// Unlock releases Lock.
func (i *ProcessInfo) Unlock(t *sim.Task) { i.lock.Unlock(t) }
