// SPDX-License-Identifier: MIT

//go:build linux && amd64

package guest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kfdsim/kfdsim/hw/performer"
	"github.com/kfdsim/kfdsim/traces"
)

// machine is the guest.
type machine struct {
	kernel string
	area   *performer.Area
	// parent is the process that the first process of every trace is forked from.
	parent *performer.Task
	log    int // descriptor of the observer
	events []byte
	runs   uint64 // traces so far, in the tags of ranges
	lines  int
	own    []byte // a page of this program
}

func newMachine() (*machine, error) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	m := &machine{kernel: "Linux " + strings.TrimSpace(string(release)), events: make([]byte, 256*eventSize)}
	if m.own, err = unix.Mmap(-1, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return nil, err
	}
	if m.log, err = openLog(); err != nil {
		return nil, err
	}
	if m.area, err = performer.New(program); err != nil {
		return nil, err
	}
	m.parent, err = m.area.Start()
	return m, err
}

// settle lets the processor forget the pages that it holds for a while: batches of
// pages on their way to an LRU list or from mlock have references, and a page with one
// more than its mappings is copied, not used again. How many there are depends on
// what ran before.
//
// Kernel: lru_add_drain, mm/swap.c, which madvise_cold calls.
func (m *machine) settle() error { return unix.Madvise(m.own, unix.MADV_COLD) }

// run is one trace.
type run struct {
	m   *machine
	tr  *traces.Trace
	obs traces.Observer
	// threads are the tasks that a label stands for now.
	threads map[int]*thread
	procs   []*process // all there were, in order of creation
	ranges  []*userRange
	applied map[int32]bool // unfinished calls that have begun
	pending []int32        // and those that have not
	waiting []*thread      // tasks that are in a call that blocks
	dying   *process       // to be killed before the next line
	skip    string
}

// errSkip ends a run because the guest cannot do what the trace asks for.
var errSkip = errors.New("skip")

// perform performs a trace. The error means that the guest itself is in trouble.
func (m *machine) perform(tr *traces.Trace) (*traces.Outcome, error) {
	m.runs++
	r := &run{m: m, tr: tr, threads: map[int]*thread{}, applied: map[int32]bool{}}
	var err error
	if r.skip, err = m.needs(tr); err != nil {
		return nil, err
	}
	if r.skip == "" {
		if err := r.all(); err != nil {
			return nil, err
		}
	}
	o := r.obs.Outcome(tr, m.kernel)
	if r.skip != "" {
		o.Steps, o.Skipped = nil, r.skip
	}
	return o, nil
}

// all performs every line, and ends what is left.
func (r *run) all() error {
	if err := r.first(); err != nil {
		return err
	}
	for i := range r.tr.Ops {
		err := r.line(int32(i))
		if err == errSkip {
			break
		}
		if err != nil {
			r.end()
			return fmt.Errorf("line %d: %w", r.tr.Ops[i].Line, err)
		}
		if err := r.poll(); err != nil {
			return err
		}
	}
	return r.end()
}

// line performs one line, or begins it.
func (r *run) line(i int32) error {
	op := &r.tr.Ops[i]
	if op.Call == traces.CallResume {
		r.pending = slices.DeleteFunc(r.pending, func(p int32) bool { return p == op.Ref })
		if r.applied[op.Ref] {
			return nil
		}
		i, op = op.Ref, &r.tr.Ops[op.Ref]
	} else if op.Phase == traces.Unfinished && op.Call != traces.CallClone && op.Call != traces.CallExit && op.Call != traces.CallExitGroup {
		r.pending = append(r.pending, i)
		return nil // acts at its second part, or before who needs it
	}
	if err := r.needed(op); err != nil {
		return err
	}
	r.applied[i] = true
	th := r.threads[op.TID]
	if th == nil || th.dead {
		return nil
	}
	if th.blocked != nil {
		th.queue = append(th.queue, i)
		return nil
	}
	return r.act(th, i)
}

