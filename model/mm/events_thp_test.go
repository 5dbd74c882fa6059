// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// hugeProbe makes n huge pages between pages that are none, registers and fetches
// them.
func hugeProbe(t *sim.Task, m *MM, n uint64) *probe {
	const b = watchedPage << PageShift
	okAddr(m.Mmap(t, b-PageSize, n<<21+2*PageSize, protRW, fixedAnon, nil, 0))
	ok(m.Madvise(t, b-PageSize, n<<21+2*PageSize, MadvHugePage))
	ok(m.Store(t, b-PageSize, n<<21+2*PageSize, 0x11))
	p := register(t, m, watchedPage, watchedPage+n*hugePages)
	p.lookup(t, 9)
	p.events = nil
	return p
}

// lookup fetches everything for writing and expects one order everywhere.
func (p *probe) lookup(t *sim.Task, order uint8) {
	h, _, err := p.fetch(t, HMMReqFault|HMMReqWrite)
	ok(err)
	for _, r := range h.Runs {
		require.Equal(panicking{}, order, r.Order)
		require.Equal(panicking{}, HMMValid|HMMWrite, r.Flags)
	}
}

// orders returns the order of each run of the registered range, as it is mapped.
func (p *probe) orders(t *sim.Task) []uint8 {
	h, _, err := p.fetch(t, 0)
	ok(err)
	var out []uint8
	for _, r := range h.Runs {
		if k := len(out); k == 0 || out[k-1] != r.Order {
			out = append(out, r.Order)
		}
	}
	return out
}

// hugeRow is an operation on a huge page at watchedPage.
type hugeRow struct {
	op      func(t *sim.Task, m *MM, p *probe)
	events  string
	orders  []uint8 // afterwards, as it is mapped
	refault errno.Errno
	bytes   []phys.ByteRun // afterwards; nil: as before
}

