// SPDX-License-Identifier: MIT

package model

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// placementCall performs the calls that say where pages are to be, and the
// stimuli that move or merge them.
func (r *runner) placementCall(t *sim.Task, th *thread, op *traces.Op) (val uint64, err errno.Errno) {
	a := &op.A
	switch op.Call {
	case traces.CallMbind:
		return 0, r.mbind(t, th, op)
	case traces.CallMovePages:
		return r.onMM(t, th, int(int64(a[0])), func(m *mm.MM) (uint64, errno.Errno) { return r.movePages(t, m, op) })
	case traces.CallMigratePages:
		return r.onMM(t, th, int(int64(a[0])), func(m *mm.MM) (uint64, errno.Errno) {
			var from, to mm.NodeMask
			if op.X != nil {
				from, to = op.X.NodeMask, op.X.NewNodeMask
			}
			left, err := m.MigratePages(t, a[1], from, to)
			r.countAgrees(op, left, err)
			return left, err
		})
	case traces.CallMMCompact:
		r.sys.Compact(t)
	case traces.CallMMKsm:
		const unmerge = 2
		if a[0] == unmerge {
			return 0, r.sys.KSMUnmerge(t)
		}
		r.sys.KSM(t)
	case traces.CallMMNUMABalance:
		th.proc.mm.NUMABalance(t, a[0], a[1])
	}
	return 0, 0
}

// mbind gives memory a policy.
func (r *runner) mbind(t *sim.Task, th *thread, op *traces.Op) errno.Errno {
	a := &op.A
	var nodes mm.NodeMask
	if op.X != nil {
		nodes = op.X.NodeMask
	}
	if a[2] != mm.MpolDefault { // which holes do not stop
		r.ambientFor(t, th, op, a[0], a[1])
	}
	return th.proc.mm.Mbind(t, a[0], a[1], uint32(a[2]), nodes, a[4], uint32(a[5]))
}

// onMM does something to the memory of the process that a task label names, 0 for
// the caller's own.
//
// Errors: ESRCH when there is no such process, EINVAL when it has no memory any
// more.
//
// Kernel: find_mm_struct, mm/migrate.c.
func (r *runner) onMM(t *sim.Task, th *thread, label int, do func(*mm.MM) (uint64, errno.Errno)) (uint64, errno.Errno) {
	if label == 0 {
		return do(th.proc.mm)
	}
	p := r.processOf(label)
	if p == nil {
		return 0, errno.ESRCH
	}
	m := p.mm
	if p.dead || !m.GetNotZero(t) {
		return 0, errno.EINVAL
	}
	val, err := do(m)
	m.Put(t)
	return val, err
}

// processOf returns the process of a task, which may be a dead one that nobody has
// waited for; nil when there is none.
func (r *runner) processOf(label int) *process {
	for _, p := range r.procs {
		if p == nil {
			continue
		}
		if p.label == label {
			return p
		}
		for _, x := range p.threads {
			if x.tid == label {
				return p
			}
		}
	}
	return nil
}

// countAgrees compares the number of pages that stayed with a person's
// expectation.
func (r *runner) countAgrees(op *traces.Op, left uint64, err errno.Errno) {
	if err == 0 && !r.captured && op.Result.Kind == traces.ResultOK && left != op.Result.Val {
		r.differ(op, fmt.Sprintf("%d pages left", left), fmt.Sprint(op.Result.Val))
	}
}

// movePages moves the pages that the trace shows, which strace may have cut short,
// and compares their status with a person's expectation. A capture's tells of
// another machine.
func (r *runner) movePages(t *sim.Task, m *mm.MM, op *traces.Op) (uint64, errno.Errno) {
	x := op.X
	if x == nil {
		x = &traces.Extra{}
	}
	pages, nodes := x.Pages, x.Nodes
	n := min(op.A[1], uint64(len(pages)))
	if nodes != nil {
		n = min(n, uint64(len(nodes)))
		nodes = nodes[:n]
	}
	status, left, err := m.MovePages(t, pages[:n], nodes, uint32(op.A[5]))
	r.countAgrees(op, left, err)
	if err == 0 && left == 0 && !r.captured {
		for i := range min(len(status), len(x.Status)) {
			if status[i] != x.Status[i] {
				r.differ(op, fmt.Sprintf("status %v", status), fmt.Sprint(x.Status))
				break
			}
		}
	}
	return left, err
}
