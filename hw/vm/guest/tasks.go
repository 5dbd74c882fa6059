// SPDX-License-Identifier: MIT

//go:build linux && amd64

package guest

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kfdsim/kfdsim/hw/performer"
	"github.com/kfdsim/kfdsim/traces"
)

// process is a process of the trace.
type process struct {
	label    int // of its first task
	pid      int
	pidfd    int
	threads  []*thread // live ones
	parent   *process
	children []*process // that nobody has waited for
	dead     bool
	brkSet   bool
	driver   *driver
}

// thread is a task of the trace.
type thread struct {
	tid  int
	proc *process
	task *performer.Task
	dead bool
	// blocked is the call that it is in, awaits the processes of which one ends it.
	blocked *traces.Op
	awaits  []*process
	queue   []int32 // lines that came meanwhile
}

// wakes says whether what the thread waits for has happened.
func (th *thread) wakes() bool {
	return slices.ContainsFunc(th.awaits, func(p *process) bool { return p.dead })
}

// first makes the first process of the trace.
func (r *run) first() error {
	task, err := r.m.parent.Clone(uint64(unix.SIGCHLD), false)
	if err != nil {
		return err
	}
	p, err := r.newProcess(r.tr.FirstTID, task)
	if err != nil {
		return err
	}
	r.join(p, r.tr.FirstTID, task)
	if r.tr.Directives.Attach {
		r.skip = "attached captures are not performed"
		return nil
	}
	return nil
}

func (r *run) newProcess(label int, task *performer.Task) (*process, error) {
	fd, err := unix.PidfdOpen(task.PID, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open: %w", err)
	}
	p := &process{label: label, pid: task.PID, pidfd: fd}
	r.procs = append(r.procs, p)
	return p, nil
}

// join makes a task a thread of a process.
func (r *run) join(p *process, tid int, task *performer.Task) {
	th := &thread{tid: tid, proc: p, task: task}
	p.threads = append(p.threads, th)
	r.threads[tid] = th
}

// threadFlags are those of pthread_create, as far as they matter.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM

// clone makes a task. A child that the trace does not name is not made.
func (r *run) clone(th *thread, op *traces.Op) error {
	label := int(op.Result.Val)
	if op.Result.Kind != traces.ResultOK && op.Result.Kind != traces.ResultUnknown || label <= 0 {
		return nil
	}
	flags := op.A[0] & (threadFlags | unix.CLONE_VFORK | unix.CLONE_PARENT | 0xff)
	vfork := flags&unix.CLONE_VFORK != 0
	task, err := th.task.Clone(flags, vfork)
	if err != nil {
		return err
	}
	if flags&unix.CLONE_THREAD != 0 {
		r.join(th.proc, label, task)
		return nil
	}
	p, err := r.newProcess(label, task)
	if err != nil {
		return err
	}
	p.parent, p.brkSet = th.proc, th.proc.brkSet
	if flags&unix.CLONE_VM != 0 {
		p.driver = th.proc.driver
	}
	th.proc.children = append(th.proc.children, p)
	r.join(p, label, task)
	if vfork {
		th.awaits = []*process{p}
		return errBlocked
	}
	return nil
}

// execve starts the process afresh.
func (r *run) execve(th *thread) error {
	p := th.proc
	for _, x := range slices.Clone(p.threads) {
		if x != th {
			x.dead = true
			x.task.Forget()
		}
	}
	p.threads = []*thread{th}
	if err := th.task.Execve(); err != nil {
		return err
	}
	p.brkSet, p.driver = false, nil
	for _, x := range r.waiting {
		if slices.Contains(x.awaits, p) && x.blocked.Call == traces.CallClone {
			x.task.Wait(patience)
		}
	}
	return nil
}

