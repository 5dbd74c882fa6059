// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// fileCall performs the calls that act on what a descriptor stands for: the size
// of a file, the memory of another process. A descriptor that the trace never
// opened is somebody else's business when the trace records a success.
func (r *runner) fileCall(t *sim.Task, th *thread, op *traces.Op) (val uint64, err errno.Errno, judged bool) {
	if op.Call == traces.CallPidfdOpen {
		val, err = r.pidfdOpen(t, th, op)
		return val, err, true
	}
	d, open := th.proc.fds.m[int(int32(op.A[0]))]
	if !open && op.Result.Kind == traces.ResultOK && (op.X == nil || op.X.PID == 0) {
		r.notModelled(op.Call.String())
		return 0, 0, false
	}
	switch op.Call {
	case traces.CallFtruncate:
		err = r.ftruncate(t, d, open, op)
	case traces.CallFallocate:
		err = r.fallocate(t, d, open, op)
	default:
		val, err = r.processMadvise(t, d, open, op)
		judged = op.X == nil || !op.X.Abbreviated
		return val, err, judged
	}
	return 0, err, true
}

// ftruncate changes the size of a file. Captures do not show how files came to
// their sizes, so only a memfd's becomes known there.
//
// Errors: EBADF, EINVAL.
//
// Kernel: do_sys_ftruncate, fs/open.c.
func (r *runner) ftruncate(t *sim.Task, d descriptor, open bool, op *traces.Op) errno.Errno {
	switch {
	case !open:
		return errno.EBADF
	case d.f.file == nil:
		return errno.EINVAL
	}
	return r.sys.Truncate(t, d.f.file, op.A[1], !r.captured || d.f.file.Shmem)
}

// fallocate changes the room of a file.
//
// Errors: EBADF, ENODEV, those of mm.System.Fallocate.
//
// Kernel: ksys_fallocate, fs/open.c.
func (r *runner) fallocate(t *sim.Task, d descriptor, open bool, op *traces.Op) errno.Errno {
	switch {
	case !open:
		return errno.EBADF
	case d.f.file == nil:
		return errno.ENODEV
	}
	return r.sys.Fallocate(t, d.f.file, uint32(op.A[1]), op.A[2], op.A[3])
}

// pidfdOpen makes a descriptor that stands for a process.
//
// Errors: EINVAL for flags and numbers that are none, ESRCH.
//
// Kernel: pidfd_open, kernel/pid.c.
func (r *runner) pidfdOpen(t *sim.Task, th *thread, op *traces.Op) (uint64, errno.Errno) {
	const nonblock, thread = 0o4000, 0o200
	if op.A[1]&^uint64(nonblock|thread) != 0 || int32(op.A[0]) <= 0 {
		return 0, errno.EINVAL
	}
	p := r.findProcess(int(int32(op.A[0])))
	if p == nil {
		return 0, errno.ESRCH
	}
	return r.install(t, th, op, descriptor{&openFile{proc: p}, true}), 0
}

// maxIovecs is UIO_MAXIOV.
const maxIovecs = 1024

// processMadvise gives advice about the memory of the process behind a pidfd: the
// one that the descriptor stands for, or that strace names behind it.
//
// Errors: EINVAL, EBADF, ESRCH for a process that is gone.
//
// Kernel: process_madvise, mm/madvise.c.
func (r *runner) processMadvise(t *sim.Task, d descriptor, open bool, op *traces.Op) (uint64, errno.Errno) {
	var iov []traces.Range
	p := (*process)(nil)
	if op.X != nil {
		iov = op.X.Iovecs
		p = r.findProcess(op.X.PID)
	}
	if open && d.f.proc != nil {
		p = d.f.proc
	}
	switch {
	case op.A[4] != 0 || op.A[2] > maxIovecs:
		return 0, errno.EINVAL
	case !open && (op.X == nil || op.X.PID == 0), open && d.f.proc == nil:
		return 0, errno.EBADF
	case p == nil || p.dead:
		return 0, errno.ESRCH
	}
	var pieces []mm.Extent
	seen := uint64(0) // bytes that the record has in the pieces so far
	for _, v := range iov[:min(uint64(len(iov)), op.A[2])] {
		pieces = append(pieces, mm.Extent{Addr: v.Start, Len: v.Size})
		seen += v.Size
		if op.Result.Kind == traces.ResultOK && seen <= op.Result.Val {
			r.ambient(t, p.mm, v.Start, v.Size)
		}
	}
	m := p.mm
	if !m.GetNotZero(t) {
		return 0, errno.ESRCH
	}
	done, err := m.ProcessMadvise(t, pieces, int(int32(op.A[3])))
	m.Put(t)
	return done, err
}
