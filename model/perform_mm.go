// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// memoryCall performs the calls that act on the thread's own memory.
func (r *runner) memoryCall(t *sim.Task, th *thread, op *traces.Op) (val uint64, err errno.Errno, judged bool) {
	m, a := th.proc.mm, &op.A
	switch op.Call {
	case traces.CallMmap:
		val, err = r.mmap(t, th, op)
	case traces.CallMunmap:
		if err = m.Munmap(t, a[0], a[1]); err == 0 {
			r.show(t, m, a[0], a[1])
		}
	case traces.CallMremap:
		val, err = r.mremap(t, th, op)
	case traces.CallBrk:
		val = r.brk(t, th, op)
	case traces.CallMprotect:
		r.ambientFor(t, th, op, a[0], a[1])
		err = m.Mprotect(t, a[0], a[1], uint32(a[2]))
	case traces.CallMadvise:
		r.ambientFor(t, th, op, a[0], a[1])
		err = m.Madvise(t, a[0], a[1], int(int32(a[2])))
	case traces.CallMlock:
		r.ambientFor(t, th, op, a[0], a[1])
		err = m.Mlock2(t, a[0], a[1], uint32(a[2]))
	case traces.CallMunlock:
		r.ambientFor(t, th, op, a[0], a[1])
		err = m.Munlock(t, a[0], a[1])
	case traces.CallMlockall:
		err = m.Mlockall(t, uint32(a[0]))
	case traces.CallMunlockall:
		err = m.Munlockall(t)
	case traces.CallMsync:
		r.ambientFor(t, th, op, a[0], a[1])
		err = m.Msync(t, a[0], a[1], uint32(a[2]))
	case traces.CallCPUWrite:
		r.ambientFor(t, th, op, a[0], a[1])
		err = r.outOfMemory(t, th, m.Store(t, a[0], a[1], byte(a[2])))
	case traces.CallCPURead:
		r.ambientFor(t, th, op, a[0], a[1])
		var bytes []phys.ByteRun
		bytes, err = m.Load(t, nil, a[0], a[1])
		err = r.outOfMemory(t, th, err)
		r.saw(op, 0, a[0], bytes, err)
	case traces.CallMbind, traces.CallMovePages, traces.CallMigratePages,
		traces.CallMMCompact, traces.CallMMKsm, traces.CallMMNUMABalance:
		val, err = r.placementCall(t, th, op)
	default:
		return r.later(t, th, op)
	}
	return val, err, true
}

// later accepts what the model has still to learn. System calls keep their
// recorded result and have no effect; a stimulus cannot be ignored.
func (r *runner) later(_ *sim.Task, _ *thread, op *traces.Op) (uint64, errno.Errno, bool) {
	if op.Call >= traces.CallCPURead {
		r.cannot(op, "not modelled")
		return 0, 0, false
	}
	r.notModelled(op.Call.String())
	return 0, 0, false
}

// outOfMemory turns a fault without memory into the death of the task.
//
// Kernel: pagefault_out_of_memory, mm/oom_kill.c.
func (r *runner) outOfMemory(_ *sim.Task, th *thread, err errno.Errno) errno.Errno {
	if err == errno.ENOMEM {
		for _, x := range append([]*thread(nil), th.proc.threads...) {
			x.kill()
		}
	}
	return err
}

// saw notes what a read returned and compares it with the record.
func (r *runner) saw(op *traces.Op, gpu uint32, addr uint64, bytes []phys.ByteRun, err errno.Errno) {
	rd := Read{Line: op.Line, GPU: gpu, Addr: addr}
	if err != 0 {
		rd.Errno = err.String()
	} else {
		rd.Bytes = bytes
	}
	r.reads = append(r.reads, rd)
	if err == 0 && op.Result.Kind == traces.ResultBytes && !sameBytes(bytes, op.X.Data) {
		r.differ(op, bytesText(bytes), recordedText(op.X.Data))
	}
}

// Flags of mmap and mremap that decide where.
const (
	mapFixed          = 0x10
	mapFixedNoReplace = 0x100000
	mremapMayMove     = 1
	mremapFixed       = 2
	mremapDontUnmap   = 4
)

// mmap replays a mapping at the recorded address.
func (r *runner) mmap(t *sim.Task, th *thread, op *traces.Op) (uint64, errno.Errno) {
	f, err := r.mappedFile(th, op)
	if err != 0 {
		return 0, err
	}
	m, a := th.proc.mm, &op.A
	addr, flags := a[0], uint32(a[3])
	if op.Result.Kind == traces.ResultOK && flags&mapFixed == 0 {
		addr = op.Result.Val
		r.makeRoom(t, m, addr, a[1])
		flags = flags&^mapFixedNoReplace | mapFixed
	}
	if a[5]&(mm.PageSize-1) != 0 {
		return 0, errno.EINVAL
	}
	got, err := m.Mmap(t, addr, a[1], uint32(a[2]), flags, f, a[5]>>mm.PageShift)
	if err == 0 {
		r.show(t, m, got, a[1])
	}
	return got, err
}

// mremap replays a move to the recorded address.
func (r *runner) mremap(t *sim.Task, th *thread, op *traces.Op) (uint64, errno.Errno) {
	m, a := th.proc.mm, &op.A
	flags, to := uint32(a[3]), a[4]
	if op.Result.Kind == traces.ResultOK {
		r.ambientFor(t, th, op, a[0], max(a[1], 1))
		switch {
		case op.Result.Val == a[0] && a[2] > a[1]:
			r.makeRoom(t, m, a[0]+pageUp(a[1]), pageUp(a[2])-pageUp(a[1]))
		case op.Result.Val != a[0] && flags&mremapFixed == 0:
			to = op.Result.Val
			r.makeRoom(t, m, to, a[2])
			flags |= mremapFixed | mremapMayMove
		}
	}
	got, err := m.Mremap(t, a[0], a[1], a[2], flags, to)
	if err == 0 {
		r.show(t, m, a[0], a[1])
		r.show(t, m, got, a[2])
	}
	return got, err
}

func pageUp(n uint64) uint64 { return (n + mm.PageSize - 1) &^ (mm.PageSize - 1) }

// defaultBrk is where the heap of a hand-written trace starts.
const defaultBrk = 0x555555560000

// brk moves the end of the heap. The first call that the trace shows says where
// the heap is.
func (r *runner) brk(t *sim.Task, th *thread, op *traces.Op) uint64 {
	p, addr := th.proc, op.A[0]
	recorded := op.Result.Kind == traces.ResultOK
	if !p.brkSet {
		p.brkSet = true
		start := uint64(defaultBrk)
		switch {
		case recorded && addr == 0:
			start = op.Result.Val
		case recorded && op.Result.Val == addr:
			start = addr &^ (mm.PageSize - 1)
		}
		p.mm.SetBrk(start)
		p.brkStart = start
	}
	if cur := p.mm.Brk(t, 0); recorded && addr == op.Result.Val && addr > cur {
		r.makeRoom(t, p.mm, pageUp(cur), pageUp(addr)-pageUp(cur))
	}
	cur := p.mm.Brk(t, addr)
	if end := max(cur, pageUp(addr)); end > p.brkStart {
		r.show(t, p.mm, p.brkStart, end-p.brkStart)
	}
	return cur
}
