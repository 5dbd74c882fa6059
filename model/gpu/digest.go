// SPDX-License-Identifier: MIT

package gpu

import "github.com/kfdsim/kfdsim/model/phys"

// hash folds values into a digest. It is the same on every machine.
type hash uint64

func (h *hash) add(v uint64) {
	x := (uint64(*h) ^ v) * 0x9e3779b97f4a7c15
	x = (x ^ x>>29) * 0xbf58476d1ce4e5b9
	*h = hash(x ^ x>>32)
}

func (h *hash) bools(bs ...bool) {
	v := uint64(1)
	for _, b := range bs {
		v <<= 1
		if b {
			v |= 1
		}
	}
	h.add(v)
}

// Digest returns a hash of everything that decides what the device does next:
// page tables, TLBs, queues with their packets, DMA mappings. Devices in equal
// states have equal digests, whatever led there; counts do not matter.
func (d *Device) Digest() uint64 {
	h := hash(d.id)
	h.add(d.dma.Digest())
	for _, vm := range d.vms {
		h.add(vm.Digest())
	}
	return uint64(h)
}

// Shape is Digest but for the numbers of frames and how often they were given out:
// states that differ in these alone go on alike.
func (d *Device) Shape() uint64 {
	const keep = ^uint64(frameMask | fragMask) // a fragment tells how frames lie
	h := hash(d.id)
	for _, vm := range d.vms {
		h.add(uint64(vm.id))
		h.add(vm.table.ptes.Shape(keep))
		h.add(vm.tlb.ptes.Shape(keep))
		h.bools(vm.faulted, vm.flushedSeq != vm.tlbSeq)
		for _, q := range vm.queues {
			q.digest(&h)
		}
	}
	return uint64(h)
}

// State is Digest with names in place of the numbers of frames, and of a generation
// only whether it is the frame's present one.
func (d *Device) State(n *phys.Names) uint64 {
	h := hash(d.id)
	h.add(d.dma.Len())
	for _, vm := range d.vms {
		h.add(uint64(vm.id))
		h.add(vm.table.state(d, n))
		h.add(vm.tlb.state(d, n))
		h.bools(vm.faulted, vm.flushedSeq != vm.tlbSeq)
		for _, q := range vm.queues {
			q.digest(&h)
		}
	}
	return uint64(h)
}

func (x *translations) state(d *Device, n *phys.Names) uint64 {
	return n.Map(&x.ptes, func(page, v uint64) uint64 {
		p := PTE(v)
		gen, _ := x.gens.Get(page)
		h := hash(n.Frame(p.Frame()))
		h.add(uint64(p) &^ frameMask)
		h.bools(uint64(d.mem.Gen(p.Frame())) == gen)
		return uint64(h)
	})
}

// Digest returns the VM's part of Device.Digest.
func (vm *VM) Digest() uint64 {
	h := hash(vm.id)
	h.add(vm.table.ptes.Digest())
	h.add(vm.table.gens.Digest())
	h.add(vm.tlb.ptes.Digest())
	h.add(vm.tlb.gens.Digest())
	h.bools(vm.faulted, vm.flushedSeq != vm.tlbSeq)
	for _, q := range vm.queues {
		q.digest(&h)
	}
	return uint64(h)
}

// digest adds the queue. Which translation is in flight is the local state of its
// task.
func (q *Queue) digest(h *hash) {
	h.add(uint64(q.id))
	h.bools(q.evicted, q.destroyed, q.inFlight, q.direct)
	h.add(q.done)
	for _, f := range q.ring {
		h.add(uint64(f.Op)<<8 | uint64(f.Byte))
		h.add(f.VA)
		h.add(f.N)
		h.add(uint64(len(f.Bytes)))
		for _, b := range f.Bytes {
			h.add(uint64(b.Byte))
			h.add(b.N)
		}
	}
}
