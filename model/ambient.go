// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// ambientFor maps what a recorded success needs and the trace never mapped: the
// loader, execve and whatever came before an attach leave memory that no line
// shows.
func (r *runner) ambientFor(t *sim.Task, th *thread, op *traces.Op, addr, n uint64) {
	if op.Result.Kind == traces.ResultOK || op.Result.Kind == traces.ResultBytes {
		r.ambient(t, th.proc.mm, addr, n)
	}
}

// ambient fills the holes of [addr,addr+n) with anonymous memory. A hand-written
// trace shows everything that it does: what it has mapped or unmapped itself is
// never ambient there. A capture may lack the call that mapped it again.
//
// Simplified: model/FIDELITY.md R-AMBIENT.
func (r *runner) ambient(t *sim.Task, m *mm.MM, addr, n uint64) {
	t.Touch(m.VMAsAccess(sim.KindRead))
	lo, hi, ok := pages(addr, n)
	if !ok || !r.captured && !r.shown(m).Empty(lo, hi) {
		return
	}
	for lo < hi {
		v := m.FindVMA(lo)
		end := hi
		if v != nil && v.Start <= lo {
			lo = v.End
			continue
		}
		if v != nil {
			end = min(hi, v.Start)
		}
		const protRW, mapPrivateAnonFixed = 3, 0x2 | 0x20 | 0x10
		if _, err := m.Mmap(t, lo<<mm.PageShift, (end-lo)<<mm.PageShift, protRW, mapPrivateAnonFixed, nil, 0); err != 0 {
			return
		}
		m.AmbientRanges++
		m.AmbientPages += end - lo
		r.rep.Ambient++
		r.rep.AmbientPages += end - lo
		lo = end
	}
}

// shown returns the pages that the trace has mapped or unmapped in an address
// space.
func (r *runner) shown(m *mm.MM) *phys.Map {
	if r.seen[m] == nil {
		r.seen[m] = &phys.Map{}
	}
	return r.seen[m]
}

// inheritShown gives a forked child what its parent's trace has shown.
func (r *runner) inheritShown(parent, child *mm.MM) {
	for run := range r.shown(parent).Runs(0, mm.TaskSize) {
		r.shown(child).Set(run.Lo, run.Hi, 0, 0)
	}
}

// show notes that the trace itself decides what is at [addr,addr+n).
func (r *runner) show(t *sim.Task, m *mm.MM, addr, n uint64) {
	t.Touch(m.VMAsAccess(sim.KindWrite))
	if lo, hi, ok := pages(addr, n); ok && !r.captured {
		r.shown(m).Set(lo, hi, 0, 0)
	}
}

// makeRoom unmaps what lies where the kernel, by the record, put a new mapping:
// something that the trace does not show had freed it.
func (r *runner) makeRoom(t *sim.Task, m *mm.MM, addr, n uint64) {
	t.Touch(m.VMAsAccess(sim.KindRead))
	lo, hi, ok := pages(addr, n)
	if !ok {
		return
	}
	if v := m.FindVMA(lo); v == nil || v.Start >= hi {
		return
	}
	r.rep.MadeRoom++
	m.Munmap(t, lo<<mm.PageShift, (hi-lo)<<mm.PageShift)
}

// coveredByVMAs says whether every page of [addr,addr+n) is mapped.
func (r *runner) coveredByVMAs(m *mm.MM, addr, n uint64) bool {
	lo, hi, ok := pages(addr, n)
	for ok && lo < hi {
		v := m.FindVMA(lo)
		if v == nil || v.Start > lo {
			return false
		}
		lo = v.End
	}
	return true
}

// overlapsVMAs says whether any page of [addr,addr+n) is mapped.
func (r *runner) overlapsVMAs(m *mm.MM, addr, n uint64) bool {
	lo, hi, ok := pages(addr, n)
	if !ok {
		return false
	}
	v := m.FindVMA(lo)
	return v != nil && v.Start < hi
}

// pages returns the pages that [addr,addr+n) touches; false for none and for
// what is no user address.
func pages(addr, n uint64) (lo, hi uint64, ok bool) {
	if n == 0 || addr+n < addr || addr+n > mm.TaskSize<<mm.PageShift {
		return 0, 0, false
	}
	return addr >> mm.PageShift, (addr + n + mm.PageSize - 1) >> mm.PageShift, true
}
