// SPDX-License-Identifier: MIT

package model

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// StateChanged notes that counters or queues of a process changed.
func (c *checker) StateChanged(p *kfd.Process) { c.lookAtProcess(c.procOf(p)) }

// dying says whether the address space of a process is on its way out: then
// nobody restores anything any more.
func dying(p *kfd.Process) bool { return p.Gone() || p.MM.Users() == 0 }

// checkProcess judges counters and queues of a process. False means that it has
// to be judged again: somebody is inside the lock that makes them agree, or the
// worker is about to answer what was invalidated.
func (c *checker) checkProcess(st *mmState) bool {
	p := st.proc
	if p.Info == nil || dying(p) {
		return true
	}
	if p.Info.NotifierLocked() {
		return false
	}
	for _, pd := range p.Devices() {
		c.judgeDevice(p, pd)
	}
	if p.Info.RestorePending() {
		return len(st.touched) == 0
	}
	for _, x := range st.touched {
		if !x.ms.leaving && !x.ms.gone {
			c.judgeForgotten(x.ms, x.k)
		}
	}
	return true
}

// judgeForgotten judges a range for which no restore is pending: nothing waits for
// one.
func (c *checker) judgeForgotten(ms *memState, k int) {
	r, rs := &ms.m.Ranges[k], &ms.ranges[k]
	switch {
	case ms.m.Invalid != 0 && !ms.m.OnInval():
		c.fail("valid-list", "an invalid BO is on the valid list and no restore is pending", c.rangeDetail(ms, k))
	case ms.allocated && r.Invalid == 0 && rs.hit > rs.fetch:
		c.fail("invalid-answered", "an invalidation is forgotten: the range is valid, and no fetch has answered it", c.rangeDetail(ms, k))
	case r.Invalid != 0 && r.Invalid == r.Absent && r.HasPages():
		c.fail("pages-from-fetch", "a range whose memory is gone keeps its pages", c.rangeDetail(ms, k))
	}
}

// judgeDevice judges the queues of a process on one GPU.
//
// Preconditions: nobody holds notifierLock; the process is alive.
func (c *checker) judgeDevice(p *kfd.Process, pd *kfd.ProcessDevice) {
	if pd.VM == nil {
		return
	}
	all, userptr, sum := pd.Evicted()
	evicted := p.Info.EvictedBOs()
	switch {
	case all != sum || all < 0:
		c.fail("evict-paired", "the reasons to keep queues stopped do not add up", c.stopDetail(p, pd))
	case evicted != 0 && (userptr == 0 || pd.VM.Running()):
		c.fail("evicted-stopped", "queues run though user memory is evicted", c.stopDetail(p, pd))
	case evicted == 0 && userptr != 0:
		c.fail("restored-running", "queues stay stopped though all user memory is valid", c.stopDetail(p, pd))
	}
}

func (c *checker) stopDetail(p *kfd.Process, pd *kfd.ProcessDevice) string {
	all, userptr, sum := pd.Evicted()
	return fmt.Sprintf("process %s, GPU %d: evicted_bos %d; stopped for %d reasons, counted %d, user memory %d",
		p.MM.Name, pd.Dev.ID(), p.Info.EvictedBOs(), sum, all, userptr)
}

// Fetched notes a fetch.
func (c *checker) Fetched(r *kfd.UserRange) {
	ms := c.memOf(r.Mem)
	k := ms.rangeAt(r.Prefix)
	rs := &ms.ranges[k]
	if !ms.notifier(k).Inserted() {
		c.fail("range-watched", "pages are fetched for a range that no notifier watches", notifierDetail(r.HMM.Notifier))
		return
	}
	if rs.hmm != nil && rs.hmm != r.HMM && !rs.hmm.Freed() {
		c.fail("fetch-freed", "a fetch is overwritten by the next one", c.boDetail(ms, nil))
		return
	}
	rs.hmm, rs.fetch = r.HMM, r.HMM.NotifierSeq
	if ms.allocated {
		c.touch(ms, k)
	}
}

