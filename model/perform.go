// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"strconv"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// perform does one line of the trace and compares what comes of it with what the
// trace records.
func (r *runner) perform(t *sim.Task, th *thread, i int) {
	op := &r.tr.Ops[i]
	r.lines++
	if r.takeOver(th, op) {
		r.rep.TakenOver++
		return
	}
	if th.proc != nil {
		th.proc.fds.access(t, sim.KindRead)
	}
	val, err, judged := r.call(t, th, i, op)
	if judged && r.err == nil && r.unsupported == "" && !t.Killed() {
		r.compare(op, val, err)
	}
	if !t.Killed() {
		r.observe(op, val, err, judged)
	}
}

// maxSleep is the longest sleep in milliseconds: virtual time must not run over.
const maxSleep = 365 * 24 * 60 * 60 * 1000

// call performs the op. judged is false for lines that have no result to compare.
func (r *runner) call(t *sim.Task, th *thread, i int, op *traces.Op) (val uint64, err errno.Errno, judged bool) {
	switch op.Call {
	case traces.CallExited, traces.CallKilled, traces.CallExit:
		th.exit(t)
		return 0, 0, false
	case traces.CallExitGroup:
		th.exitGroup(t)
		return 0, 0, false
	case traces.CallSuperseded:
		return 0, 0, false
	case traces.CallClone:
		val, err = r.clone(t, th, i, op)
	case traces.CallExecve:
		err = r.execve(t, th)
	case traces.CallWait4:
		val, err = r.wait4(t, th, op)
	case traces.CallKill:
		err = r.kill(t, th, op)
	case traces.CallOpenat:
		val, err = r.openat(t, th, op)
	case traces.CallMemfdCreate:
		val, err = r.memfdCreate(t, th, op)
	case traces.CallClose:
		err = r.closeFD(t, th, op)
	case traces.CallDup:
		val, err = r.dupFD(t, th, op)
	case traces.CallIoctl:
		return r.ioctl(t, th, op)
	case traces.CallSleep:
		if op.A[0] > maxSleep {
			r.fail(op, "sleep of "+strconv.FormatUint(op.A[0], 10)+" ms", "a year is the longest")
			return 0, 0, false
		}
		t.Sleep(sim.Time(op.A[0]) * sim.Millisecond)
	case traces.CallBarrier:
		r.barrier(t, th, op)
	case traces.CallDump:
		r.dump(th, op)
	case traces.CallMMKhugepaged:
		r.sys.Khugepaged(t)
	case traces.CallMMReclaim:
		r.sys.Reclaim(t, op.A[0])
	case traces.CallPidfdOpen, traces.CallProcessMadvise, traces.CallFtruncate, traces.CallFallocate:
		return r.fileCall(t, th, op)
	case traces.CallMMOOMReap:
		err = r.oomReap(t, op)
	case traces.CallGPURead, traces.CallGPUWrite, traces.CallGPUWait:
		return r.gpuAccess(t, th, op)
	default:
		return r.memoryCall(t, th, op)
	}
	return val, err, true
}

// takeOver says that a recorded failure is taken as it is, without being
// performed: a capture's limits, seccomp filters and kernel version are not in
// the trace, and a call that failed there has changed nothing. Hand-written
// traces (no times, no calls that mean nothing) are performed always.
//
// Simplified: model/FIDELITY.md R-FAILURES.
func (r *runner) takeOver(th *thread, op *traces.Op) bool {
	if op.Result.Kind == traces.ResultOK && op.Call == traces.CallClone && op.Result.Val == 0 {
		return true // the child's own return from clone, as some tracers print it
	}
	if op.Result.Kind != traces.ResultErr {
		return false
	}
	retried := op.Result.Errno == int32(errno.EAGAIN) || op.Result.Errno == int32(errno.EINTR)
	switch op.Call {
	case traces.CallIoctl:
		if retried {
			return true // the performer repeats it; the trace shows the repetition
		}
	case traces.CallOpenat, traces.CallExecve, traces.CallMemfdCreate, traces.CallClone:
		return true // which files exist, and what limits hold, only the record knows
	}
	if !r.captured || op.Call >= traces.CallCPURead {
		return false
	}
	switch op.Call {
	case traces.CallMadvise, traces.CallMprotect:
		return r.coveredByVMAs(th.proc.mm, op.A[0], op.A[1]) // over a hole they act on the rest
	}
	return true
}

