// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// oomKill chooses the process with the most memory and kills it, with everybody
// who shares its memory. A victim that is not gone yet, and of which there is
// more to expect, is not joined by another one.
//
// Kernel: select_bad_process and __oom_kill_process, mm/oom_kill.c.
func (r *runner) oomKill(t *sim.Task) *mm.MM {
	var victim *process
	for _, p := range r.procs {
		if p == nil || p.dead || p.mm.OOMSkip() {
			continue
		}
		if p.victim {
			victim = p
			break
		}
		if victim == nil || p.mm.OOMBadness() > victim.mm.OOMBadness() {
			victim = p
		}
	}
	if victim == nil {
		return nil
	}
	if self := r.killUsers(t, victim.mm); self {
		return nil // the caller fails its allocation and dies
	}
	return victim.mm
}

// killUsers kills every process that uses an address space, and says whether t is
// a thread of one of them.
func (r *runner) killUsers(t *sim.Task, m *mm.MM) (self bool) {
	for _, p := range r.procs {
		if p == nil || p.dead || p.mm != m {
			continue
		}
		p.victim = true
		for _, x := range p.threads {
			self = self || x.task == t
		}
		p.kill()
	}
	return self
}

// oomReap kills a process as the OOM killer does and lets the reaper have its
// memory at once.
//
// Errors: ESRCH.
func (r *runner) oomReap(t *sim.Task, op *traces.Op) errno.Errno {
	p := r.findProcess(int(int64(op.A[0])))
	if p == nil {
		return errno.ESRCH
	}
	m := p.mm
	r.killUsers(t, m)
	r.sys.OOMReap(t, m)
	return 0
}
