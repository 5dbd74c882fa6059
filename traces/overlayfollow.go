// SPDX-License-Identifier: MIT

package traces

import (
	"errors"
	"io"
	"slices"
)

// follower reads a trace and keeps the address space of every process of it, by the recorded results: what a call
// in two parts gives counts from its second half on, what it takes away is in doubt from its first half on.
//
// Memory: per live task and live mapping, not per line; and a few words for each process that ever was.
type follower struct {
	d   *decoder
	r   *Reader
	now uint64 // lines with a task so far

	threads map[*task]*thread
	procs   []*proc // in order of birth, dead ones too
	cloning []*cloning
	births  map[uint64]uint64 // first line of a child that came before its clone returned → line of the clone
	settled bool              // births is complete: this is not the first pass
	// misjudged says that a child was taken for another clone's, so that nothing that was followed can be relied on.
	misjudged bool
	min       uint64 // see space.min
	fdAbove   uint64 // what the trace uses of descriptors from firstFD on is below this
}

// proc is one thread group.
type proc struct {
	threads []*thread // live ones, in order of birth
	space   *space    // nil when it is dead
	base    uint64    // space.area when this process began to use it
	score   uint64    // once it is dead: eligible pages × lines
	start   uint64    // line of its birth or of its last execve
	end     uint64    // line that ends it; 0: none does
	fits    bool      // see space.fits
	usesKFD bool      // it has a KFD process of its own
}

type thread struct {
	task    *task
	proc    *proc
	born    uint64
	leaving bool // inside exit or exit_group
}

// cloning is a clone in flight.
type cloning struct {
	by    *thread
	task  *task
	line  uint64
	flags uint64
	child *task // what came to life before it returned
}

// firstFD is the first label for a descriptor of our own.
const firstFD = 900

const (
	cloneThread = 0x10000
	sigkill     = 9
)

func newFollower(name string, r io.Reader, births map[uint64]uint64, min uint64) *follower {
	f := &follower{d: newDecoder(name, false), r: NewReader(name, r), threads: map[*task]*thread{}, births: births,
		settled: births != nil, min: min, fdAbove: firstFD}
	if births == nil {
		f.births = map[uint64]uint64{}
	}
	return f
}

// next reads a line without acting on it yet. Faults of the trace are collected, and known at io.EOF.
func (f *follower) next() (*Line, error) {
	for {
		l, err := f.r.Next()
		var bad *Error
		switch {
		case err == nil && len(f.d.errs) < maxErrors:
			return l, nil
		case err == nil || err == io.EOF:
			return nil, f.eof()
		case !errors.As(err, &bad):
			return nil, err
		}
		f.d.errs = append(f.d.errs, bad)
		if len(f.d.errs) >= maxErrors {
			return nil, f.eof()
		}
	}
}

func (f *follower) eof() error {
	if len(f.d.errs) == 0 {
		f.d.finish()
	}
	if len(f.d.errs) > 0 {
		return f.d.errs
	}
	return io.EOF
}

// hasTask says whether l is something that a task did or that happened to it.
func (l *Line) hasTask() bool {
	switch l.Kind {
	case LineBlank, LineComment, LineDirective, LineNote:
		return false
	}
	return true
}

// follow acts on the line that next returned.
func (f *follower) follow(l *Line) {
	d := f.d
	d.line = l
	d.op = Op{}
	var t *task
	if l.hasTask() {
		f.now++
		t = d.taskOf(l)
	}
	if fault := d.decodeLine(l); fault != nil {
		d.fail(l.Num, fault.off+1, fault.what, fault.why)
	}
	if t == nil || len(d.errs) > 0 {
		return
	}
	if l.Kind == LineResumed && l.Prefix != PrefixNone {
		t = d.tasks[l.TID] // the first task may have got its number by this very line
	}
	th := f.threadOf(t)
	o := &d.op
	if l.Kind == LineResumed && l.Closed {
		th.proc.space.unhold(t)
	}
	if o.Call == CallNone {
		return
	}
	f.noteFDs(th, o)
	if l.Kind == LineUnfinished {
		f.begin(th, o)
	} else {
		f.apply(th, o)
	}
}

// threadOf finds the thread of a task, and brings it to life if its own line is the first to show it.
func (f *follower) threadOf(t *task) *thread {
	if th := f.threads[t]; th != nil {
		return th
	}
	if len(f.procs) == 0 {
		return f.born(t, f.newProc(&space{min: f.min, since: f.now}))
	}
	// Its clone has not returned yet; which one it is, only the first pass has to guess.
	for _, c := range f.cloning {
		if line, ok := f.births[f.now]; c.child == nil && (!f.settled || !ok || line == c.line) {
			c.child = t
			return f.child(t, c.by.proc, c.flags)
		}
	}
	return f.born(t, f.procs[0]) // attached in the middle
}

func (f *follower) newProc(s *space) *proc {
	p := &proc{space: s, base: s.pass(f.now), start: f.now, fits: s.fits}
	f.procs = append(f.procs, p)
	return p
}

func (f *follower) born(t *task, p *proc) *thread {
	if p.space == nil { // attached, and the first process is gone
		p.space = &space{min: f.min, since: f.now}
		p.base = 0
	}
	th := &thread{task: t, proc: p, born: f.now}
	f.threads[t] = th
	p.threads = append(p.threads, th)
	return th
}

