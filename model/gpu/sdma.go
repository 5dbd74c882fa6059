// SPDX-License-Identifier: MIT

package gpu

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	evRead  = sim.NewFunc("sdma_read", "va", "pfn", "bytes")
	evWrite = sim.NewFunc("sdma_write", "va", "pfn", "bytes")
)

// Op is what a packet does.
type Op uint8

// Operations.
const (
	// Read collects the bytes of a range: COPY_LINEAR to a buffer that cannot
	// fault.
	Read Op = iota
	// Write sets the bytes of a range: CONST_FILL.
	Write
)

// Packet is one command for a queue: N bytes from the GPU address VA on. A range
// that leaves the aperture is legal, and faults.
//
// Kernel: SDMA_OP_COPY and SDMA_OP_CONST_FILL, vega10_sdma_pkt_open.h.
type Packet struct {
	Op   Op
	VA   uint64 // bytes
	N    uint64 // bytes
	Byte byte   // what Write writes
}

// execute does as much of the queue's first packet as one translation covers: a
// step that translates and a step that reaches memory. It does nothing when the
// queue may not run any more by the time of the first.
//
// Simplified: model/FIDELITY.md G-QUEUE.
func (q *Queue) execute(t *sim.Task) {
	f, vm := q.ring[0], q.vm
	va, write := f.VA+q.done, f.Op == Write
	page, end := va>>PageShift, pageEnd(va, f.N-q.done)
	if t.Preemptive() {
		end = page + 1
	}
	q.label(t, page, end)
	if !q.running() {
		return
	}
	tr := vm.translate(page, end)
	vm.pieces++
	q.inFlight, q.piece = true, vm.pieces
	if tr.n == 0 || !tr.pte.Allows(write) {
		q.fault(t, page, write)
		return
	}
	off := va & (PageSize - 1)
	n := min(f.N-q.done, tr.n<<PageShift-off)
	q.reachMemory(t, f, tr, off, n)
	q.done += n
	q.land(t)
}

// label is the scheduling point before a translation of page. What the
// translation looks at depends on the entry, which may change until the queue
// runs again; then there is another point.
func (q *Queue) label(t *sim.Task, page, end uint64) {
	if !t.Preemptive() {
		t.Read(&q.vm.ptObj, page, end)
		return
	}
	for {
		lo, hi := q.vm.reach(page)
		t.Read(&q.vm.ptObj, lo, hi)
		if a, b := q.vm.reach(page); lo <= a && b <= hi {
			return
		}
	}
}

// reachMemory reads or writes n bytes, from off bytes into the first page of tr
// on.
func (q *Queue) reachMemory(t *sim.Task, f *Fence, tr translation, off, n uint64) {
	d, pfn := q.vm.dev, tr.pte.Frame()
	pages := (off + n + PageSize - 1) >> PageShift
	lo, hi := uint64(pfn), uint64(pfn)+pages
	va := tr.page<<PageShift + off
	if f.Op == Write {
		t.Write(d.memObj, lo, hi)
		// The machine's zero page keeps its bytes, so that one broken mapping does
		// not change what every process reads; the watcher sees the access.
		if pfn != phys.ZeroPFN {
			d.mem.Write(pfn, off, n, f.Byte)
		}
		d.Counts.BytesWritten += n
		t.Log(evWrite, va, lo, n)
	} else {
		t.Read(d.memObj, lo, hi)
		f.Bytes = d.mem.AppendBytes(f.Bytes, pfn, off, n)
		d.Counts.BytesRead += n
		t.Log(evRead, va, lo, n)
	}
	if d.Watch != nil {
		d.Watch.Accessed(q.vm, tr.page, tr.pte, tr.gen, f.Op == Write, pages)
	}
}

// pageEnd returns the page after the last one of n bytes from va on, at most the
// end of the address space.
func pageEnd(va, n uint64) uint64 {
	last := va + n - 1
	if last < va {
		return endOfSpace
	}
	return last>>PageShift + 1
}
