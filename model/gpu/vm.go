// SPDX-License-Identifier: MIT

package gpu

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	evUpdate = sim.NewFunc("amdgpu_vm_update_range", "va", "pages", "flags")
	evClear  = sim.NewFunc("amdgpu_vm_clear_range", "va", "pages")
	evFlush  = sim.NewFunc("kfd_flush_tlb", "gpu")
)

// translations maps GPU pages to entries, and beside each entry keeps the
// generation that its frame had when the entry was written: whether a frame has
// changed hands since cannot be told from its number.
type translations struct {
	ptes phys.Map
	gens phys.Map // the same pages as ptes
}

func (x *translations) clear(lo, hi uint64) {
	x.ptes.Clear(lo, hi)
	x.gens.Clear(lo, hi)
}

// VM is the GPU address space of one process on one device.
//
// Kernel: struct amdgpu_vm, drivers/gpu/drm/amd/amdgpu/amdgpu_vm.h.
type VM struct {
	// Name labels the VM in reports (the process).
	Name string
	// Owner is the driver's own: whose VM this is.
	Owner any

	dev *Device
	id  int

	// table is the page table and tlb what is cached of it. Both are labelled on
	// ptObj with the pages; an access to all of them also says that queues of the
	// VM were stopped, resumed or faulted.
	table translations
	tlb   translations
	ptObj sim.Object

	// tlbSeq counts updates that replaced or removed valid entries; flushedSeq is
	// its value at the last flush.
	//
	// Kernel: tlb_seq, kfd_last_flushed_seq.
	tlbSeq, flushedSeq uint64

	queues []*Queue // in order of creation
	// pieces counts translations that queues began to use: what a flush waits for
	// is older than the flush.
	pieces  uint64
	faulted bool
}

// NewVM opens an address space without entries.
func (d *Device) NewVM(name string) *VM {
	d.nextVM++
	vm := &VM{Name: name, dev: d, id: d.nextVM}
	vm.ptObj.Init(d.sim, "GPU page table")
	d.vms = append(d.vms, vm)
	return vm
}

// PageAccess labels an access to the entries of [lo,hi) and to what is cached of
// them.
func (vm *VM) PageAccess(lo, hi uint64, k sim.Kind) sim.Access {
	return sim.Access{Object: &vm.ptObj, Lo: lo, Hi: hi, Kind: k}
}

// QueueAccess labels an access to whether the queues of the VM may run: like a lock
// that whoever stops them takes and that they need for every step.
func (vm *VM) QueueAccess(k sim.Kind) sim.Access {
	return sim.Access{Object: &vm.ptObj, Lo: queueState, Hi: queueState + 1, Kind: k}
}

// Close drops the address space. One that still has queues stays listed as a leak,
// and the queues fault.
//
// Kernel: amdgpu_vm_fini.
func (vm *VM) Close(t *sim.Task) {
	t.Write(&vm.ptObj, 0, endOfSpace)
	vm.table, vm.tlb = translations{}, translations{}
	vm.changed(0, endOfSpace)
	for i, x := range vm.dev.vms {
		if x == vm && len(vm.queues) == 0 {
			vm.dev.vms = append(vm.dev.vms[:i], vm.dev.vms[i+1:]...)
			break
		}
	}
}

// Device returns the GPU of the VM.
func (vm *VM) Device() *Device { return vm.dev }

// ID returns the number of the VM on its device, counted from 1.
func (vm *VM) ID() int { return vm.id }

// Faulted says whether a VM fault has stopped the VM for good.
func (vm *VM) Faulted() bool { return vm.faulted }

// InAperture says whether the pages [lo,hi) are a range that can be mapped.
func InAperture(lo, hi uint64) bool { return ApertureLo <= lo && lo < hi && hi <= ApertureHi }

