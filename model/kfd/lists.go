// SPDX-License-Identifier: MIT

package kfd

import (
	"cmp"
	"slices"
	"sort"

	"github.com/kfdsim/kfdsim/sim"
)

// The driver's two lists of BOs are kept so that a pass costs what was
// invalidated, not what is registered: `bos` has all of them, `touched` those
// that a callback has hit since the last pass, `inval` those that the worker
// works on. A BO is on the kernel's valid list when it is not on inval.

// add makes the worker know a BO.
//
// Preconditions: ProcessInfo.lock is held.
func (i *ProcessInfo) add(m *Mem) {
	i.nextSeq++
	m.seq, m.pos = i.nextSeq, len(i.bos)
	i.bos = append(i.bos, m)
}

// remove makes the worker forget a BO. The lists of what was hit drop it when the
// next pass collects them: at exit every BO is on one of them.
//
// Preconditions: ProcessInfo.lock is held.
func (i *ProcessInfo) remove(t *sim.Task, m *Mem) {
	i.notifierLock.Lock(t)
	last := len(i.bos) - 1
	i.bos[m.pos] = i.bos[last]
	i.bos[m.pos].pos = m.pos
	i.bos[last] = nil
	i.bos = i.bos[:last]
	m.removed = true
	if i.evictedBOs != 0 {
		t.Mark(MarkFreedWhileEvicted)
	}
	i.notifierLock.Unlock(t)
}

// MarkInvalidLocked counts an invalidation of the range.
//
// Preconditions: notifierLock is held.
func (r *UserRange) MarkInvalidLocked() {
	r.Invalid++
	if r.gone {
		r.Mem.P.drv.Sim.Mark(MarkEFAULTBeforeCallback)
	}
	if !r.noted {
		r.noted = true
		r.Mem.touched = append(r.Mem.touched, r)
	}
}

// markInvalidLocked counts an invalidation of the BO.
//
// Preconditions: notifierLock is held.
func (m *Mem) markInvalidLocked() {
	m.Invalid++
	if !m.noted && !m.onInval && !m.removed {
		m.noted = true
		m.P.Info.touched = append(m.P.Info.touched, m)
	}
}

// collectLocked moves what callbacks have hit to the inval list, in the order in
// which the BOs were made.
//
// Preconditions: ProcessInfo.lock and notifierLock are held.
func (i *ProcessInfo) collectLocked() {
	i.inval = slices.DeleteFunc(i.inval, func(m *Mem) bool { return m.removed })
	for _, m := range i.touched {
		if !m.removed {
			m.noted, m.onInval = false, true
			i.inval = append(i.inval, m)
		}
	}
	clear(i.touched)
	i.touched = i.touched[:0]
	slices.SortFunc(i.inval, func(a, b *Mem) int { return cmp.Compare(a.seq, b.seq) })
}

// PassLocked returns the ranges that a pass has to look at, in the order of the
// array: those that were invalidated since they were last confirmed. The slice
// is valid until the next pass.
//
// Preconditions: ProcessInfo.lock and notifierLock are held.
func (m *Mem) PassLocked() []*UserRange {
	m.pass = append(m.pass[:0], m.touched...)
	slices.SortFunc(m.pass, func(a, b *UserRange) int { return cmp.Compare(a.Prefix, b.Prefix) })
	return m.pass
}

// TouchedLocked returns the ranges that were invalidated since they were last
// confirmed, in no order that means anything.
//
// Preconditions: notifierLock is held.
func (m *Mem) TouchedLocked() []*UserRange { return m.touched }

// settleLocked forgets the ranges that a commit has confirmed. Absent ones stay,
// to be fetched again by the next pass.
//
// Preconditions: ProcessInfo.lock and notifierLock are held.
func (m *Mem) settleLocked() {
	keep := m.touched[:0]
	for _, r := range m.touched {
		if r.Invalid != 0 {
			keep = append(keep, r)
		} else {
			r.noted = false
		}
	}
	clear(m.touched[len(keep):])
	m.touched = keep
}

// BOs returns the BOs with user memory, in no order that means anything. The
// caller must not modify the slice.
func (i *ProcessInfo) BOs() []*Mem { return i.bos }

// RangesIn returns the ranges of the BO that lie in the GPU pages [lo,hi).
func (m *Mem) RangesIn(lo, hi uint64) []UserRange {
	if hi <= m.VA || lo >= m.VA+m.Size {
		return nil
	}
	first := sort.Search(len(m.Ranges), func(k int) bool { r := &m.Ranges[k]; return m.VA+r.Prefix+r.Len() > lo })
	end := sort.Search(len(m.Ranges), func(k int) bool { return m.VA+m.Ranges[k].Prefix >= hi })
	return m.Ranges[first:end]
}

// place gives the BO its addresses on the GPU, as long as it is mapped there.
//
// Kernel: amdgpu_vm_bo_insert_map.
//
// Preconditions: ProcessInfo.lock is held; nothing else has the addresses.
func (pd *ProcessDevice) place(m *Mem) {
	pd.byVA.ReplaceOrInsert(m)
	if w := m.P.drv.watch; w != nil {
		w.Placed(m, pd)
	}
}

// unplace gives the addresses back.
//
// Kernel: amdgpu_vm_bo_unmap.
//
// Preconditions: ProcessInfo.lock is held; no entry and no cached translation is
// left.
func (pd *ProcessDevice) unplace(m *Mem) {
	pd.byVA.Delete(m)
	if w := m.P.drv.watch; w != nil {
		w.Unplaced(m, pd)
	}
}

// Placed returns the BOs that have addresses in the GPU pages [lo,hi), in order of
// them.
func (pd *ProcessDevice) Placed(lo, hi uint64) []*Mem {
	var out []*Mem
	pd.byVA.DescendLessOrEqual(&Mem{VA: lo}, func(m *Mem) bool {
		if m.VA < lo && lo < m.VA+m.Size {
			out = append(out, m)
		}
		return false
	})
	pd.byVA.AscendRange(&Mem{VA: lo}, &Mem{VA: hi}, func(m *Mem) bool {
		out = append(out, m)
		return true
	})
	return out
}