// TestOperationsOnAHugePageFireTheEventsOfLinux is the part of the table measured
// on Linux 6.12 that is about huge pages, with one notifier over one of them.
func TestOperationsOnAHugePageFireTheEventsOfLinux(t *testing.T) {
	const b, pg, huge = watchedPage << PageShift, PageSize, hugePages * PageSize
	const elsewhere = 0x20000000000
	rows := map[string]hugeRow{
		"nothing": {op: func(t *sim.Task, m *MM, p *probe) {}, orders: []uint8{9}},
		"CPU writes": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Store(t, b+3*pg, pg, 0x11))
		}, orders: []uint8{9}},
		"mprotect one page": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mprotect(t, b+4*pg, pg, ProtRead)) },
			events: "CLEAR[0,512) PROTECTION_VMA[4,5)", orders: []uint8{0}, refault: errno.EPERM},
		"mprotect whole": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mprotect(t, b, huge, ProtRead)) },
			events: "PROTECTION_VMA[0,512)", orders: []uint8{9}, refault: errno.EPERM},
		"mprotect whole and back": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Mprotect(t, b, huge, ProtNone))
			ok(m.Mprotect(t, b, huge, protRW))
		}, events: "PROTECTION_VMA[0,512)x2", orders: []uint8{9}},
		"fork": {op: func(t *sim.Task, m *MM, p *probe) { forkOf(t, m) },
			events: "PROTECTION_PAGE[-1,513)", orders: []uint8{9}},
		"parent writes after fork": {op: func(t *sim.Task, m *MM, p *probe) {
			forkOf(t, m)
			p.events = nil
			ok(m.Store(t, b, pg, 0x11))
		}, events: "CLEAR[0,512) CLEAR[0,1)", orders: []uint8{0}},
		"parent writes after the child has gone": {op: func(t *sim.Task, m *MM, p *probe) {
			forkOf(t, m).Put(t)
			p.events = nil
			ok(m.Store(t, b+5*pg, pg, 0x11))
		}, orders: []uint8{9}},
		"MADV_DONTNEED one page": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b+8*pg, pg, MadvDontNeed)) },
			events: "CLEAR[8,9) CLEAR[0,512)", orders: []uint8{0}, bytes: []phys.ByteRun{{Byte: 0x11, N: 8 * pg}, {N: pg}, {Byte: 0x11, N: huge - 9*pg}}},
		"MADV_DONTNEED whole": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, huge, MadvDontNeed)) },
			events: "CLEAR[0,512)", orders: []uint8{0}, bytes: []phys.ByteRun{{N: huge}}},
		"munmap of the upper half": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Munmap(t, b+256*pg, huge-256*pg)) },
			events: "CLEAR[0,512) UNMAP[256,512)", orders: []uint8{0}, refault: errno.EFAULT, bytes: []phys.ByteRun{}},
		"munmap whole": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Munmap(t, b, huge)) },
			events: "UNMAP[0,512)", orders: []uint8{0}, refault: errno.EFAULT, bytes: []phys.ByteRun{}},
		"munmap of the neighbour": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Munmap(t, b-pg, pg)) }, orders: []uint8{9}},
		"MADV_PAGEOUT whole": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, huge, MadvPageOut)) },
			events: "CLEAR[0,512)", orders: []uint8{0}},
		"MADV_PAGEOUT one page": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, pg, MadvPageOut)) },
			events: "CLEAR[0,512)x2 CLEAR[0,1)", orders: []uint8{0}},
		"MADV_PAGEOUT after fork": {op: func(t *sim.Task, m *MM, p *probe) {
			forkOf(t, m)
			p.events = nil
			ok(m.Madvise(t, b, huge, MadvPageOut))
		}, orders: []uint8{9}},
		"MADV_COLD": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, huge, MadvCold)) }, orders: []uint8{9}},
		"MADV_COLD one page": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b+pg, pg, MadvCold)) },
			events: "CLEAR[0,512)x2", orders: []uint8{0}},
		"MADV_FREE": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, huge, MadvFree)) },
			events: "CLEAR[0,512)", orders: []uint8{9}},
		"MADV_FREE one page": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b+7*pg, pg, MadvFree)) },
			events: "CLEAR[7,8) CLEAR[0,512)x2", orders: []uint8{0}},
		"MADV_COLD one page after fork": {op: func(t *sim.Task, m *MM, p *probe) {
			forkOf(t, m)
			p.events = nil
			ok(m.Madvise(t, b+pg, pg, MadvCold))
			ok(m.Madvise(t, b-pg, 2*pg, MadvCold))
		}, orders: []uint8{9}},
		"MADV_FREE after fork": {op: func(t *sim.Task, m *MM, p *probe) {
			forkOf(t, m)
			p.events = nil
			ok(m.Madvise(t, b, huge, MadvFree))
		}, events: "CLEAR[0,512)", orders: []uint8{9}},
		"reclaim after MADV_FREE": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Madvise(t, b, huge, MadvFree))
			m.sys.Reclaim(t, 600)
			require.Zero(panicking{}, m.sys.Mem.SwapUsed()/100)
		}, events: "CLEAR[0,512)x2", orders: []uint8{0}, bytes: []phys.ByteRun{{N: huge}}},
		"a protection hint and its fault": {op: func(t *sim.Task, m *MM, p *probe) {
			m.pt.Update(watchedPage, watchedPage+hugePages, func(e uint64) uint64 { return e | uint64(PTEProtNone) })
			ok(m.Store(t, b+5*pg, pg, 0x11))
			require.True(panicking{}, m.PTEAt(watchedPage+500).Accessible())
		}, orders: []uint8{9}},
		"MADV_COLLAPSE of what is huge": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, huge, MadvCollapse)) },
			orders: []uint8{9}},
		"MADV_NOHUGEPAGE keeps what is there": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Madvise(t, b, huge, MadvNoHugePage))
		}, orders: []uint8{9}},
		"mlock and munlock": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Mlock(t, b, huge))
			ok(m.Munlock(t, b, huge))
		}, orders: []uint8{9}},
		"mlock of one page": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mlock(t, b+pg, pg)) },
			events: "CLEAR[0,512)", orders: []uint8{0}},
		"mremap away": {op: func(t *sim.Task, m *MM, p *probe) {
			okAddr(m.Mremap(t, b, huge, huge, MremapMayMove|MremapFixed, elsewhere))
			require.True(panicking{}, m.PTEAt(elsewhere>>PageShift).huge())
		}, events: "UNMAP[0,512)x2", orders: []uint8{0}, refault: errno.EFAULT, bytes: []phys.ByteRun{}},
		"mremap to where it is not aligned": {op: func(t *sim.Task, m *MM, p *probe) {
			okAddr(m.Mremap(t, b, huge, huge, MremapMayMove|MremapFixed, elsewhere+pg))
			require.False(panicking{}, m.PTEAt(elsewhere>>PageShift+1).huge())
		}, events: "UNMAP[0,512) CLEAR[0,512) UNMAP[0,512)", orders: []uint8{0}, refault: errno.EFAULT, bytes: []phys.ByteRun{}},
		"mremap of its half": {op: func(t *sim.Task, m *MM, p *probe) {
			okAddr(m.Mremap(t, b+256*pg, huge/2, huge/2, MremapMayMove|MremapFixed, elsewhere+huge/2))
		}, events: "UNMAP[256,512) CLEAR[0,512)x2 UNMAP[256,512)", orders: []uint8{0}, refault: errno.EFAULT, bytes: []phys.ByteRun{}},
		"reclaim": {op: func(t *sim.Task, m *MM, p *probe) { m.sys.Reclaim(t, 600) },
			events: "CLEAR[0,512)", orders: []uint8{0}},
		"exit": {op: func(t *sim.Task, m *MM, p *probe) { m.Grab(); m.Put(t) },
			events: "RELEASE[0!,max) UNMAP[0!,max)", refault: errno.ESRCH},
	}
	for name, r := range rows {
		m := newProbeMachine(Config{}, nil)
		m.run(t, func(task *sim.Task) { r.check(t, task, m, name) })
	}
}

