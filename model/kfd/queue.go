// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// userQueue is a queue that user space created.
type userQueue struct {
	id     uint32
	pd     *ProcessDevice
	q      *gpu.Queue
	fences []*gpu.Fence // submitted and not waited for
}

var fnQueue = sim.NewFunc("pqm_create_queue", "gpu", "queue")

// Queue types.
//
// Kernel: KFD_IOC_QUEUE_TYPE_*.
const (
	QueueCompute    = 0
	QueueSDMA       = 1
	QueueAQL        = 2
	QueueSDMAXGMI   = 3
	QueueSDMAByEng  = 4
	maxQueuePercent = 100
	maxQueuePrio    = 15
)

// QueueArgs are the arguments of CREATE_QUEUE; ring, pointers and doorbell are
// the performer's own.
//
// Kernel: struct kfd_ioctl_create_queue_args.
type QueueArgs struct {
	GPUID, Type, Percentage, Priority uint32
}

// CreateQueue makes a user queue; created while the process is evicted it starts
// stopped.
//
// Errors: EINVAL for percentage, priority, type or gpu_id, ENODEV without a VM.
//
// Kernel: kfd_ioctl_create_queue, kfd_chardev.c.
func (p *Process) CreateQueue(t *sim.Task, a QueueArgs) (uint32, errno.Errno) {
	if a.Percentage > maxQueuePercent || a.Priority > maxQueuePrio || a.Type > QueueSDMAByEng {
		return 0, errno.EINVAL
	}
	p.mutex.Lock(t)
	pd, err := p.bind(a.GPUID)
	if err != 0 {
		p.mutex.Unlock(t)
		return 0, err
	}
	if t.MayFail() {
		p.mutex.Unlock(t)
		return 0, errno.ENOMEM
	}
	id := uint32(p.nextQueue)
	p.nextQueue++
	pd.Dev.dqmLock.Lock(t)
	q := &userQueue{id: id, pd: pd, q: pd.Dev.NewQueue(t, pd.VM, int(id), pd.evicted > 0)}
	pd.Dev.dqmLock.Unlock(t)
	p.queues = append(p.queues, q)
	t.Log(fnQueue, uint64(a.GPUID), uint64(id), 0)
	p.mutex.Unlock(t)
	p.drv.stateChanged(p)
	return id, 0
}

// DestroyQueue destroys a user queue.
//
// Errors: EINVAL for an unknown id.
//
// Kernel: kfd_ioctl_destroy_queue.
func (p *Process) DestroyQueue(t *sim.Task, id uint32) errno.Errno {
	p.mutex.Lock(t)
	err := errno.EINVAL
	for i, q := range p.queues {
		if q.id == id {
			p.queues = append(p.queues[:i], p.queues[i+1:]...)
			q.destroy(t)
			err = 0
			break
		}
	}
	p.mutex.Unlock(t)
	p.drv.stateChanged(p)
	return err
}

func (q *userQueue) destroy(t *sim.Task) {
	q.pd.Dev.dqmLock.Lock(t)
	q.q.Destroy(t)
	q.pd.Dev.dqmLock.Unlock(t)
}

// HasQueue says whether the process has a user queue on the GPU.
func (p *Process) HasQueue(gpuID uint32) bool { return p.queueOn(gpuID) != nil }

// queueOn returns the process's first queue on a GPU.
func (p *Process) queueOn(gpuID uint32) *userQueue {
	for _, q := range p.queues {
		if q.pd.Dev.ID() == int(gpuID) {
			return q
		}
	}
	return nil
}

// GPUAccess lets the GPU read or write [va,va+n) through a user queue of the
// process: it submits a packet and, unless async, waits until it is done, which
// takes as long as the queues are stopped.
//
// Errors: EFAULT for a VM fault, now or earlier; EIO when the queue was destroyed
// meanwhile, EINTR when the task was killed.
//
// Preconditions: HasQueue(gpuID).
func (p *Process) GPUAccess(t *sim.Task, gpuID uint32, pkt gpu.Packet, async bool) ([]phys.ByteRun, errno.Errno) {
	q := p.queueOn(gpuID)
	if q.pd.VM.Faulted() {
		return nil, errno.EFAULT
	}
	if acc, ok := p.drv.Design.(Accessor); ok {
		return p.accessDirect(t, acc, q, pkt)
	}
	f := q.q.Submit(t, pkt)
	if async {
		q.fences = append(q.fences, f)
		return nil, 0
	}
	err := waitFence(t, f)
	return f.Bytes, err
}

// GPUWait waits for everything that was submitted to the GPU without waiting.
//
// Errors: as GPUAccess, of the first packet that failed.
func (p *Process) GPUWait(t *sim.Task, gpuID uint32) errno.Errno {
	err := errno.Errno(0)
	for _, q := range p.queues {
		if q.pd.Dev.ID() != int(gpuID) {
			continue
		}
		fences := q.fences
		q.fences = nil
		for _, f := range fences {
			if e := waitFence(t, f); err == 0 {
				err = e
			}
		}
	}
	return err
}

func waitFence(t *sim.Task, f *gpu.Fence) errno.Errno {
	f.Wait(t)
	switch {
	case !f.Done:
		return errno.EINTR
	case f.Faulted:
		return errno.EFAULT
	case f.Cancelled:
		return errno.EIO
	}
	return 0
}

// accessDirect is an access of a design that never stops queues: the design makes
// the range valid and the packet runs at once, while it is.
func (p *Process) accessDirect(t *sim.Task, acc Accessor, q *userQueue, pkt gpu.Packet) ([]phys.ByteRun, errno.Errno) {
	var f *gpu.Fence
	acc.Access(t, p, q.pd.Dev.ID(), pkt.VA, pkt.N, func(t *sim.Task) {
		f = q.q.Execute(t, pkt)
	})
	err := waitFence(t, f)
	return f.Bytes, err
}

// vmFault reports a VM fault and stops the queues of the process on that GPU for
// good.
//
// Kernel: kfd_smi_event_update_vmfault and kfd_dqm_evict_pasid.
func (d *Driver) vmFault(t *sim.Task, vm *gpu.VM, page uint64, write bool) {
	p := vm.Owner.(*Process)
	d.smi(t, SMIEvent{Kind: SMIVMFault, MM: p.MM.ID(), Name: p.MM.Name, GPU: vm.Device().ID()})
	for _, pd := range p.devs {
		if pd.VM == nil {
			continue
		}
		if pd.VM != vm {
			pd.VM.Fault(t)
		}
		pd.evict(t, TriggerFault)
	}
	d.stateChanged(p)
}