// needed performs a pending mmap of the same process whose memory the op uses.
func (r *run) needed(op *traces.Op) error {
	th := r.threads[op.TID]
	for k, p := range r.pending {
		q := &r.tr.Ops[p]
		by := r.threads[q.TID]
		if th == nil || by == nil || th.proc != by.proc || th == by || q.Call != traces.CallMmap || q.Result.Kind != traces.ResultOK || !uses(op, q.Result.Val, q.A[1]) {
			continue
		}
		r.pending = slices.Delete(r.pending, k, k+1)
		r.applied[p] = true
		return r.act(by, p)
	}
	return nil
}

// uses says whether an op touches or registers memory of [addr,addr+n).
func uses(op *traces.Op, addr, n uint64) bool {
	meets := func(a, k uint64) bool { return a < addr+n && addr < a+k }
	switch op.Call {
	case traces.CallCPURead, traces.CallCPUWrite:
		return meets(op.A[0], op.A[1])
	case traces.CallIoctl:
		if op.X.KFD != nil {
			return slices.ContainsFunc(op.X.KFD.Ranges, func(r traces.Range) bool { return meets(r.Start, r.Size) })
		}
	}
	return false
}

// act performs an op.
func (r *run) act(th *thread, i int32) error {
	op := &r.tr.Ops[i]
	r.m.lines++
	val, err := r.call(th, i, op)
	switch {
	case err == errBlocked:
		th.blocked = op
		r.waiting = append(r.waiting, th)
		return nil
	case err == errNothing:
		return nil
	}
	return r.done(op, val, err)
}

// done notes how a line ended.
func (r *run) done(op *traces.Op, val string, err error) error {
	var errno syscall.Errno
	switch {
	case err == nil:
	case errors.As(err, &errno):
		val = "-1 " + traces.ErrnoName(int(errno))
	case errors.Is(err, performer.ErrBusy):
		val = "never returns"
	default:
		return err
	}
	if err := r.drain(); err != nil {
		return err
	}
	if err := r.m.settle(); err != nil {
		return err
	}
	name := op.Call.String()
	if op.Call == traces.CallIoctl && op.X != nil && op.X.KFD != nil {
		name = traces.IoctlName(op.X.KFD.NR)
	}
	r.obs.Step(op.Line, op.TID, name, val)
	return nil
}

// poll ends who was killed, and lets go on who is blocked no more.
func (r *run) poll() error {
	if p := r.dying; p != nil {
		r.dying = nil
		if err := unix.Kill(p.pid, unix.SIGKILL); err != nil {
			return err
		}
		if err := r.died(p); err != nil {
			return err
		}
	}
	for k := 0; k < len(r.waiting); k++ {
		th := r.waiting[k]
		if th.dead {
			r.waiting = append(r.waiting[:k], r.waiting[k+1:]...)
			k--
			continue
		}
		patience := time.Duration(0)
		if th.wakes() {
			patience = 20 * time.Second
		}
		_, err := th.task.Wait(patience)
		if err == performer.ErrBusy && patience == 0 {
			continue
		}
		r.waiting = append(r.waiting[:k], r.waiting[k+1:]...)
		k--
		op := th.blocked
		th.blocked, th.awaits = nil, nil
		if err := r.done(op, "0", err); err != nil {
			return err
		}
		for len(th.queue) > 0 && th.blocked == nil && !th.dead {
			i := th.queue[0]
			th.queue = th.queue[1:]
			if err := r.act(th, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// end kills what lives, reaps it and forgets what it left in the log.
func (r *run) end() error {
	for _, p := range r.procs {
		if !p.dead {
			unix.Kill(p.pid, unix.SIGKILL)
			if err := r.died(p); err != nil {
				return err
			}
		}
	}
	if len(r.procs) > 0 {
		if _, err := r.m.parent.Call(unix.SYS_WAIT4, uint64(r.procs[0].pid), 0, 0, 0); err != nil {
			return fmt.Errorf("reaping the first process: %w", err)
		}
	}
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid <= 0 || err != nil {
			break
		}
	}
	for _, p := range r.procs {
		unix.Close(p.pidfd)
	}
	for {
		n, err := unix.Read(r.m.log, r.m.events)
		if n <= 0 || err != nil {
			return err
		}
	}
}