func (r *hugeRow) check(t *testing.T, task *sim.Task, m *probeMachine, name string) {
	a := m.sys.NewMM("1")
	p := hugeProbe(task, a, 1)
	r.op(task, a, p)
	require.Equal(t, r.events, p.takeEvents(), name)
	if r.refault == errno.ESRCH {
		require.False(t, a.GetNotZero(task))
		return
	}
	checkHuge(t, a)
	require.Equal(t, r.orders, p.orders(task), name)
	_, _, err := p.fetch(task, HMMReqFault|HMMReqWrite)
	require.Equal(t, r.refault, err, name)
	if r.bytes == nil {
		r.bytes = []phys.ByteRun{{Byte: 0x11, N: hugePages * PageSize}}
	}
	if len(r.bytes) > 0 {
		got, err := a.Load(task, nil, watchedPage<<PageShift, hugePages*PageSize)
		require.Zero(t, err, name)
		require.Equal(t, r.bytes, got, name)
	}
}

// checkHuge insists that huge pages are whole: 512 entries of one kind that begin
// at an aligned frame, in one VMA and without a page table.
func checkHuge(t require.TestingT, m *MM) {
	for _, r := range m.PTERuns(nil, 0, EndOfSpace) {
		p := PTE(r.V)
		if !p.huge() {
			table, _ := m.tables.Get(r.Lo >> pmdShift)
			require.EqualValues(t, tablePTE, table, "page %#x", r.Lo)
			continue
		}
		require.Zero(t, r.Lo%hugePages, "page %#x", r.Lo)
		require.Zero(t, r.Hi%hugePages, "page %#x", r.Hi)
		require.True(t, p.anon() || p.zero())
		if !p.zero() {
			require.Zero(t, p.Frame()%hugePages)
		}
		for a := r.Lo; a < r.Hi; a += hugePages {
			v := m.vmaAt(a)
			require.True(t, v != nil && a+hugePages <= v.End, "page %#x", a)
			table, _ := m.tables.Get(a >> pmdShift)
			require.EqualValues(t, tablePMD, table)
		}
	}
}

