// SPDX-License-Identifier: MIT

package sim

import (
	"sync"        // order: see pool
	"sync/atomic" // order: see pool
)

// job is one execution. Who takes it first executes it.
type job struct {
	g     *Guide
	taken atomic.Bool
	ready chan struct{} // order: see pool; closed when the fields below are set
	out   any
	races []race
	// columns are the tasks, clocks what happened before each step, by column; the
	// steps that tasks waited to do at the end come last.
	columns []uint64
	clocks  [][]int32
	woken   []wake // who had been woken and had not run where it was cut
}

// step returns the task of a step and what it touched.
func (j *job) step(e int) (uint64, []access) {
	s := &j.g.waiting
	if e < len(j.g.steps) {
		s = &j.g.steps
	} else {
		e -= len(j.g.steps)
	}
	return (*s)[e].task, j.g.touched(&(*s)[e])
}

// shorten drops step k and what comes after it.
func (j *job) shorten(k int) {
	j.g.marks = j.g.steps[k].marks
	j.g.steps, j.g.waiting, j.clocks = j.g.steps[:k], nil, j.clocks[:k]
	j.g.blocked = false
	keep := j.races[:0]
	for _, r := range j.races {
		if r.end < k {
			keep = append(keep, r)
		}
	}
	j.races = keep
}

func newJob(g *Guide) *job {
	return &job{g: g, ready: make(chan struct{})} // order: see pool
}

// worker is what a goroutine that executes jobs keeps from one to the next.
type worker struct {
	finder raceFinder
	stacks Coroutines
}

// pool executes jobs in goroutines, and in the one that waits for them. What comes
// of a job depends on its guide alone, and whoever waits asks for jobs in an order
// of its own: which goroutine was faster is never seen.
type pool struct {
	run   func(g *Guide) any
	spare int       // goroutines
	queue chan *job // order: see above
	wg    sync.WaitGroup
	own   worker // of the goroutine that waits
	ended atomic.Bool
}

func newPool(workers int, run func(g *Guide) any) *pool {
	p := &pool{run: run, spare: max(workers, 1) - 1}
	p.queue = make(chan *job, 2*p.spare) // order: see above
	for range p.spare {
		p.wg.Add(1)
		go p.serve() // order: see above
	}
	return p
}

func (p *pool) serve() {
	defer p.wg.Done()
	var w worker
	defer w.stacks.Close()
	for j := range p.queue {
		if !p.ended.Load() && j.taken.CompareAndSwap(false, true) {
			p.execute(j, &w)
		}
	}
}

// wants says whether another job can be started ahead of time.
func (p *pool) wants() bool { return len(p.queue) < cap(p.queue) }

// start lets another goroutine execute j.
//
// Preconditions: wants.
func (p *pool) start(j *job) { p.queue <- j }

// await returns when j has been executed.
func (p *pool) await(j *job) {
	if j.taken.CompareAndSwap(false, true) {
		p.execute(j, &p.own)
		return
	}
	<-j.ready
}

func (p *pool) execute(j *job, w *worker) {
	j.g.stacks = &w.stacks
	j.out = p.run(j.g)
	j.races = w.finder.find(j.g)
	j.columns, j.clocks = w.finder.copy()
	close(j.ready)
}

// close waits for the goroutines to end.
func (p *pool) close() {
	p.ended.Store(true)
	close(p.queue)
	p.wg.Wait()
	p.own.stacks.Close()
}
