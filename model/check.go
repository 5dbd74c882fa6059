// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// checker watches a machine and says which property broke first.
//
// Hooks (the Watcher interfaces of mm, gpu and kfd) come in the middle of steps.
// What they can judge by themselves they judge at once; for the rest they note
// what is dirty, and check looks at that and at nothing else, at the next
// scheduling point. walk looks at everything; it must find nothing that check
// did not.
//
//	check_properties.go  the table                check_index.go   BOs by number, GPU page, CPU page
//	check_pages.go       GPU pages = CPU pages    check_notifier.go  windows, seqs, callbacks
//	check_evict.go       counters, queues, commit check_api.go     ioctls, charges, leaks
//	check_walk.go        everything at once
//
// Nothing is iterated in map order, and a run without a broken property is the
// same with and without a checker.
type checker struct {
	s   *sim.Sim
	sys *mm.System
	drv *kfd.Driver
	// worker says that the design has a restore worker: commits come.
	worker bool
	// pins says that the design holds its pages and watches no range.
	pins bool

	mms    []*mmState   // by mm id, nil where nothing is known
	vms    [][]*vmState // by GPU id - 1, then VM id - 1
	mems   []*memState  // by number; freed numbers are nil
	unused []uint64     // numbers of freed BOs

	todoVMs   []*vmState // have something dirty, or were started
	todoProcs []*mmState // counters or queues changed

	smi     int    // events of drv.SMI that were judged
	charged uint64 // bytes of live BOs
	ioctls  int    // calls that have begun and not ended

	// walking collects failures instead of ending the run.
	walking bool
	found   []sim.Failure
}

var (
	_ mm.Watcher  = (*checker)(nil)
	_ gpu.Watcher = (*checker)(nil)
	_ kfd.Watcher = (*checker)(nil)
)

// mmState is what is known of an address space and the process that has it.
type mmState struct {
	mm   *mm.MM
	proc *kfd.Process // nil until the driver has said so

	open  []*window // notifier windows, in order of opening
	spare []*window
	// odd is what the parity of the mm's seq should be, frozen the number of
	// notifiers in the tree when it became odd, -1 while it is even.
	odd    bool
	frozen int
	live   int // notifiers inserted and not removed
	bos    int // BOs made and not freed

	// touched are the ranges that were hit or fetched since the last commit.
	touched []touched
	queued  bool  // on todoProcs
	stopped []int // by GPU id - 1: evictions by user memory in the SMI stream

	calls  int  // ioctls of the process that have begun and not ended
	alone  bool // the one that began was the only one
	before apiState
}

// window is an open notifier window.
type window struct {
	r *mm.NotifierRange
	// answered are the notifiers whose callbacks have returned true, by Start.
	answered []*mm.IntervalNotifier
	refused  bool // a callback has returned false: nothing may follow but the end
}

// touched names a range of a BO.
type touched struct {
	ms *memState
	k  int
}

// vmState is what is known of a GPU address space.
type vmState struct {
	vm *gpu.VM
	// owners maps GPU pages to the BO attached there: its number times two, so
	// that neighbours are never one run.
	owners phys.Map
	// dirty are the GPU pages to look at as soon as queues run.
	dirty   phys.Map
	queued  bool // on todoVMs
	running bool // a queue was neither evicted nor destroyed
	started bool // running has become true since the last look
}

// newChecker returns a checker for the machine that is built on s. Until attach
// it judges nothing.
func newChecker(s *sim.Sim) *checker { return &checker{s: s} }

// attach tells the checker whom it watches. It must be the Watcher of sys, of drv
// and of its GPUs, and check must be the check function of the Sim.
func (c *checker) attach(sys *mm.System, drv *kfd.Driver) {
	c.sys, c.drv = sys, drv
	_, direct := drv.Design.(kfd.Accessor)
	_, c.pins = drv.Design.(kfd.Pinner)
	c.worker = !direct && !c.pins
	c.vms = make([][]*vmState, len(drv.GPUs))
}

// fail records a broken property.
func (c *checker) fail(property, title, detail string) {
	f := sim.Failure{Verdict: wordOf(property), Property: property, Title: title, Detail: detail}
	if c.walking {
		c.found = append(c.found, f)
		return
	}
	c.s.Fail(f)
}

// mmOf returns what is known of an address space.
func (c *checker) mmOf(m *mm.MM) *mmState {
	id := m.ID()
	for len(c.mms) <= id {
		c.mms = append(c.mms, nil)
	}
	st := c.mms[id]
	if st == nil {
		st = &mmState{mm: m, frozen: -1}
		if c.drv != nil {
			st.stopped = make([]int, len(c.drv.GPUs))
		}
		c.mms[id] = st
	}
	return st
}

// procOf returns what is known of a process.
func (c *checker) procOf(p *kfd.Process) *mmState {
	st := c.mmOf(p.MM)
	st.proc = p
	return st
}

// vmOf returns what is known of a GPU address space.
func (c *checker) vmOf(vm *gpu.VM) *vmState {
	l := &c.vms[vm.Device().ID()-1]
	id := vm.ID()
	for len(*l) < id {
		*l = append(*l, nil)
	}
	vs := (*l)[id-1]
	if vs == nil {
		vs = &vmState{vm: vm}
		(*l)[id-1] = vs
	}
	return vs
}

// check looks at what became dirty since it was called last.
func (c *checker) check() {
	vms := c.todoVMs
	c.todoVMs = c.todoVMs[:0]
	for _, vs := range vms {
		vs.queued = false
		c.checkVM(vs)
	}
	keep := c.todoProcs[:0]
	for _, st := range c.todoProcs {
		if st.queued = !c.checkProcess(st); st.queued {
			keep = append(keep, st)
		}
	}
	clear(c.todoProcs[len(keep):])
	c.todoProcs = keep
	c.checkSMI()
}

// lookAtVM puts a VM on the list of what check looks at.
func (c *checker) lookAtVM(vs *vmState) {
	if !vs.queued {
		vs.queued = true
		c.todoVMs = append(c.todoVMs, vs)
	}
	c.s.Dirty()
}

// lookAtProcess puts a process on the list of what check looks at.
func (c *checker) lookAtProcess(st *mmState) {
	if !st.queued {
		st.queued = true
		c.todoProcs = append(c.todoProcs, st)
	}
	c.s.Dirty()
}