// collapsible512 makes 512 small pages between others, in a VMA that khugepaged
// may collapse, registers and fetches a part of them.
func collapsible512(t *sim.Task, m *MM) *probe {
	const b = watchedPage << PageShift
	okAddr(m.Mmap(t, b, 2<<21, protRW, fixedAnon, nil, 0))
	for i := range uint64(hugePages) {
		ok(m.Store(t, b+i*PageSize, PageSize, byte(i)))
	}
	ok(m.Madvise(t, b, 2<<21, MadvHugePage))
	p := &probe{base: watchedPage}
	p.lock.Init(m.sys.Sim, classProbe)
	ok(m.IntervalNotifierInsert(t, &p.IntervalNotifier, watchedPage+8, 4, p))
	p.lookup(t, 0)
	return p
}

func sawPages(t *testing.T, task *sim.Task, m *MM, want func(i int) byte) {
	got, err := m.Load(task, nil, watchedPage<<PageShift, hugePages<<PageShift)
	require.Zero(t, err)
	i := 0
	for _, r := range got {
		for n := uint64(0); n < r.N; n += PageSize {
			require.Equal(t, want(i), r.Byte, "page %d", i)
			i++
		}
	}
	require.Equal(t, hugePages, i)
}

// TestSmallPagesBecomeAHugePage: one window over the whole 2 MiB, which sticks out
// of what is registered, and the same contents.
func TestSmallPagesBecomeAHugePage(t *testing.T) {
	const b = watchedPage << PageShift
	by := map[string]struct {
		op   func(t *sim.Task, m *MM)
		task string
	}{
		"by MADV_COLLAPSE": {op: func(t *sim.Task, m *MM) { ok(m.Madvise(t, b, 1<<21, MadvCollapse)) }},
		"by khugepaged":    {op: func(t *sim.Task, m *MM) { m.sys.Khugepaged(t) }, task: "@khugepaged"},
	}
	for name, c := range by {
		t.Run(name, func(t *testing.T) {
			m := newProbeMachine(Config{}, nil)
			m.run(t, func(task *sim.Task) {
				a := m.sys.NewMM("1")
				p := collapsible512(task, a)
				c.op(task, a)
				require.Equal(t, "CLEAR[0,512)"+c.task, p.takeEvents())
				p.lookup(task, 9)
				c.op(task, a)
				require.Empty(t, p.takeEvents(), "already huge")
				require.True(t, p.valid)
				checkHuge(t, a)
				require.Equal(t, uint64(hugePages), a.RSS())
				require.Equal(t, uint64(hugePages), m.sys.Mem.Used())
				sawPages(t, task, a, func(i int) byte { return byte(i) })
			})
		})
	}
}

func TestACollapseFillsHolesAndBringsSwapBack(t *testing.T) {
	const b = watchedPage << PageShift
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		collapsible512(task, a)
		ok(a.Madvise(task, b+100*PageSize, 20*PageSize, MadvDontNeed))
		ok(a.Madvise(task, b+200*PageSize, 30*PageSize, MadvPageOut))
		c := forkOf(task, a)
		require.Equal(t, errno.EINVAL, a.Madvise(task, b, 1<<21, MadvCollapse), "nothing is writable")
		ok(a.Store(task, b, PageSize, 0))
		ok(a.Madvise(task, b, 1<<21, MadvCollapse))
		require.True(t, a.PTEAt(watchedPage).huge())
		require.Zero(t, a.swapents)
		require.Equal(t, uint64(30), c.swapents, "the child keeps its own")
		sawPages(t, task, a, func(i int) byte {
			if i >= 100 && i < 120 {
				return 0
			}
			return byte(i)
		})
		c.Put(task)
		require.Equal(t, uint64(hugePages), m.sys.Mem.Used())
		require.Zero(t, m.sys.Mem.SwapUsed())
	})
}

