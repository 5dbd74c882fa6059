// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// TestOperationsFireTheEventsOfLinux is the table that was measured on Linux
// 6.12 with one notifier over 16 populated and fetched pages: which operation
// delivers which callbacks, and what a fetch for writing gives afterwards.
// Page numbers are relative to the registered range.
func TestOperationsFireTheEventsOfLinux(t *testing.T) {
	const b = watchedPage << PageShift
	const pg = PageSize
	type row struct {
		untouched bool // never populated before
		op        func(t *sim.Task, m *MM, p *probe)
		events    string
		refault   errno.Errno
		valid     bool // the mirror stays valid
	}
	rows := map[string]row{
		"nothing":                             {op: func(*sim.Task, *MM, *probe) {}, valid: true},
		"CPU writes to writable pages":        {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Store(t, b, 16*pg, 1)) }, valid: true},
		"munmap whole":                        {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Munmap(t, b, 16*pg)) }, events: "UNMAP[0,16)", refault: errno.EFAULT},
		"munmap of the middle 4 pages":        {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Munmap(t, b+4*pg, 4*pg)) }, events: "UNMAP[4,8)", refault: errno.EFAULT},
		"munmap of the neighbour":             {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Munmap(t, b-pg, pg)) }, valid: true},
		"munmap of a superset is not clipped": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Munmap(t, b-pg, 18*pg)) }, events: "UNMAP[-1,17)", refault: errno.EFAULT},
		"munmap of a never touched range":     {untouched: true, op: func(t *sim.Task, m *MM, p *probe) { ok(m.Munmap(t, b, 16*pg)) }, events: "UNMAP[0,16)", refault: errno.EFAULT},
		"mmap MAP_FIXED over it":              {op: func(t *sim.Task, m *MM, p *probe) { okAddr(m.Mmap(t, b, 16*pg, protRW, fixedAnon, nil, 0)) }, events: "UNMAP[0,16)"},
		"munmap and mmap at the same address": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Munmap(t, b, 16*pg))
			okAddr(m.Mmap(t, b, 16*pg, protRW, fixedAnon, nil, 0))
		}, events: "UNMAP[0,16)"},
		"MADV_DONTNEED whole":            {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 16*pg, 4)) }, events: "CLEAR[0,16)"},
		"MADV_DONTNEED one page":         {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b+2*pg, pg, 4)) }, events: "CLEAR[2,3)"},
		"MADV_DONTNEED twice":            {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 16*pg, 4)); ok(m.Madvise(t, b, 16*pg, 4)) }, events: "CLEAR[0,16)x2"},
		"MADV_DONTNEED of never touched": {untouched: true, op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 16*pg, 4)) }, events: "CLEAR[0,16)"},
		"MADV_FREE":                      {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 16*pg, 8)) }, events: "CLEAR[0,16)"},
		"MADV_COLD":                      {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 16*pg, 20)) }, valid: true},
		"MADV_WILLNEED":                  {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 16*pg, 3)) }, valid: true},
		"MADV_POPULATE_WRITE":            {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 16*pg, 23)) }, valid: true},
		"mprotect to read only":          {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mprotect(t, b, 16*pg, 1)) }, events: "PROTECTION_VMA[0,16)", refault: errno.EPERM},
		"mprotect to read only and back": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Mprotect(t, b, 16*pg, 1))
			ok(m.Mprotect(t, b, 16*pg, protRW))
		}, events: "PROTECTION_VMA[0,16)x2"},
		"mprotect to none":            {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mprotect(t, b, 16*pg, 0)) }, events: "PROTECTION_VMA[0,16)", refault: errno.EFAULT},
		"mprotect to the same":        {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mprotect(t, b, 16*pg, protRW)) }, valid: true},
		"mprotect adds execute":       {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mprotect(t, b, 16*pg, 7)) }, events: "PROTECTION_VMA[0,16)"},
		"mprotect of one middle page": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mprotect(t, b+5*pg, pg, 1)) }, events: "PROTECTION_VMA[5,6)", refault: errno.EPERM},
		"mprotect of never touched":   {untouched: true, op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mprotect(t, b, 16*pg, 1)) }, events: "", refault: errno.EPERM},
		"mprotect of emptied, tables are left": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Madvise(t, b, 16*pg, 4))
			p.events = nil
			ok(m.Mprotect(t, b, 16*pg, 1))
		}, events: "PROTECTION_VMA[0,16)", refault: errno.EPERM},
		"mremap moves it away":    {op: func(t *sim.Task, m *MM, p *probe) { okAddr(m.Mremap(t, b, 16*pg, 16*pg, 3, 0x20000000000)) }, events: "UNMAP[0,16)x2", refault: errno.EFAULT},
		"mremap of never touched": {untouched: true, op: func(t *sim.Task, m *MM, p *probe) { okAddr(m.Mremap(t, b, 16*pg, 16*pg, 3, 0x20000000000)) }, events: "UNMAP[0,16)x2", refault: errno.EFAULT},
		"mremap DONTUNMAP":        {op: func(t *sim.Task, m *MM, p *probe) { okAddr(m.Mremap(t, b, 16*pg, 16*pg, 5, 0)) }, events: "UNMAP[0,16)"},
		"mremap onto it": {op: func(t *sim.Task, m *MM, p *probe) {
			okAddr(m.Mmap(t, 0x20000000000, 16*pg, protRW, fixedAnon, nil, 0))
			ok(m.Store(t, 0x20000000000, 16*pg, 7))
			okAddr(m.Mremap(t, 0x20000000000, 16*pg, 16*pg, 3, b))
		}, events: "UNMAP[0,16)"},
		"mremap shrinks it": {op: func(t *sim.Task, m *MM, p *probe) { okAddr(m.Mremap(t, b, 16*pg, 8*pg, 0, 0)) }, events: "UNMAP[8,16)", refault: errno.EFAULT},
		"mremap grows it in place": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Munmap(t, b+16*pg, pg))
			okAddr(m.Mremap(t, b, 16*pg, 17*pg, 0, 0))
		}, valid: true},
		"mlock and munlock":         {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mlock(t, b, 16*pg)); ok(m.Munlock(t, b, 16*pg)) }, valid: true},
		"fork":                      {op: func(t *sim.Task, m *MM, p *probe) { forkOf(t, m) }, events: "PROTECTION_PAGE[-1,17)"},
		"fork of never touched":     {untouched: true, op: func(t *sim.Task, m *MM, p *probe) { forkOf(t, m) }, events: ""},
		"fork with MADV_DONTFORK":   {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b-pg, 18*pg, 10)); forkOf(t, m) }, valid: true},
		"fork with MADV_WIPEONFORK": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b-pg, 18*pg, 18)); forkOf(t, m) }, valid: true},
		"parent writes after fork":  {op: func(t *sim.Task, m *MM, p *probe) { forkOf(t, m); p.events = nil; ok(m.Store(t, b, 2*pg, 5)) }, events: "CLEAR[0,1) CLEAR[1,2)"},
		"parent writes after the child has gone": {op: func(t *sim.Task, m *MM, p *probe) {
			c := forkOf(t, m)
			c.Put(t)
			p.events = nil
			ok(m.Store(t, b, 2*pg, 5))
		}, events: ""},
		"MADV_PAGEOUT":                  {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 3*pg, 21)) }, events: "CLEAR[0,1) CLEAR[1,2) CLEAR[2,3)"},
		"MADV_PAGEOUT of never touched": {untouched: true, op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 3*pg, 21)) }, events: ""},
		"swap-in by the CPU": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Madvise(t, b, 16*pg, 21))
			p.events = nil
			bytes, err := m.Load(t, nil, b, 16*pg)
			ok(err)
			if len(bytes) != 1 || bytes[0] != (phys.ByteRun{Byte: 0x11, N: 16 * pg}) {
				panic("swap lost the contents")
			}
			ok(m.Store(t, b, 16*pg, 3))
		}, events: ""},
		"exit": {op: func(t *sim.Task, m *MM, p *probe) { m.Grab(); m.Put(t) }, events: "RELEASE[0!,max) UNMAP[0!,max)", refault: errno.ESRCH},
	}
	for name, r := range rows {
		m := newProbeMachine(Config{}, nil)
		m.run(t, func(task *sim.Task) {
			a := m.sys.NewMM("1")
			p := populated(task, a, !r.untouched)
			r.op(task, a, p)
			if got := p.takeEvents(); got != r.events {
				t.Errorf("%s: events %q, want %q", name, got, r.events)
			}
			if p.valid != r.valid && !r.untouched {
				t.Errorf("%s: mirror valid = %v, want %v", name, p.valid, r.valid)
			}
			if r.refault == errno.ESRCH {
				require.True(panicking{}, !a.GetNotZero(task))
				return
			}
			if _, _, err := p.fetch(task, HMMReqFault|HMMReqWrite); err != r.refault {
				t.Errorf("%s: a fetch gives %v, want %v", name, err, r.refault)
			}
		})
	}
}

