// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// runner is one run: the machine, the processes of the trace and how far it is.
type runner struct {
	tr  *traces.Trace
	s   *sim.Sim
	sys *mm.System
	drv *kfd.Driver
	chk *checker
	// observer is told what comes of every line; nil if nobody wants to know.
	observer *traces.Observer

	recorded bool // lines act in file order
	failing  bool // allocations may fail that did not when the trace was recorded
	window   *lineWindow
	captured bool // strace wrote the trace, as opposed to a person

	// lives are the tasks of the trace: a label that is used again is another
	// life. owner says which life performs an op.
	lives []*thread
	owner []int32
	child []int32 // by op: the life that a clone creates, -1 for others

	cursor  int     // the next op in recorded order
	active  *thread // whose line was handed out last
	pending []int32 // unfinished calls that have not taken effect yet
	applied []bool  // by op, of unfinished calls: has taken effect
	phase   phase   // of the end of the run
	lasso   loopFinder
	// impatient says that the run went on in recorded order after too many steps.
	impatient bool

	procs    []*process // in order of creation, dead ones too until waited for
	nprocs   int
	files    map[string]*mm.File
	seen     map[*mm.MM]*phys.Map // by address space: what the trace itself mapped or unmapped
	fileList []*mm.File
	barriers map[string]*barrier

	// What the run says.
	err         error
	unsupported string
	lines       uint64
	differs     []Difference
	reads       []Read
	dumps       []string
	rep         Report
	marks       sim.Marks // when the end of the run began
}

// phase is how far the end of a run has come.
type phase uint8

const (
	phaseLines   phase = iota // lines are left
	phaseSettled              // all lines done, everything has come to rest
	phaseKilled               // every process was killed
)

// Defaults of the simulated machine.
const (
	defaultRAM  = 128 << 30
	defaultSwap = 128 << 30
)

func machineConfig(d *traces.Directives) mm.Config {
	c := mm.Config{RAM: defaultRAM >> mm.PageShift, Swap: defaultSwap >> mm.PageShift, Nodes: 2, Memlock: ^uint64(0)}
	if d.RAM >= 0 {
		c.RAM = uint64(d.RAM) >> mm.PageShift
	}
	if d.Swap >= 0 {
		c.Swap = uint64(d.Swap) >> mm.PageShift
	}
	if d.Nodes > 0 {
		c.Nodes = d.Nodes
	}
	for _, n := range d.Needs {
		if n == "thp" {
			c.THP = mm.THPAlways
		}
		if k, ok := strings.CutPrefix(n, "numa="); ok && d.Nodes <= 0 {
			if nodes, err := strconv.Atoi(k); err == nil && nodes > 0 {
				c.Nodes = nodes
			}
		}
	}
	if d.Memlock >= 0 {
		c.Memlock = uint64(d.Memlock) >> mm.PageShift
	}
	return c
}

// checkMachine refuses the machine that cannot be: every node has memory.
func checkMachine(tr *traces.Trace) error {
	const most = 1 << 40 // pages
	c := machineConfig(&tr.Directives)
	what := ""
	switch {
	case c.RAM < uint64(c.Nodes) || c.RAM > most:
		what = fmt.Sprintf("%d pages of memory on %d nodes", c.RAM, c.Nodes)
	case c.Swap > most:
		what = fmt.Sprintf("%d pages of swap", c.Swap)
	default:
		return nil
	}
	return &traces.Error{File: tr.Name, Line: 1, Col: 1, What: what, Why: "every node has a page, and no machine more than 4 PiB"}
}

func newRunner(tr *traces.Trace, design kfd.Design, chooser sim.Chooser, o Options) *runner {
	r := &runner{tr: tr, files: map[string]*mm.File{}, seen: map[*mm.MM]*phys.Map{}, barriers: map[string]*barrier{}}
	r.captured = tr.Timed || len(tr.Skipped) > 0
	if o.Lines != (traces.LineSpan{}) && chooser.Preemptive() {
		r.window = &lineWindow{span: o.Lines, inside: chooser}
		chooser = sim.RecordedOrder{}
	}
	r.recorded, r.failing = !chooser.Preemptive(), o.failing
	r.s = sim.New(sim.Options{Chooser: chooser, Keep: o.keep, Coroutines: o.stacks})
	if o.Record {
		r.s.Record()
	}
	r.chk = newChecker(r.s)
	d := &tr.Directives
	gpus, limit := max(d.GPUs, 1), uint64(0)
	if d.Limit > 0 {
		limit = uint64(d.Limit)
	}
	if o.NoChecks {
		r.sys = mm.NewSystem(r.s, machineConfig(d), nil)
		r.drv = kfd.New(r.s, r.sys, design, gpus, limit, nil, nil)
	} else {
		w := r.watcher(o.observer)
		r.sys = mm.NewSystem(r.s, machineConfig(d), w)
		r.drv = kfd.New(r.s, r.sys, design, gpus, limit, w, r.chk)
		r.chk.attach(r.sys, r.drv)
		r.s.SetCheck(r.chk.check)
	}
	r.sys.OOMKill = r.oomKill
	r.s.OnIdle, r.s.OnAdvance, r.s.OnLong, r.s.State = r.onIdle, r.onAdvance, r.onLong, r.state
	r.assignLives()
	r.countBarriers()
	r.startFirst()
	return r
}

// watcher is who is told what happens to memory and in the driver.
func (r *runner) watcher(to *traces.Observer) interface {
	mm.Watcher
	kfd.Watcher
} {
	if to == nil {
		return r.chk
	}
	r.observer = to
	return &observed{r.chk, to, map[*mm.IntervalNotifier]int{}}
}

// startFirst makes the first task of the file, which exists from the start, and
// with `#: attach: yes` every task that the file does not create: they share its
// memory.
func (r *runner) startFirst() {
	first := r.lives[0]
	p := r.newProcess(first.tid, r.sys.NewMM(first.name()))
	p.addThread(first)
	made := make([]bool, len(r.lives))
	for _, c := range r.child {
		if c >= 0 {
			made[c] = true
		}
	}
	for _, th := range r.lives[1:] {
		if !made[th.life] {
			p.addThread(th)
		}
	}
}

// file returns the file of a path; it stays cached until the end of the run.
func (r *runner) file(path string) *mm.File {
	f := r.files[path]
	if f == nil {
		f = r.sys.NewFile(path, false)
		f.Ref()
		r.files[path] = f
		r.fileList = append(r.fileList, f)
	}
	return f
}

// endOfRun drops the page cache and looks for what is left.
func (r *runner) endOfRun() {
	for _, f := range r.fileList {
		r.sys.Unref(f)
	}
	r.chk.endOfRun()
	for i := range r.procs {
		r.procs[i] = nil
	}
}

// notModelled counts a call that is accepted as recorded, without effect.
func (r *runner) notModelled(name string) {
	u := r.rep.Unimplemented
	i := sort.Search(len(u), func(i int) bool { return u[i].Name >= name })
	if i == len(u) || u[i].Name != name {
		u = append(u, traces.NameCount{})
		copy(u[i+1:], u[i:])
		u[i] = traces.NameCount{Name: name}
	}
	u[i].Count++
	r.rep.Unimplemented = u
}