func TestEveryWhole2MiBOfARangeIsCollapsed(t *testing.T) {
	const b = watchedPage << PageShift
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		okAddr(a.Mmap(task, b, 4<<21, protRW, fixedAnon, nil, 0))
		ok(a.Store(task, b, 4<<21, 0x11))
		p := register(task, a, watchedPage, watchedPage+4*hugePages)
		ok(a.Madvise(task, b+PageSize, 3<<21, MadvCollapse))
		require.Equal(t, "CLEAR[512,1024) CLEAR[1024,1536)", p.takeEvents())
		require.Equal(t, errno.ENOMEM, a.Madvise(task, b, 5<<21, MadvCollapse), "a hole; what is mapped was done")
		require.Equal(t, "CLEAR[0,512) CLEAR[1536,2048)", p.takeEvents())
		ok(a.Madvise(task, b+PageSize, 1<<21, MadvCollapse))
		require.Equal(t, errno.EINVAL, a.Madvise(task, b+PageSize, PageSize, MadvCollapse), "less than nothing")
	})
}

func TestKhugepagedLeavesAloneWhatIsOftenInSwapOrShared(t *testing.T) {
	const b = watchedPage << PageShift
	cases := map[string]struct {
		prep func(t *sim.Task, m *MM)
		huge bool
	}{
		"a little in swap": {prep: func(t *sim.Task, m *MM) { ok(m.Madvise(t, b, 64*PageSize, MadvPageOut)) }, huge: true},
		"more in swap":     {prep: func(t *sim.Task, m *MM) { ok(m.Madvise(t, b, 65*PageSize, MadvPageOut)) }},
		"a little shared": {prep: func(t *sim.Task, m *MM) {
			forkOf(t, m)
			ok(m.Store(t, b, 256*PageSize, 1))
		}, huge: true},
		"more shared": {prep: func(t *sim.Task, m *MM) {
			forkOf(t, m)
			ok(m.Store(t, b, 255*PageSize, 1))
		}},
		"not touched for long": {prep: func(t *sim.Task, m *MM) { ok(m.Madvise(t, b, 1<<21, MadvCold)) }},
		"mostly empty": {prep: func(t *sim.Task, m *MM) {
			ok(m.Madvise(t, b+PageSize, 511*PageSize, MadvDontNeed))
		}, huge: true},
	}
	for name, c := range cases {
		m := newProbeMachine(Config{}, nil)
		m.run(t, func(task *sim.Task) {
			a := m.sys.NewMM("1")
			collapsible512(task, a)
			c.prep(task, a)
			m.sys.Khugepaged(task)
			require.Equal(t, c.huge, a.PTEAt(watchedPage).huge(), name)
		})
	}
}

// TestWhatCannotBeCollapsedIsTold: MADV_COLLAPSE says why, and nothing changes.
func TestWhatCannotBeCollapsedIsTold(t *testing.T) {
	const b = watchedPage << PageShift
	cases := map[string]struct {
		cfg  Config
		prep func(t *sim.Task, m *MM)
		want errno.Errno
	}{
		"MADV_NOHUGEPAGE": {prep: func(t *sim.Task, m *MM) { ok(m.Madvise(t, b, 2<<21, MadvNoHugePage)) }, want: errno.EINVAL},
		"read-only pages": {prep: func(t *sim.Task, m *MM) { ok(m.Mprotect(t, b, 2<<21, ProtRead)) }, want: errno.EINVAL},
		"emptied again":   {prep: func(t *sim.Task, m *MM) { ok(m.Madvise(t, b, 2<<21, MadvDontNeed)) }, want: errno.EINVAL},
		"no huge page left": {cfg: Config{RAM: 1000, Swap: 100}, prep: func(*sim.Task, *MM) {
		}, want: errno.ENOMEM},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newProbeMachine(c.cfg, nil)
			m.run(t, func(task *sim.Task) {
				a := m.sys.NewMM("1")
				p := collapsible512(task, a)
				c.prep(task, a)
				p.events = nil
				require.Equal(t, c.want, a.Madvise(task, b, 1<<21, MadvCollapse))
				require.Empty(t, p.takeEvents())
				require.False(t, a.PTEAt(watchedPage).huge())
				m.sys.Khugepaged(task)
				require.False(t, a.PTEAt(watchedPage).huge())
			})
		})
	}
}

