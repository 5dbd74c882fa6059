// SPDX-License-Identifier: MIT

package gpu

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	evPreempt = sim.NewFunc("unmap_queues_cpsch", "gpu", "queue")
	evResume  = sim.NewFunc("map_queues_cpsch", "gpu", "queue")
)

// Queue is an SDMA user queue: a task of its own that executes packets in the
// order of their submission while it is neither evicted nor destroyed.
//
// Kernel: struct queue, drivers/gpu/drm/amd/amdkfd/kfd_priv.h.
type Queue struct {
	vm *VM
	id int

	// obj labels ring: submission, completion, cancellation.
	obj  sim.Object
	ring []*Fence // packets that are not complete, oldest first
	done uint64   // bytes of the first one that were executed; the executing task's own
	// direct says that the first packet is executed by the task that is in Execute.
	direct bool

	// evicted and destroyed change in steps that write all of VM.ptObj, so that
	// they are ordered against every translation.
	evicted, destroyed bool
	// inFlight says that a translation is in use; piece is its number in
	// VM.pieces. Written by the task.
	inFlight bool
	piece    uint64

	wake   sim.WaitQueue // the task, for something to do
	idle   sim.WaitQueue // whoever waits for the piece in flight
	fences sim.WaitQueue // whoever waits for a fence
}

// Fence is a submitted packet and what has become of it.
type Fence struct {
	Packet
	Done      bool           // nothing more will happen
	Faulted   bool           // a VM fault came first
	Cancelled bool           // the queue was destroyed first
	Bytes     []phys.ByteRun // what Read has read so far

	queue *Queue
}

// Wait blocks until the packet is done or the task is killed.
func (f *Fence) Wait(t *sim.Task) {
	t.Rest(func() { f.queue.fences.WaitEventKillable(t, func() bool { return f.Done }) })
}

// NewQueue creates a queue of vm; one that is created while its process is
// evicted starts as evicted.
//
// Kernel: create_queue_cpsch, drivers/gpu/drm/amd/amdkfd/kfd_device_queue_manager.c.
func (d *Device) NewQueue(t *sim.Task, vm *VM, id int, evicted bool) *Queue {
	if vm.dev != d {
		panic("BUG: queue on another device than its VM")
	}
	q := &Queue{vm: vm, id: id, evicted: evicted}
	q.obj.Init(d.sim, "ring")
	q.wake.Init(d.sim, "queue")
	q.idle.Init(d.sim, "queue preemption")
	q.fences.Init(d.sim, "fence")
	t.Write(&vm.ptObj, 0, endOfSpace)
	vm.queues = append(vm.queues, q)
	d.sim.GoDaemon(fmt.Sprintf("gpu%d.queue%d", d.id, id), q.run)
	q.stateChanged()
	return q
}

// ID returns the number that the queue was created with.
func (q *Queue) ID() int { return q.id }

// VM returns the address space that the queue runs in.
func (q *Queue) VM() *VM { return q.vm }

// Evicted says whether the queue is stopped.
func (q *Queue) Evicted() bool { return q.evicted }

// InFlight says whether the queue is between a translation and its use.
func (q *Queue) InFlight() bool { return q.inFlight }

// Pending returns the number of packets that are not complete.
func (q *Queue) Pending() int { return len(q.ring) }

// Queues returns the VM's queues in order of creation. The caller must not modify
// the slice.
func (vm *VM) Queues() []*Queue { return vm.queues }

// Running says whether any queue of the VM could reach memory.
func (vm *VM) Running() bool {
	for _, q := range vm.queues {
		if q.running() || q.inFlight {
			return true
		}
	}
	return false
}

func (q *Queue) running() bool { return !q.evicted && !q.destroyed && !q.vm.faulted }

// run is the body of the queue's task.
func (q *Queue) run(t *sim.Task) {
	work := func() bool { return q.destroyed || len(q.ring) > 0 && !q.direct }
	ready := func() bool { return q.destroyed || work() && (!q.evicted || q.vm.faulted) }
	for {
		t.Rest(func() { q.wake.WaitEventOn(t, q.vm.QueueAccess(sim.KindAcquireRead), ready) })
		if !q.destroyed && !work() {
			continue
		}
		if q.destroyed {
			return
		}
		q.step(t)
	}
}

// step takes the first packet a step further.
//
// Preconditions: there is one, and the caller is who executes it.
func (q *Queue) step(t *sim.Task) {
	if q.vm.faulted || q.done == q.ring[0].N {
		q.complete(t)
	} else {
		q.execute(t)
	}
}

// complete takes the first packet off the ring and signals its fence.
func (q *Queue) complete(t *sim.Task) {
	t.Write(&q.obj, 0, 1)
	if q.destroyed {
		return
	}
	f := q.ring[0]
	q.ring = append(q.ring[:0], q.ring[1:]...)
	if q.done < f.N {
		f.Faulted = true
	} else {
		q.vm.dev.Counts.Packets++
	}
	q.done = 0
	f.Done = true
	q.fences.WakeAll(t)
}

