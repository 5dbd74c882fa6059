// SPDX-License-Identifier: MIT

package model

import (
	"slices"
	"strconv"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// process is a thread group: one address space, one set of children.
type process struct {
	label    int // of its first task
	mm       *mm.MM
	brkSet   bool // the heap's start is known: brkStart, bytes
	brkStart uint64
	fds      *fdTable
	threads  []*thread // live ones
	parent   *process
	children []*process // dead ones until they are waited for
	dead     bool
	victim   bool          // of the OOM killer
	changed  sim.WaitQueue // children died, or this one left its parent's mm
	vfork    bool          // borrows the parent's mm until exec or exit
	labels   kfdLabels
}

// thread is a task of the trace.
type thread struct {
	r     *runner
	tid   int
	life  int
	proc  *process
	task  *sim.Task
	queue []int32 // ops to perform, in order
	at    int     // the op that it performs, -1 between two
	idle  bool    // waits for its turn
	dead  bool
	// inKernel says that the call it is in cannot be a wait for another task: to
	// be blocked there when everything has come to rest means stuck.
	inKernel bool
}

func (th *thread) name() string { return strconv.Itoa(th.tid) }

func (th *thread) killed() bool { return th.task.Killed() }

// newProcess makes a process without threads.
func (r *runner) newProcess(label int, m *mm.MM) *process {
	p := &process{label: label, mm: m, fds: r.newFDTable(map[int]descriptor{})}
	p.changed.Init(r.s, "wait_chldexit")
	r.procs = append(r.procs, p)
	r.nprocs++
	return p
}

// addThread starts a task in the process.
func (p *process) addThread(th *thread) {
	th.proc = p
	p.threads = append(p.threads, th)
	th.task = th.r.s.Go(th.name(), th.run)
}

// run performs the thread's lines until it dies.
func (th *thread) run(t *sim.Task) {
	for {
		i := th.next(t)
		if i < 0 {
			break
		}
		th.r.perform(t, th, i)
	}
	if !th.dead {
		th.exit(t)
	}
}

// kill makes the thread exit as soon as it can.
func (th *thread) kill() {
	th.task.Kill()
	if th.idle {
		th.task.Unpark()
	}
}

// exit ends the thread; the last one takes the process with it.
//
// Kernel: do_exit, kernel/exit.c.
func (th *thread) exit(t *sim.Task) {
	if th.dead {
		return
	}
	th.dead = true
	p := th.proc
	for i, x := range p.threads {
		if x == th {
			p.threads = append(p.threads[:i], p.threads[i+1:]...)
			break
		}
	}
	if len(p.threads) > 0 {
		p.changed.WakeAll(t)
		return
	}
	// exit_mm comes before exit_files.
	p.mm.Put(t)
	th.r.closeAll(p)
	p.dead = true
	p.leaveParentMM(t)
	for _, c := range p.children {
		c.parent = nil
	}
	p.changed.WakeAll(t)
	if p.parent != nil {
		p.parent.changed.WakeAll(t)
	}
}

// leaveParentMM lets the parent of a vfork go on.
func (p *process) leaveParentMM(t *sim.Task) {
	if p.vfork {
		p.vfork = false
		p.changed.WakeAll(t)
	}
}

// killOthers kills every other thread of the process.
//
// Kernel: zap_other_threads, kernel/signal.c.
func (th *thread) killOthers() {
	for _, x := range append([]*thread(nil), th.proc.threads...) {
		if x != th {
			x.kill()
		}
	}
}

// Clone flags that matter here.
const (
	cloneVM     = 0x100
	cloneFiles  = 0x400
	cloneVfork  = 0x4000
	cloneThread = 0x10000
)

// clone creates a task.
//
// Kernel: kernel_clone, kernel/fork.c.
func (r *runner) clone(t *sim.Task, th *thread, i int, op *traces.Op) (uint64, errno.Errno) {
	flags := op.A[0]
	if r.child[i] < 0 {
		// Nobody refers to the child: it does nothing and is not made.
		return 0, 0
	}
	c := r.lives[r.child[i]]
	if flags&cloneThread != 0 {
		th.proc.addThread(c)
		return op.Result.Val, 0
	}
	parent := th.proc
	m := parent.mm
	if flags&cloneVM != 0 {
		m.Get()
	} else {
		var err errno.Errno
		if m, err = m.DupMM(t, c.name()); err != 0 {
			return 0, err
		}
		r.inheritShown(parent.mm, m)
	}
	p := r.newProcess(c.tid, m)
	p.parent, p.brkSet, p.brkStart = parent, parent.brkSet, parent.brkStart
	parent.children = append(parent.children, p)
	if flags&cloneFiles != 0 {
		p.fds = parent.fds
		p.fds.users++
	} else {
		p.fds = r.dup(parent.fds)
	}
	p.vfork = flags&cloneVfork != 0
	p.addThread(c)
	if !r.hasLines(c) && p.vfork {
		c.kill() // strace did not follow it: it came and went
	}
	t.Rest(func() { p.changed.WaitEventKillable(t, func() bool { return !p.vfork || p.dead }) })
	return op.Result.Val, 0
}

// hasLines says whether the trace shows anything that a task does from now on.
func (r *runner) hasLines(th *thread) bool {
	if len(th.queue) > 0 {
		return true
	}
	if !r.recorded && r.window == nil {
		return false
	}
	for i := r.cursor; i < len(r.owner); i++ {
		if r.owner[i] == int32(th.life) {
			return true
		}
	}
	return false
}

// execve gives the process an empty address space.
//
// Kernel: begin_new_exec, fs/exec.c.
func (r *runner) execve(t *sim.Task, th *thread) errno.Errno {
	p := th.proc
	th.killOthers()
	// de_thread: nobody else uses the old address space.
	p.changed.WaitEvent(t, func() bool { return len(p.threads) <= 1 })
	old := p.mm
	p.mm = r.sys.NewMM(th.name())
	p.brkSet = false
	p.labels = kfdLabels{}
	p.leaveParentMM(t)
	old.Put(t)
	r.closeOnExec(p)
	return 0
}

// exitGroup ends every thread of the process.
//
// Kernel: do_group_exit, kernel/exit.c.
func (th *thread) exitGroup(t *sim.Task) {
	th.killOthers()
	th.exit(t)
}

// wait4 waits for a child to die and forgets it.
//
// Errors: ECHILD without such a child.
//
// Kernel: kernel_wait4, kernel/exit.c.
func (r *runner) wait4(t *sim.Task, th *thread, op *traces.Op) (uint64, errno.Errno) {
	const wnohang = 1
	want := int64(op.A[0])
	switch {
	case op.Result.Kind == traces.ResultOK && op.Result.Val > 0:
		want = int64(op.Result.Val)
	case op.Result.Kind == traces.ResultOK, op.Result.Kind == traces.ResultUnknown:
		return 0, 0 // WNOHANG that found nobody; a wait that a signal ended
	}
	for first := true; !t.Killed(); first = false {
		found := false
		for k, c := range th.proc.children {
			if want > 0 && int64(c.label) != want {
				continue
			}
			found = true
			if !c.dead && op.Result.Kind == traces.ResultOK && op.Result.Val > 0 && !r.processHasLines(c) {
				for _, x := range c.threads {
					x.kill() // its end is not in the trace
				}
			}
			if c.dead && (!first || !t.Preemptive()) {
				th.proc.children = append(th.proc.children[:k], th.proc.children[k+1:]...)
				return uint64(c.label), 0
			}
		}
		if !found {
			return 0, errno.ECHILD
		}
		if op.A[2]&wnohang != 0 && op.Result.Kind != traces.ResultOK {
			return 0, 0
		}
		if t.Preemptive() {
			t.Rest(func() { th.proc.changed.WaitEventKillable(t, func() bool { return th.proc.hasDead(want) }) })
		} else {
			t.Rest(func() { th.proc.changed.SleepKillable(t) })
		}
	}
	return 0, errno.EINTR
}

// hasDead says whether a child has died that wait4 would return: any for label 0 or
// less.
func (p *process) hasDead(label int64) bool {
	return slices.ContainsFunc(p.children, func(c *process) bool { return c.dead && (label <= 0 || int64(c.label) == label) })
}

func (r *runner) processHasLines(p *process) bool {
	for _, th := range p.threads {
		if r.hasLines(th) {
			return true
		}
	}
	return false
}

// killProcess is kill(label, SIGKILL).
//
// Errors: ESRCH when there is no such process.
func (r *runner) killProcess(t *sim.Task, th *thread, label int) errno.Errno {
	p := r.findProcess(label)
	if p == nil {
		return errno.ESRCH
	}
	p.kill()
	return 0
}

// findProcess returns the live process of a label, nil if there is none.
func (r *runner) findProcess(label int) *process {
	for _, p := range r.procs {
		if p != nil && !p.dead && p.label == label {
			return p
		}
	}
	return nil
}

// kill makes every thread of the process exit as soon as it can.
func (p *process) kill() {
	for _, x := range append([]*thread(nil), p.threads...) {
		x.kill()
	}
}