type panicking struct{}

func (panicking) Errorf(f string, a ...any) { panic(f) }
func (panicking) FailNow()                  { panic("failed") }

func forkOf(t *sim.Task, m *MM) *MM {
	c, err := m.DupMM(t, "child")
	ok(err)
	return c
}

// TestAFetchThatBreaksCopyOnWriteIsBusyOncePerPageTable: the CLEARs come from
// the fetch itself, one per page, and the walk is collided once per 2 MiB.
func TestAFetchThatBreaksCopyOnWriteIsBusyOncePerPageTable(t *testing.T) {
	for _, tables := range []uint64{1, 2, 4, 8} {
		m := newProbeMachine(Config{}, nil)
		m.run(t, func(task *sim.Task) {
			a := m.sys.NewMM("1")
			okAddr(a.Mmap(task, watchedPage<<PageShift, tables<<21, protRW, fixedAnon, nil, 0))
			ok(a.Store(task, watchedPage<<PageShift, tables<<21, 9))
			p := register(task, a, watchedPage, watchedPage+tables*512)
			forkOf(task, a)
			p.events = nil
			h, retries, err := p.fetch(task, HMMReqFault|HMMReqWrite)
			ok(err)
			require.Equal(t, int(tables), retries)
			require.Len(t, p.events, int(tables*512))
			require.Equal(t, HMMValid|HMMWrite, h.Runs[0].Flags)
		})
	}
}