// land ends the use of a translation.
func (q *Queue) land(t *sim.Task) {
	t.Touch(q.vm.QueueAccess(sim.KindReleaseRead))
	q.inFlight = false
	q.idle.WakeAll(t)
}

// Submit appends a packet to the ring. On a VM that has faulted, or a queue that
// was destroyed, it is done at once without being executed.
func (q *Queue) Submit(t *sim.Task, p Packet) *Fence {
	t.Write(&q.obj, 0, 1)
	f := q.enqueue(p)
	q.wake.WakeAll(t)
	return f
}

// enqueue appends a packet to the ring, unless it is done already.
func (q *Queue) enqueue(p Packet) *Fence {
	f := &Fence{Packet: p, queue: q}
	switch {
	case q.destroyed:
		f.Done, f.Cancelled = true, true
	case q.vm.faulted:
		f.Done, f.Faulted = true, true
	default:
		q.ring = append(q.ring, f)
	}
	return f
}

// Execute executes a packet at once, in the caller's task instead of the queue's,
// and returns when it is done: for a driver that makes memory valid for one access
// and keeps it so by a lock of its own. It waits for packets before it, and while
// the queue is evicted.
func (q *Queue) Execute(t *sim.Task, p Packet) *Fence {
	t.Write(&q.obj, 0, 1)
	for len(q.ring) > 0 || q.direct {
		q.fences.WaitEvent(t, func() bool { return len(q.ring) == 0 && !q.direct })
	}
	f := q.enqueue(p)
	if f.Done {
		return f
	}
	q.direct = true
	for !f.Done {
		switch {
		case q.destroyed:
			q.fences.Sleep(t)
		case q.evicted && !q.vm.faulted:
			q.wake.Sleep(t)
		default:
			q.step(t)
		}
	}
	q.direct = false
	q.fences.WakeAll(t)
	q.wake.WakeAll(t)
	return f
}

// Preempt stops the queue, in the middle of a packet if need be. When it returns,
// no access of the queue is in flight and the VM's TLB has been flushed.
//
// Kernel: unmap_queues_cpsch, kfd_device_queue_manager.c.
//
// Simplified: model/FIDELITY.md G-PREEMPT.
func (q *Queue) Preempt(t *sim.Task) {
	t.MightSleep("unmap_queues_cpsch")
	t.Write(&q.vm.ptObj, 0, queueState)
	t.Touch(q.vm.QueueAccess(sim.KindAcquire))
	if !q.evicted {
		q.evicted = true
		q.vm.dev.Counts.Preemptions++
		t.Log(evPreempt, uint64(q.vm.dev.id), uint64(q.id), 0)
		q.unmapped(t)
	}
	q.idle.WaitEvent(t, func() bool { return !q.inFlight })
}

// unmapped is what the scheduler firmware does when a queue leaves the hardware.
// A piece in flight has its translation already, so the flush need not wait for
// it.
func (q *Queue) unmapped(t *sim.Task) {
	if !q.vm.dev.Planted.SkipFlush {
		q.vm.dropTLB()
	}
	q.stateChanged()
}

// Resume lets the queue run again, where it stopped.
//
// Kernel: map_queues_cpsch.
func (q *Queue) Resume(t *sim.Task) {
	t.Write(&q.vm.ptObj, 0, queueState)
	t.Touch(q.vm.QueueAccess(sim.KindRelease))
	if !q.evicted || q.destroyed {
		return
	}
	q.evicted = false
	q.vm.dev.Counts.Resumes++
	t.Log(evResume, uint64(q.vm.dev.id), uint64(q.id), 0)
	q.stateChanged()
	q.wake.WakeAll(t)
}

// Destroy stops the queue for good and cancels what it has not completed.
//
// Kernel: destroy_queue_cpsch.
func (q *Queue) Destroy(t *sim.Task) {
	t.MightSleep("destroy_queue_cpsch")
	t.Write(&q.vm.ptObj, 0, endOfSpace)
	if q.destroyed {
		return
	}
	q.destroyed = true
	q.unmapped(t)
	q.idle.WaitEvent(t, func() bool { return !q.inFlight })
	t.Write(&q.obj, 0, 1)
	for _, f := range q.ring {
		f.Done, f.Cancelled = true, true
	}
	q.ring = nil
	q.fences.WakeAll(t)
	q.wake.WakeAll(t)
	vm := q.vm
	for i, x := range vm.queues {
		if x == q {
			vm.queues = append(vm.queues[:i], vm.queues[i+1:]...)
			break
		}
	}
}

func (q *Queue) stateChanged() {
	if w := q.vm.dev.Watch; w != nil {
		w.QueuesChanged(q.vm)
	}
}
