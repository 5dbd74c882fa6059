// SPDX-License-Identifier: MIT

package gpu

import "github.com/kfdsim/kfdsim/sim"

var evFault = sim.NewFunc("gmc_v9_0_process_interrupt", "gpu", "va", "write")

// fault ends the execution of the queue's first packet: page has no translation,
// or one that forbids the access. Without retry faults that is the end of the
// address space for every queue.
//
// Preconditions: the queue is in flight.
//
// Kernel: gmc_v9_0_process_interrupt, drivers/gpu/drm/amd/amdgpu/gmc_v9_0.c;
// event_interrupt_wq_v9, drivers/gpu/drm/amd/amdkfd/kfd_int_process_v9.c.
//
// Simplified: model/FIDELITY.md G-FAULT.
func (q *Queue) fault(t *sim.Task, page uint64, write bool) {
	vm := q.vm
	// Marking stops other queues, so it is a step of its own.
	t.Write(&vm.ptObj, 0, endOfSpace)
	q.land(t)
	if vm.faulted {
		return
	}
	w := uint64(0)
	if write {
		w = 1
	}
	vm.dev.Counts.VMFaults++
	t.Log(evFault, uint64(vm.dev.id), page<<PageShift, w)
	vm.markFaulted(t)
	if vm.dev.OnFault != nil {
		vm.dev.OnFault(t, vm, page, write)
	}
}

// Fault marks the VM as stopped for good, without a fault of its own: the driver
// does so to a process's VMs on its other devices. Packets that wait or come later
// complete as faulted.
//
// Kernel: kfd_dqm_evict_pasid and what user space makes of it.
func (vm *VM) Fault(t *sim.Task) {
	t.Write(&vm.ptObj, 0, endOfSpace)
	vm.markFaulted(t)
}

func (vm *VM) markFaulted(t *sim.Task) {
	vm.faulted = true
	for _, q := range vm.queues {
		q.wake.WakeAll(t)
	}
}