func TestAReadFetchOfUntouchedMemoryMapsTheZeroPageAndAWriteBreaksIt(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		p := populated(task, a, false)
		h, retries, err := p.fetch(task, HMMReqFault)
		ok(err)
		require.Equal(t, []HMMRun{{watchedPage, watchedPage + 16, phys.ZeroPFN, 0, HMMValid, 0}}, h.Runs)
		require.Zero(t, retries)
		require.Empty(t, p.takeEvents())
		ok(a.Store(task, watchedPage<<PageShift, 1, 1))
		require.Equal(t, "CLEAR[0,1)", p.takeEvents())
		_, retries, err = p.fetch(task, HMMReqFault|HMMReqWrite)
		ok(err)
		require.Equal(t, 1, retries)
		require.Len(t, p.events, 15)
	})
}

func TestASnapshotFaultsNothingIn(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		okAddr(a.Mmap(task, watchedPage<<PageShift, 4<<PageShift, protRW, fixedAnon, nil, 0))
		okAddr(a.Mmap(task, (watchedPage+2)<<PageShift, 1<<PageShift, 0, fixedAnon, nil, 0))
		ok(a.Store(task, watchedPage<<PageShift, 1, 1))
		p := register(task, a, watchedPage, watchedPage+6)
		h, _, err := p.fetch(task, 0)
		ok(err)
		var flags []HMMFlags
		for _, r := range h.Runs {
			flags = append(flags, r.Flags)
		}
		// present, untouched, PROT_NONE, untouched, hole
		require.Equal(t, []HMMFlags{HMMValid | HMMWrite, 0, HMMError, 0, HMMError}, flags)
		require.Equal(t, uint64(1), a.RSS())
	})
}
