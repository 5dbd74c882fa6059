// SPDX-License-Identifier: MIT

package gpu

import "github.com/kfdsim/kfdsim/model/phys"

// What properties look at and nobody else needs. Nothing may change while an Iter
// is in use.

// PTEIter walks the entries of [lo,hi) as runs of PTE words.
func (vm *VM) PTEIter(lo, hi uint64) phys.Iter { return vm.table.ptes.Iter(lo, hi) }

// GenIter walks the generations of [lo,hi), as GenAt.
func (vm *VM) GenIter(lo, hi uint64) phys.Iter { return vm.table.gens.Iter(lo, hi) }

// TLBIter walks the cached translations of [lo,hi) as runs of PTE words: what
// running queues may use whatever the page table says.
func (vm *VM) TLBIter(lo, hi uint64) phys.Iter { return vm.tlb.ptes.Iter(lo, hi) }

// TLBGenIter walks the generations beside TLBIter.
func (vm *VM) TLBGenIter(lo, hi uint64) phys.Iter { return vm.tlb.gens.Iter(lo, hi) }

// Destroyed says whether the queue was destroyed, though it may still be listed.
func (q *Queue) Destroyed() bool { return q.destroyed }