// exit ends a thread; the last one takes the process with it.
func (r *run) exit(th *thread) error {
	p := th.proc
	if len(p.threads) == 1 {
		return r.exitGroup(th)
	}
	const tidOffset = 0x8000
	// The kernel clears the word when the thread has left the memory.
	th.task.Buf()[tidOffset] = 1
	if _, err := th.task.Call(unix.SYS_SET_TID_ADDRESS, th.task.BufAddr()+tidOffset); err != nil {
		return err
	}
	th.task.Begin(unix.SYS_EXIT, 0)
	if err := th.task.AwaitClear(tidOffset); err != nil {
		return err
	}
	th.dead = true
	p.threads = slices.DeleteFunc(p.threads, func(x *thread) bool { return x == th })
	th.task.Forget()
	return nil
}

func (r *run) exitGroup(th *thread) error {
	if len(th.proc.threads) > 1 {
		r.dying = th.proc // the memory goes with the last one, not with this line
		return nil
	}
	th.task.Begin(unix.SYS_EXIT_GROUP, 0)
	return r.died(th.proc)
}

// died waits until a process is dead and notes it.
func (r *run) died(p *process) error {
	if p.dead {
		return nil
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}, 20000)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("process %d does not die: %v", p.label, err)
		}
		break
	}
	p.dead = true
	for _, th := range p.threads {
		th.dead = true
		th.task.Forget()
	}
	p.threads = nil
	return nil
}

// findProcess returns the live process of a label.
func (r *run) findProcess(label int) *process {
	for _, p := range r.procs {
		if p.label == label && !p.dead {
			return p
		}
	}
	return nil
}

// processOf returns the process of a task's label, dead ones too until they are
// waited for.
func (r *run) processOf(label int) *process {
	if th := r.threads[label]; th != nil {
		return th.proc
	}
	return nil
}

func (r *run) kill(op *traces.Op) error {
	if op.A[1] != uint64(unix.SIGKILL) {
		return nil
	}
	p := r.findProcess(int(int64(op.A[0])))
	if p == nil {
		return unix.ESRCH
	}
	// The call does not wait for the victim, which ends before the next line.
	r.dying = p
	return nil
}

// wait4 waits for a child. One whose end the trace does not show is killed.
func (r *run) wait4(th *thread, i int32, op *traces.Op) error {
	want := int64(op.A[0])
	switch {
	case op.Result.Kind == traces.ResultOK && op.Result.Val > 0:
		want = int64(op.Result.Val)
	case op.Result.Kind == traces.ResultOK, op.Result.Kind == traces.ResultUnknown:
		return nil
	}
	var of []*process
	pid := ^uint64(0)
	for _, c := range th.proc.children {
		if want <= 0 || int64(c.label) == want {
			of = append(of, c)
		}
	}
	if want > 0 {
		pid = 1 << 30 // no child
		if len(of) > 0 {
			pid = uint64(of[0].pid)
			if !of[0].dead && op.Result.Kind == traces.ResultOK && !r.actsAfter(of[0], i) {
				unix.Kill(of[0].pid, unix.SIGKILL)
				if err := r.died(of[0]); err != nil {
					return err
				}
			}
		}
	}
	th.task.Begin(unix.SYS_WAIT4, pid, 0, op.A[2], 0)
	if len(of) > 0 && op.A[2]&unix.WNOHANG == 0 && !slices.ContainsFunc(of, func(p *process) bool { return p.dead }) {
		th.awaits = of
		return errBlocked
	}
	got, err := th.task.Wait(patience)
	th.proc.children = slices.DeleteFunc(th.proc.children, func(p *process) bool { return uint64(p.pid) == got })
	return err
}

// actsAfter says whether a task of p has lines behind i.
func (r *run) actsAfter(p *process, i int32) bool {
	for k := int(i) + 1; k < len(r.tr.Ops); k++ {
		if th := r.threads[r.tr.Ops[k].TID]; th != nil && th.proc == p && r.tr.Ops[k].Call != traces.CallResume {
			return true
		}
	}
	return false
}

// isDevice says what a path opens.
func isDevice(path string) (kfd, render bool) {
	return path == "/dev/kfd", strings.HasPrefix(path, "/dev/dri/renderD")
}