// child brings the child of a clone to life.
func (f *follower) child(t *task, parent *proc, flags uint64) *thread {
	switch {
	case flags&cloneThread != 0:
		return f.born(t, parent)
	case parent.space == nil: // it was killed inside its clone
		return f.born(t, f.newProc(&space{min: f.min, since: f.now}))
	case flags&cloneVM != 0:
		return f.born(t, f.newProc(parent.space))
	}
	return f.born(t, f.newProc(parent.space.fork(f.now)))
}

// begin acts on the first half of a call.
func (f *follower) begin(th *thread, o *Op) {
	switch o.Call {
	case CallClone:
		f.cloning = slices.DeleteFunc(f.cloning, func(c *cloning) bool { return c.task == th.task })
		f.cloning = append(f.cloning, &cloning{by: th, task: th.task, line: f.now, flags: o.A[0]})
	case CallExit, CallExitGroup, CallKill:
		o.Result = Result{}
		f.apply(th, o)
	default:
		th.proc.space.begun(th.task, o)
	}
}

// apply acts on a call that has returned, or on the end of a task.
func (f *follower) apply(th *thread, o *Op) {
	switch o.Call {
	case CallClone:
		f.cloned(th, o)
	case CallExecve:
		if o.Result.Kind == ResultOK {
			f.executed(th)
		}
	case CallExit:
		th.leaving = true
		if !slices.ContainsFunc(th.proc.threads, func(x *thread) bool { return !x.leaving }) {
			th.proc.endsBy(f.now)
		}
	case CallExitGroup:
		th.leaving = true
		th.proc.endsBy(f.now)
	case CallKill:
		if victim := f.d.tasks[int(int32(o.A[0]))]; o.A[1] == sigkill && o.Result.Kind != ResultErr && f.threads[victim] != nil {
			f.threads[victim].proc.endsBy(f.now)
		}
	case CallExited, CallKilled:
		f.died(th, o.Call == CallKilled)
	default:
		th.proc.space.returned(o, f.now)
		th.proc.fits = th.proc.fits || th.proc.space.fits
	}
}

func (p *proc) endsBy(line uint64) {
	if p.end == 0 {
		p.end = line
	}
}

// cloned acts on a clone that returned.
func (f *follower) cloned(th *thread, o *Op) {
	var early *cloning
	if i := slices.IndexFunc(f.cloning, func(c *cloning) bool { return c.task == th.task }); i >= 0 {
		early = f.cloning[i]
		f.cloning = slices.Delete(f.cloning, i, i+1)
	}
	if o.Result.Kind != ResultOK {
		return
	}
	t := f.d.tasks[int(o.Result.Val)]
	if t == nil {
		return
	}
	if c := f.threads[t]; c != nil {
		if early != nil && !f.settled {
			f.births[c.born] = early.line
			f.misjudged = f.misjudged || early.child != t
		}
		return
	}
	f.child(t, th.proc, o.A[0])
}

// executed gives the process a new address space, and ends its other threads.
func (f *follower) executed(th *thread) {
	p := th.proc
	for _, x := range p.threads {
		if x != th {
			delete(f.threads, x.task)
		}
	}
	p.threads = append(p.threads[:0], th)
	p.space = &space{min: f.min, since: f.now}
	p.base, p.start, p.end, p.fits, p.usesKFD = 0, f.now, 0, false, false
}

// died ends a thread, and with the last one its process.
func (f *follower) died(th *thread, killed bool) {
	p := th.proc
	delete(f.threads, th.task)
	p.threads = slices.DeleteFunc(p.threads, func(x *thread) bool { return x == th })
	p.space.unhold(th.task)
	if killed || len(p.threads) == 0 {
		p.endsBy(f.now)
	}
	if len(p.threads) == 0 {
		p.score = p.space.pass(f.now) - p.base
		p.space = nil
	}
}

// noteFDs keeps our own labels clear of the trace's descriptors, and finds who uses KFD already.
func (f *follower) noteFDs(th *thread, o *Op) {
	use := func(fd uint64) {
		if fd >= f.fdAbove && fd < 1<<30 {
			f.fdAbove = fd + 1
		}
	}
	made := func() {
		if o.Result.Kind == ResultOK {
			use(o.Result.Val)
		}
	}
	switch o.Call {
	case CallMmap:
		use(o.A[4])
	case CallOpenat:
		made()
		th.proc.usesKFD = th.proc.usesKFD || o.X != nil && o.X.Path == "/dev/kfd"
		use(o.A[0])
	case CallMemfdCreate, CallPidfdOpen:
		made()
	case CallDup:
		made()
		use(o.A[0])
		use(o.A[1])
	case CallClose, CallFtruncate, CallFallocate, CallProcessMadvise:
		use(o.A[0])
	case CallIoctl:
		if o.X != nil && o.X.KFD != nil {
			th.proc.usesKFD = true
			use(o.A[0])
		}
	}
}

// area returns what p's eligible memory has added up to, in pages × lines.
func (p *proc) area(now uint64) uint64 {
	if p.space == nil {
		return p.score
	}
	return p.space.pass(now) - p.base
}