// FetchFailed notes nothing: a fetch that failed reaches no page.
func (c *checker) FetchFailed(*kfd.UserRange, errno.Errno) {}

// Committed judges a commit: what it lets the queues reach. Only ranges that were
// hit or fetched since the last commit can have become wrong.
func (c *checker) Committed(t *sim.Task, p *kfd.Process) {
	st := c.procOf(p)
	if !p.Info.NotifierLockHeldBy(t) {
		c.fail("commit-atomic", "queues are let run without the lock of the invalidate callbacks", t.Name())
		return
	}
	for _, x := range st.touched {
		x.ms.ranges[x.k].flags &^= rangeTouched
		if !x.ms.leaving && !x.ms.gone {
			c.judgeCommit(x.ms, x.k)
		}
	}
	clear(st.touched)
	st.touched = st.touched[:0]
}

// judgeCommit judges one range of a commit.
//
// Preconditions: notifierLock and ProcessInfo.lock are held.
func (c *checker) judgeCommit(ms *memState, k int) {
	r, rs := &ms.m.Ranges[k], &ms.ranges[k]
	switch {
	case r.Invalid != 0 && r.Invalid != r.Absent:
		c.fail("commit-atomic", "queues are let run with an invalid range", c.rangeDetail(ms, k))
	case r.Invalid != 0 && r.HasPages():
		c.fail("pages-from-fetch", "a range whose memory is gone keeps its pages", c.rangeDetail(ms, k))
	case r.HasPages() && rs.hit > rs.fetch:
		c.fail("pages-from-fetch", "a commit uses pages of a fetch that an invalidation has beaten", c.rangeDetail(ms, k))
	case r.Invalid == 0 && rs.hit > rs.fetch:
		c.fail("invalid-answered", "the invalid counter is reset though no fetch has answered it", c.rangeDetail(ms, k))
	case r.HasPages():
		c.judgeArray(ms, k)
	}
}

// judgeArray compares the page array of a range with the CPU page table.
func (c *checker) judgeArray(ms *memState, k int) bool {
	r := &ms.m.Ranges[k]
	at, end := r.Prefix, r.Prefix+r.Len()
	for it := ms.m.Pages.Iter(at, end); it.Next() && it.Run.Lo == at; at = it.Run.Hi {
		run := phys.Run{Lo: ms.m.VA + it.Run.Lo, Hi: ms.m.VA + it.Run.Hi, V: it.Run.V, Stride: it.Run.Stride}
		if !c.judge(&claim{by: byArray, ms: ms, k: k, run: run}) {
			return false
		}
	}
	if at < end {
		c.fail("pages-from-fetch", "the page array of a range is not complete", c.rangeDetail(ms, k))
		return false
	}
	return true
}

func (c *checker) rangeDetail(ms *memState, k int) string {
	r, rs := &ms.m.Ranges[k], &ms.ranges[k]
	return fmt.Sprintf("%s, range %d at %s: invalid %d, absent %d, pages %v; last hit at seq %d, last fetch at seq %d",
		c.boDetail(ms, nil), k, span(r.Start, r.End), r.Invalid, r.Absent, r.HasPages(), rs.hit, rs.fetch)
}

// checkSMI judges the events that came since the last look: what is restored was
// evicted before, each time.
func (c *checker) checkSMI() {
	for ; c.smi < len(c.drv.SMI); c.smi++ {
		e := &c.drv.SMI[c.smi]
		if e.MM >= len(c.mms) || c.mms[e.MM] == nil || e.Kind == kfd.SMIVMFault || e.Trigger != kfd.TriggerUserptr {
			continue
		}
		n := &c.mms[e.MM].stopped[e.GPU-1]
		switch {
		case e.Kind == kfd.SMIEviction:
			*n++
		case *n == 0:
			c.fail("smi-order", "a restore is reported without an eviction", fmt.Sprintf("process %s, GPU %d, event %d", e.Name, e.GPU, c.smi))
			return
		case e.Kind == kfd.SMIRestore:
			*n--
		}
	}
}