func TestAFaultMakesAHugePageWhereAllOfItFits(t *testing.T) {
	const b = watchedPage << PageShift
	cases := map[string]struct {
		mode   THPMode
		advice int
		at     uint64 // page, from 3 pages before a huge page
		huge   bool
	}{
		"inside":                                 {advice: MadvHugePage, at: 3 + 100, huge: true},
		"before it":                              {advice: MadvHugePage, at: 2},
		"after the last":                         {advice: MadvHugePage, at: 3 + hugePages},
		"without advice":                         {advice: MadvNormal, at: 3 + 100},
		"without advice where always":            {mode: THPAlways, advice: MadvNormal, at: 3 + 100, huge: true},
		"MADV_NOHUGEPAGE where always":           {mode: THPAlways, advice: MadvNoHugePage, at: 3 + 100},
		"MADV_HUGEPAGE where it is switched off": {mode: THPNever, advice: MadvHugePage, at: 3 + 100},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newProbeMachine(Config{THP: c.mode}, nil)
			m.run(t, func(task *sim.Task) {
				a := m.sys.NewMM("1")
				okAddr(a.Mmap(task, b-3*PageSize, 1<<21+10*PageSize, protRW, fixedAnon, nil, 0))
				ok(a.Madvise(task, b-3*PageSize, 1<<21+10*PageSize, c.advice))
				ok(a.Store(task, b+c.at*PageSize-3*PageSize, 1, 1))
				require.Equal(t, c.huge, a.PTEAt(watchedPage).huge())
				want := uint64(1)
				if c.huge {
					want = hugePages
				}
				require.Equal(t, want, a.RSS())
				ok(a.Store(task, b-3*PageSize, 1<<21+10*PageSize, 1))
				require.Equal(t, uint64(hugePages+10), a.RSS())
				checkHuge(t, a)
			})
		})
	}
}

func TestAReadMapsTheHugeZeroPageAndAWriteSplitsIt(t *testing.T) {
	const b = watchedPage << PageShift
	m := newProbeMachine(Config{THP: THPAlways}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		okAddr(a.Mmap(task, b, 1<<21, protRW, fixedAnon, nil, 0))
		p := register(task, a, watchedPage, watchedPage+hugePages)
		h, retries, err := p.fetch(task, HMMReqFault)
		ok(err)
		require.Equal(t, []HMMRun{{watchedPage, watchedPage + hugePages, phys.ZeroPFN, 0, HMMValid, 9}}, h.Runs)
		require.Zero(t, retries)
		require.Zero(t, a.RSS())
		ok(a.Store(task, b+4*PageSize, 1, 1))
		require.Equal(t, "CLEAR[0,512) CLEAR[4,5)", p.takeEvents())
		require.Equal(t, uint64(1), a.RSS())
		checkHuge(t, a)
	})
}

// TestAFetchOfAnEmptyHugePageMakesIt: the fault is of 2 MiB, even if less is
// registered, and is no invalidation.
func TestAFetchOfAnEmptyHugePageMakesIt(t *testing.T) {
	const b = watchedPage << PageShift
	m := newProbeMachine(Config{THP: THPAlways}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		okAddr(a.Mmap(task, b, 3<<21, protRW, fixedAnon, nil, 0))
		p := register(task, a, watchedPage+100, watchedPage+600)
		h, retries, err := p.fetch(task, HMMReqFault|HMMReqWrite)
		ok(err)
		require.Len(t, h.Runs, 1)
		require.Equal(t, uint8(9), h.Runs[0].Order)
		require.Zero(t, retries)
		require.Empty(t, p.takeEvents())
		require.Equal(t, uint64(2*hugePages), a.RSS())
	})
}

// TestAFetchOfACopyOnWriteHugePageSplitsIt: its own CLEARs collide with the walk
// once per 2 MiB, as with small pages.
func TestAFetchOfACopyOnWriteHugePageSplitsIt(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		p := hugeProbe(task, a, 2)
		c := forkOf(task, a)
		p.events = nil
		_, retries, err := p.fetch(task, HMMReqFault|HMMReqWrite)
		ok(err)
		require.Equal(t, 2, retries)
		require.Len(t, p.events, 2*(1+hugePages))
		require.Equal(t, "CLEAR[0,512)", p.events[0])
		require.Equal(t, "CLEAR[512,1024)", p.events[1+hugePages])
		require.True(t, c.PTEAt(watchedPage).huge(), "the child's is whole")
		c.Put(task)
	})
}