// UpdateRange writes entries for the GPU pages [lo,hi). runs are consecutive
// pieces of what they map: the values' low 40 bits are frames, the first piece
// begins at lo, and what the pieces' keys say beyond their lengths does not
// matter. Runs that continue each other are one: the kernel, too, sees only
// addresses.
//
// It is one step: the update job, for whose fence the caller would wait. How the
// entries are cut is in fragment.go.
//
// Preconditions:
//   - InAperture(lo, hi), and the lengths of runs add up to hi-lo
//   - flags has Valid and nothing but flags
//   - nobody changes runs until it returns, though it is a scheduling point
//
// Kernel: amdgpu_vm_update_range, drivers/gpu/drm/amd/amdgpu/amdgpu_vm.c.
//
// Simplified: model/FIDELITY.md G-ATOMIC.
func (vm *VM) UpdateRange(t *sim.Task, lo, hi uint64, runs []phys.Run, flags PTE) {
	vm.checkRange(lo, hi)
	n := uint64(0)
	for i := range runs {
		n += runs[i].Len()
	}
	if n != hi-lo || flags.Flags() != flags || !flags.Valid() {
		panic(fmt.Sprintf("BUG: update of %d GPU pages with %d frames, flags %#x", hi-lo, n, uint64(flags)))
	}
	t.Write(&vm.ptObj, lo, hi)
	vm.noteReplaced(lo, hi)
	u := update{vm: vm, flags: flags, page: lo}
	for _, r := range runs {
		u.add(r)
	}
	u.flush()
	c := &vm.dev.Counts
	c.PTEUpdates++
	c.PTEsWritten += hi - lo
	t.Log(evUpdate, lo<<PageShift, hi-lo, uint64(flags)>>frameBits)
	vm.changed(lo, hi)
}

// ClearRange removes the entries of [lo,hi), if there are any.
//
// Preconditions: InAperture(lo, hi).
//
// Kernel: amdgpu_vm_update_range with flags 0, from amdgpu_vm_clear_freed.
func (vm *VM) ClearRange(t *sim.Task, lo, hi uint64) {
	vm.checkRange(lo, hi)
	t.Write(&vm.ptObj, lo, hi)
	vm.noteReplaced(lo, hi)
	vm.table.clear(lo, hi)
	vm.dev.Counts.PTEClears++
	vm.dev.Counts.PTEsCleared += hi - lo
	t.Log(evClear, lo<<PageShift, hi-lo, 0)
	vm.changed(lo, hi)
}

// noteReplaced looks at what an update of [lo,hi) is about to replace.
func (vm *VM) noteReplaced(lo, hi uint64) {
	ptes := &vm.table.ptes
	if ptes.Empty(lo, hi) {
		return
	}
	// Writing an entry again counts as changing it: the kernel asks whether the
	// BO moved, not whether it came back to the same place.
	vm.tlbSeq++
	if v, ok := ptes.Get(lo - 1); ok && sameFragment(PTE(v), lo-1, lo) {
		vm.dev.Counts.FragmentsTorn++
	}
	if v, ok := ptes.Get(hi); ok && sameFragment(PTE(v), hi, hi-1) {
		vm.dev.Counts.FragmentsTorn++
	}
}

// sameFragment says whether the entry p of page i stands for page j as well.
func sameFragment(p PTE, i, j uint64) bool { return i>>p.Fragment() == j>>p.Fragment() }

// PTEAt returns the entry of one page, 0 when there is none.
func (vm *VM) PTEAt(page uint64) PTE {
	v, _ := vm.table.ptes.Get(page)
	return PTE(v)
}

// GenAt returns the generation that the frame of a page had when its entry was
// written.
func (vm *VM) GenAt(page uint64) uint32 {
	v, _ := vm.table.gens.Get(page)
	return uint32(v)
}

// PTERuns returns the entries of [lo,hi) as runs of PTE words, appended to dst.
func (vm *VM) PTERuns(dst []phys.Run, lo, hi uint64) []phys.Run {
	return vm.table.ptes.AppendRuns(dst, lo, hi)
}

// GenRuns returns the generations of [lo,hi), as GenAt, as runs appended to dst.
func (vm *VM) GenRuns(dst []phys.Run, lo, hi uint64) []phys.Run {
	return vm.table.gens.AppendRuns(dst, lo, hi)
}

// MappedPages returns the number of pages that have an entry.
func (vm *VM) MappedPages() uint64 { return vm.table.ptes.Len() }

func (vm *VM) checkRange(lo, hi uint64) {
	if !InAperture(lo, hi) {
		panic(fmt.Sprintf("BUG: GPU pages [%#x,%#x) are outside the aperture", lo, hi))
	}
}

func (vm *VM) changed(lo, hi uint64) {
	if w := vm.dev.Watch; w != nil {
		w.PTEsChanged(vm, lo, hi)
	}
}
