// SPDX-License-Identifier: MIT

// Package gpu models the part of an AMD GPU and its driver that reaches system
// memory: the GPU page table with fragments, the TLB in front of it, DMA
// mappings, SDMA user queues and VM faults.
//
//	vm.go        VM: update, clear, flush      pte.go       the entry's bits
//	fragment.go  how a run is cut              tlb.go       what is cached, and until when
//	queue.go     who executes, and who stops   sdma.go      what is executed
//	fault.go     what a bad access does        dma.go       what is mapped for DMA
//	digest.go    equal states, leaks
//
// # What it is not
//
// It is no instruction simulator: a queue reads and writes byte ranges and
// nothing else. It has no VRAM, no IOMMU (a DMA address is a frame number), no
// XNACK retry and no page-table BOs that could be evicted. It knows no CPU page
// table: whether a page is the right one is asked by whoever watches (Watcher).
//
// # Steps instead of locks
//
// The package takes no lock, so it adds nothing to the caller's lock order. A
// driver serialises updates of a VM with its own locks (in the kernel: the
// reservation of the page directory). What races with a running queue is a
// labelled step:
//
//	VM.ptObj, part = GPU pages    page table and TLB; a queue may run or not (all pages)
//	Queue.obj                     the ring: submit, complete, cancel
//	memObj, part = frames         contents; one object for the machine, also the CPU's
//
// An access of a queue is two steps, translation and access, because hardware
// keeps a translation in flight: between the two, memory may change hands. Who
// stops queues or flushes the TLB waits for what is in flight.
//
// # Units
//
// Addresses are GPU pages of 4 KiB, lo and hi, half-open, except in packets,
// which carry byte addresses. Page tables and TLBs hold runs: loops over pages
// are loops over runs, and page by page only under a preemptive chooser.
package gpu

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// Page geometry and the aperture of a process on a GPU, in pages.
const (
	PageShift = 12
	PageSize  = 1 << PageShift

	// ApertureLo is the first page that may be mapped: the lowest 64 KiB are
	// reserved.
	ApertureLo = 64 << 10 >> PageShift
	// ApertureHi ends the space (47 bits: what the CPU's half can mirror).
	ApertureHi = 1 << (47 - PageShift)

	// endOfSpace is past every page that a packet can name.
	endOfSpace = 1 << (64 - PageShift)
	// queueState is the part of VM.ptObj that is no page: whether queues are stopped.
	queueState = endOfSpace - 1
)

// Counts are what happened on a device, for reports and the cost model.
type Counts struct {
	PTEUpdates     uint64 // calls that wrote entries
	PTEsWritten    uint64 // pages that were given an entry
	EntriesWritten uint64 // table words for them: a 2 MiB leaf is one
	PTEClears      uint64 // calls that cleared entries
	PTEsCleared    uint64 // pages of them, whether set before or not
	Fragments      uint64 // TLB entries that would cover what was written
	FragmentsTorn  uint64 // borders of an update inside a fragment that stays
	TLBFlushes     uint64
	TLBFills       uint64
	DMAMapped      uint64 // pages
	DMAUnmapped    uint64 // pages
	Packets        uint64 // completed by execution
	BytesRead      uint64
	BytesWritten   uint64
	VMFaults       uint64
	Preemptions    uint64
	Resumes        uint64
}

// Planted are the known bugs of drivers that live on this side of the border.
// The zero value is correct.
type Planted struct {
	// SkipFlush leaves the TLB as it is when a queue is preempted (fixed for MES
	// in 6.12.114).
	SkipFlush bool
	// LightFlush does not wait for accesses in flight when the TLB is flushed
	// ("Make all TLB-flushes heavy-weight", 6.12.90).
	LightFlush bool
}

// PageAtATime makes entries for single pages only, whatever frames are neighbours.
func (d *Device) PageAtATime() { d.pageAtATime = true }

// Watcher sees what the properties need to see. Calls come in the middle of
// steps: an implementation notes what is dirty and looks later.
type Watcher interface {
	// Accessed: a queue of vm reached pages [page,page+n) through the TLB; pte is
	// the translation of the first page, the frames of the others follow it. gen
	// is the generation that their frames had when the entries were written.
	Accessed(vm *VM, page uint64, pte PTE, gen uint32, write bool, n uint64)
	// PTEsChanged: entries of [lo,hi) were written or cleared.
	PTEsChanged(vm *VM, lo, hi uint64)
	// QueuesChanged: a queue of vm was created, stopped, resumed or destroyed.
	QueuesChanged(vm *VM)
}

// Device is one simulated GPU.
//
// Kernel: struct amdgpu_device with struct kfd_node.
type Device struct {
	Counts  Counts
	Planted Planted

	pageAtATime bool
	// Watch is nil when nobody looks.
	Watch Watcher
	// OnFault is called once per VM, from the task of the queue that faulted and
	// with nothing in flight there, after the VM was marked: the driver reports
	// the fault and stops the process's queues. Nil does nothing.
	OnFault func(t *sim.Task, vm *VM, page uint64, write bool)

	sim    *sim.Sim
	mem    *phys.Memory
	memObj *sim.Object
	id     int
	vms    []*VM // open ones, in order of creation
	nextVM int

	// dma maps a frame to the number of its mappings for this device.
	dma  phys.Map
	runs []phys.Run // scratch of one call
}

// NewDevice returns GPU number id, counted from 1, on a machine with memory mem.
// memObj labels accesses to contents, its part being the frames; everybody who
// touches contents uses the same one.
func NewDevice(s *sim.Sim, mem *phys.Memory, memObj *sim.Object, id int) *Device {
	return &Device{sim: s, mem: mem, memObj: memObj, id: id}
}

// ID returns the number of the GPU, counted from 1.
func (d *Device) ID() int { return d.id }

// VMs returns the open address spaces in order of creation. The caller must not
// modify the slice.
func (d *Device) VMs() []*VM { return d.vms }

// Leaks names what is left, one line each, in a fixed order; empty when nothing
// is.
func (d *Device) Leaks() []string {
	var l []string
	for _, vm := range d.vms {
		for _, q := range vm.queues {
			l = append(l, fmt.Sprintf("gpu %d: queue %d of %s was never destroyed", d.id, q.id, vm.Name))
		}
		l = append(l, fmt.Sprintf("gpu %d: VM of %s was never closed", d.id, vm.Name))
	}
	if n := d.dma.Len(); n > 0 {
		r, _ := d.dma.Next(0)
		l = append(l, fmt.Sprintf("gpu %d: %d pages are still mapped for DMA, the first is frame %#x", d.id, n, r.Lo))
	}
	return l
}

// misuse records a broken contract as the result of the run.
func (d *Device) misuse(property, title, detail string) {
	d.sim.Fail(sim.Failure{Verdict: "misuse", Property: property, Title: title, Detail: detail})
}
