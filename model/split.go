// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/traces"
)

// neededBy returns the unfinished call that must have acted before op, by what
// the trace records: -1 when none must. Calls of one task act in order, so only
// other tasks' calls are asked.
func (r *runner) neededBy(op *traces.Op) int32 {
	th := r.lives[r.owner[r.cursor]]
	for _, p := range r.pending {
		q := &r.tr.Ops[p]
		if q.Call == traces.CallClone && r.child[p] >= 0 && r.lives[r.child[p]] == th && th.task == nil {
			return p
		}
	}
	if th.task == nil || th.proc == nil {
		return -1
	}
	for _, p := range r.pending {
		by := r.lives[r.owner[p]]
		if by.proc == nil || by.dead || by == th {
			continue
		}
		if by.proc.mm == th.proc.mm && r.needsMemory(th, op, &r.tr.Ops[p]) ||
			by.proc.fds == th.proc.fds && r.needsFD(th, op, &r.tr.Ops[p]) {
			return p
		}
	}
	return -1
}

// needsMemory says whether op's recorded result needs the effect of the memory
// call q.
func (r *runner) needsMemory(th *thread, op, q *traces.Op) bool {
	m := th.proc.mm
	if addr, n, ok := placed(op); ok {
		// The kernel chose the address, so nothing was there.
		if r.overlapsVMAs(m, addr, n) {
			qa, qn, frees := freed(q)
			return frees && meet(addr, n, qa, qn)
		}
		return false
	}
	if op.Call == traces.CallIoctl {
		return op.Result.Kind == traces.ResultOK && r.registrationNeeds(m, op.X.KFD, q)
	}
	addr, n, ok := used(op)
	return ok && r.rangeNeeds(m, op, q, addr, n)
}

// registrationNeeds says whether registering user memory needs the effect of the
// memory call q.
func (r *runner) registrationNeeds(m *mm.MM, k *traces.KFDArgs, q *traces.Op) bool {
	switch {
	case k == nil || k.Undecoded || k.Flags&kfd.AllocUserptr == 0:
	case k.NR == nrAlloc:
		return r.rangeNeeds(m, nil, q, k.MmapOffset, k.Size)
	case k.NR == nrBatch:
		for _, rg := range k.Ranges {
			if r.rangeNeeds(m, nil, q, rg.Start, rg.Size) {
				return true
			}
		}
	}
	return false
}

// rangeNeeds says whether using [addr,addr+n) as the record says needs the effect
// of the memory call q. op is what uses it, nil for a registration.
func (r *runner) rangeNeeds(m *mm.MM, op, q *traces.Op, addr, n uint64) bool {
	if qa, qn, made := placed(q); made && meet(addr, n, qa, qn) {
		return !r.coveredByVMAs(m, addr, n)
	}
	if q.Call == traces.CallMmap && q.Result.Kind == traces.ResultOK && meet(addr, n, q.A[0], q.A[1]) {
		return true // MAP_FIXED over what op uses
	}
	if q.Call == traces.CallBrk && q.Result.Kind == traces.ResultOK && q.A[0] == q.Result.Val && addr < q.A[0] {
		return !r.coveredByVMAs(m, addr, n)
	}
	touches := op == nil || op.Call >= traces.CallCPURead
	return q.Call == traces.CallMprotect && touches && meet(addr, n, q.A[0], q.A[1])
}

// needsFD says whether op's recorded result needs the effect of the descriptor
// call q.
func (r *runner) needsFD(th *thread, op, q *traces.Op) bool {
	if op.Result.Kind != traces.ResultOK {
		return false
	}
	_, open := th.proc.fds.m[int(int32(op.A[0]))]
	switch op.Call {
	case traces.CallMmap:
		_, open = th.proc.fds.m[int(int32(op.A[4]))]
		return !open && makesFD(q, op.A[4])
	case traces.CallIoctl, traces.CallClose, traces.CallDup, traces.CallFtruncate, traces.CallFallocate:
		return !open && makesFD(q, op.A[0])
	case traces.CallOpenat, traces.CallMemfdCreate:
		_, busy := th.proc.fds.m[int(op.Result.Val)]
		return busy && q.Call == traces.CallClose && q.A[0] == op.Result.Val
	}
	return false
}

func makesFD(q *traces.Op, fd uint64) bool {
	switch q.Call {
	case traces.CallOpenat, traces.CallMemfdCreate, traces.CallDup:
		return q.Result.Kind == traces.ResultOK && q.Result.Val == fd
	}
	return false
}

// placed returns where the kernel put a new mapping, if it chose.
func placed(op *traces.Op) (addr, n uint64, ok bool) {
	if op.Result.Kind != traces.ResultOK {
		return 0, 0, false
	}
	switch op.Call {
	case traces.CallMmap:
		return op.Result.Val, op.A[1], op.A[3]&mapFixed == 0
	case traces.CallMremap:
		return op.Result.Val, op.A[2], op.Result.Val != op.A[0] && op.A[3]&mremapFixed == 0
	}
	return 0, 0, false
}

// freed returns what a call unmaps.
func freed(op *traces.Op) (addr, n uint64, ok bool) {
	switch op.Call {
	case traces.CallMunmap:
		return op.A[0], op.A[1], true
	case traces.CallMremap:
		return op.A[0], op.A[1], true
	}
	return 0, 0, false
}

// used returns the memory that a recorded success needs to be mapped.
func used(op *traces.Op) (addr, n uint64, ok bool) {
	if op.Result.Kind != traces.ResultOK && op.Result.Kind != traces.ResultBytes {
		return 0, 0, false
	}
	switch op.Call {
	case traces.CallMprotect, traces.CallMadvise, traces.CallMlock, traces.CallMunlock, traces.CallMsync,
		traces.CallMremap, traces.CallCPURead, traces.CallCPUWrite:
		return op.A[0], op.A[1], true
	}
	return 0, 0, false
}

func meet(a, an, b, bn uint64) bool { return a < b+bn && b < a+an }