func TestAHugePageWithoutRoomInSwapIsSplit(t *testing.T) {
	const b = watchedPage << PageShift
	m := newProbeMachine(Config{RAM: 4096, Swap: 500}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		p := hugeProbe(task, a, 1)
		ok(a.Madvise(task, b, 1<<21, MadvPageOut))
		require.Equal(t, []string{"CLEAR[0,512)", "CLEAR[0,512)", "CLEAR[0,1)"}, p.events[:3])
		require.Len(t, p.events, 502)
		require.Equal(t, uint64(500), m.sys.Mem.SwapUsed())
		checkHuge(t, a)
		got, err := a.Load(task, nil, b, 1<<21)
		ok(err)
		require.Equal(t, []phys.ByteRun{{Byte: 0x11, N: 1 << 21}}, got)
	})
}

// TestReclaimTakesASharedHugePageFromEveryone: one window in each address space,
// whether it maps the page whole or in pieces.
func TestReclaimTakesASharedHugePageFromEveryone(t *testing.T) {
	const b = watchedPage << PageShift
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		p := hugeProbe(task, a, 1)
		c := forkOf(task, a)
		cp := register(task, c, watchedPage, watchedPage+hugePages)
		ok(c.Store(task, b, PageSize, 0x22)) // the child's is in pieces now
		p.events, cp.events = nil, nil
		m.sys.Reclaim(task, 4096)
		require.Equal(t, "CLEAR[0,512)", p.takeEvents())
		require.Contains(t, cp.takeEvents(), "CLEAR[0,512)")
		require.Zero(t, m.sys.Mem.Used())
		for mm, want := range map[*MM][]phys.ByteRun{
			a: {{Byte: 0x11, N: 1 << 21}},
			c: {{Byte: 0x22, N: PageSize}, {Byte: 0x11, N: 1<<21 - PageSize}},
		} {
			got, err := mm.Load(task, nil, b, 1<<21)
			ok(err)
			require.Equal(t, want, got)
		}
		c.Put(task)
		a.Put(task)
		require.Zero(t, m.sys.Mem.Used())
		require.Zero(t, m.sys.Mem.SwapUsed())
	})
}

// TestCuttingALargeVMAInvalidates2MiB: the window of a split is there whether a
// huge page is or not.
func TestCuttingALargeVMAInvalidates2MiB(t *testing.T) {
	const b = watchedPage << PageShift
	m := newProbeMachine(Config{THP: THPNever}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		okAddr(a.Mmap(task, b, 4<<21, protRW, fixedAnon, nil, 0))
		p := register(task, a, watchedPage, watchedPage+4*hugePages)
		ok(a.Mprotect(task, b+5*PageSize, PageSize, ProtRead))
		require.Empty(t, p.takeEvents(), "no page tables")
		ok(a.Store(task, b, PageSize, 1))
		ok(a.Mprotect(task, b+3<<21+5*PageSize, PageSize, ProtRead))
		require.Equal(t, "CLEAR[1536,2048) PROTECTION_VMA[1541,1542)", p.takeEvents())
		ok(a.Mprotect(task, b+1<<21, 1<<21, ProtRead))
		require.Equal(t, "PROTECTION_VMA[512,1024)", p.takeEvents(), "cut between two pieces of 2 MiB")
	})
}

func TestAGigabyteOfHugePagesIsOneRun(t *testing.T) {
	const b = watchedPage << PageShift
	m := newProbeMachine(Config{THP: THPAlways}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		okAddr(a.Mmap(task, b, 1<<30, protRW, fixedAnon, nil, 0))
		ok(a.Store(task, b, 1<<30, 0x11))
		require.Equal(t, 1, a.pt.NumRuns())
		require.Equal(t, 1, a.tables.NumRuns())
		require.True(t, a.PTEAt(watchedPage).huge())
		ok(a.Madvise(task, b, 1<<30, MadvDontNeed))
		require.Zero(t, m.sys.Mem.Used())
	})
}