// compare notes a result that the trace records otherwise. Labels (tasks,
// descriptors, handles) are not compared: each stands for what this run
// returned.
func (r *runner) compare(op *traces.Op, val uint64, err errno.Errno) {
	want := &op.Result
	switch want.Kind {
	case traces.ResultErr:
		if int32(err) != want.Errno {
			r.differ(op, gotText(val, err), errno.Errno(want.Errno).String())
		}
	case traces.ResultOK:
		if err != 0 || (hasValue(op.Call) && val != want.Val) {
			r.differ(op, gotText(val, err), fmt.Sprintf("%#x", want.Val))
		}
	case traces.ResultBytes:
		if err != 0 {
			r.differ(op, gotText(val, err), recordedText(op.X.Data))
		}
	}
}

// hasValue says whether the result is an address or a count that must agree.
func hasValue(c traces.Call) bool {
	switch c {
	case traces.CallMmap, traces.CallMremap, traces.CallBrk, traces.CallProcessMadvise:
		return true
	}
	return false
}

func gotText(val uint64, err errno.Errno) string {
	if err != 0 {
		return err.String()
	}
	return fmt.Sprintf("%#x", val)
}

// compared says whether what the trace records must come out. The record is of one
// order of the lines; where several tasks run in another one, other results are no
// difference.
func (r *runner) compared() bool {
	return !r.failing && (r.recorded && r.window == nil || len(r.lives) == 1)
}

// callName names a call for a report; an ioctl by its request.
func callName(op *traces.Op) string {
	if op.Call == traces.CallIoctl && op.X != nil && op.X.KFD != nil {
		return traces.IoctlName(op.X.KFD.NR)
	}
	return op.Call.String()
}

// maxDifferences bounds what is listed; the first decides.
const maxDifferences = 20

func (r *runner) differ(op *traces.Op, got, want string) {
	if r.compared() && len(r.differs) < maxDifferences {
		r.differs = append(r.differs, Difference{op.Line, callName(op), got, want})
	}
}

// fail ends the run because the trace asks for what cannot be done.
func (r *runner) fail(op *traces.Op, what, why string) {
	if r.err == nil {
		r.err = &traces.Error{File: r.tr.Name, Line: op.Line, Col: 1, What: what, Why: why}
		r.s.Stop()
	}
}

// cannot ends the run because the machine or the design cannot do what the trace
// asks for.
func (r *runner) cannot(op *traces.Op, why string) {
	if r.unsupported == "" {
		r.unsupported = fmt.Sprintf("line %d: %s: %s", op.Line, op.Call, why)
		r.s.Stop()
	}
}

// kill performs kill(2); only SIGKILL means something.
func (r *runner) kill(t *sim.Task, th *thread, op *traces.Op) errno.Errno {
	const sigkill = 9
	if op.A[1] != sigkill {
		return 0
	}
	return r.killProcess(t, th, int(int64(op.A[0])))
}

// barrier is where every task that names it waits for the others.
type barrier struct {
	lives   []int // that name it
	arrived map[int]int
	wait    sim.WaitQueue
}

// countBarriers finds out who meets where.
func (r *runner) countBarriers() {
	for i := range r.tr.Ops {
		op := &r.tr.Ops[i]
		if op.Call != traces.CallBarrier {
			continue
		}
		b := r.barriers[op.X.Name]
		if b == nil {
			b = &barrier{arrived: map[int]int{}}
			b.wait.Init(r.s, "barrier")
			r.barriers[op.X.Name] = b
		}
		life := int(r.owner[i])
		known := false
		for _, l := range b.lives {
			known = known || l == life
		}
		if !known {
			b.lives = append(b.lives, life)
		}
	}
}

// barrier waits until every task that names the barrier has come as often as
// this one, or is dead.
func (r *runner) barrier(t *sim.Task, th *thread, op *traces.Op) {
	b := r.barriers[op.X.Name]
	b.arrived[th.life]++
	round := b.arrived[th.life]
	b.wait.WakeAll(t)
	t.Rest(func() { b.wait.WaitEventKillable(t, func() bool { return r.allArrived(b, round) }) })
}

func (r *runner) allArrived(b *barrier, round int) bool {
	for _, l := range b.lives {
		if b.arrived[l] < round && !r.lives[l].dead {
			return false
		}
	}
	return true
}
