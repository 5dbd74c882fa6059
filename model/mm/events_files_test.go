// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

const (
	mapShared  = 0x01
	mapPrivate = 0x02
	fixed      = 0x10
)

// memfd makes a file of so many pages that nobody has open.
func memfd(m *MM, pages uint64) *File {
	f := m.sys.NewFile("/memfd:f", true)
	f.SetSize(pages << PageShift)
	f.Ref()
	return f
}

// showing maps 16 pages of a file where populated puts its memory, writes and
// fetches them.
func showing(t *sim.Task, m *MM, f *File, flags uint32) *probe {
	okAddr(m.Mmap(t, watchedPage<<PageShift, 16<<PageShift, protRW, flags|fixed, f, 0))
	ok(m.Store(t, watchedPage<<PageShift, 16<<PageShift, 0x11))
	p := register(t, m, watchedPage, watchedPage+16)
	_, _, err := p.fetch(t, HMMReqFault|HMMReqWrite)
	ok(err)
	p.events = nil
	return p
}

// load reads one byte of each page and returns the runs.
func load(t *sim.Task, m *MM, addr, n uint64) []phys.ByteRun {
	b, err := m.Load(t, nil, addr, n)
	ok(err)
	return b
}

func clears(lo, hi int) string {
	s := ""
	for i := lo; i < hi; i++ {
		if i > lo {
			s += " "
		}
		s += fmt.Sprintf("CLEAR[%d,%d)", i, i+1)
	}
	return s
}

// TestFileOperationsFireTheEventsOfLinux goes on with the table that was measured
// on Linux 6.12, for mappings of a memfd; rows for a file on a disk are from the
// kernel's source.
func TestFileOperationsFireTheEventsOfLinux(t *testing.T) {
	const b = watchedPage << PageShift
	const pg = PageSize
	punch := func(t *sim.Task, m *MM, f *File, off, n uint64) {
		ok(m.sys.Fallocate(t, f, FallocPunchHole|FallocKeepSize, off, n))
	}
	resize := func(t *sim.Task, m *MM, f *File, size uint64) { ok(m.sys.Truncate(t, f, size, true)) }
	type row struct {
		private, disk bool
		op            func(t *sim.Task, m *MM, f *File, p *probe)
		events        string
		refault       errno.Errno
		valid         bool
		after         []phys.ByteRun // what the CPU reads then; nil: not asked
	}
	all := []phys.ByteRun{{Byte: 0x11, N: 16 * pg}}
	rows := map[string]row{
		"nothing": {op: func(*sim.Task, *MM, *File, *probe) {}, valid: true, after: all},
		"PUNCH_HOLE of 4 pages": {op: func(t *sim.Task, m *MM, f *File, p *probe) { punch(t, m, f, 4*pg, 4*pg) },
			events: "CLEAR[4,8)", after: []phys.ByteRun{{Byte: 0x11, N: 4 * pg}, {N: 4 * pg}, {Byte: 0x11, N: 8 * pg}}},
		"PUNCH_HOLE inside a page": {op: func(t *sim.Task, m *MM, f *File, p *probe) { punch(t, m, f, 4*pg+16, 64) },
			valid: true, after: []phys.ByteRun{{Byte: 0x11, N: 4*pg + 16}, {N: 64}, {Byte: 0x11, N: 12*pg - 80}}},
		"PUNCH_HOLE from the middle of a page": {op: func(t *sim.Task, m *MM, f *File, p *probe) { punch(t, m, f, 4*pg+16, 2*pg) },
			events: "CLEAR[5,6)", after: []phys.ByteRun{{Byte: 0x11, N: 4*pg + 16}, {N: 2 * pg}, {Byte: 0x11, N: 10*pg - 16}}},
		"PUNCH_HOLE behind the mapping": {op: func(t *sim.Task, m *MM, f *File, p *probe) { punch(t, m, f, 20*pg, 4*pg) }, valid: true},
		"PUNCH_HOLE under a private copy": {private: true, op: func(t *sim.Task, m *MM, f *File, p *probe) { punch(t, m, f, 4*pg, 4*pg) },
			events: "CLEAR[4,8)", after: all},
		"MADV_REMOVE of 2 pages": {op: func(t *sim.Task, m *MM, f *File, p *probe) { ok(m.Madvise(t, b, 2*pg, MadvRemove)) },
			events: "CLEAR[0,2)", after: []phys.ByteRun{{N: 2 * pg}, {Byte: 0x11, N: 14 * pg}}},
		"ftruncate to 8 pages": {op: func(t *sim.Task, m *MM, f *File, p *probe) { resize(t, m, f, 8*pg) },
			events: "CLEAR[8,16)x2", refault: errno.EFAULT},
		"ftruncate to the middle of a page": {op: func(t *sim.Task, m *MM, f *File, p *probe) { resize(t, m, f, 8*pg+16) },
			events: "CLEAR[9,16)x2", refault: errno.EFAULT},
		"ftruncate of a private mapping to 0": {private: true, op: func(t *sim.Task, m *MM, f *File, p *probe) { resize(t, m, f, 0) },
			events: "CLEAR[0,16)x2", refault: errno.EFAULT},
		"ftruncate down and up again": {op: func(t *sim.Task, m *MM, f *File, p *probe) {
			resize(t, m, f, 8*pg+16)
			resize(t, m, f, 16*pg)
		}, events: "CLEAR[9,16)x2", after: []phys.ByteRun{{Byte: 0x11, N: 8*pg + 16}, {N: 8*pg - 16}}},
		"ftruncate up": {op: func(t *sim.Task, m *MM, f *File, p *probe) { resize(t, m, f, 64*pg) }, valid: true, after: all},
		"fallocate":    {op: func(t *sim.Task, m *MM, f *File, p *probe) { ok(m.sys.Fallocate(t, f, 0, 0, 99*pg)) }, valid: true, after: all},
		"MADV_DONTNEED": {op: func(t *sim.Task, m *MM, f *File, p *probe) { ok(m.Madvise(t, b, 16*pg, MadvDontNeed)) },
			events: "CLEAR[0,16)", after: all},
		"MADV_PAGEOUT": {op: func(t *sim.Task, m *MM, f *File, p *probe) { ok(m.Madvise(t, b, 16*pg, MadvPageOut)) },
			events: clears(0, 16), after: all},
		"MADV_PAGEOUT of a private mapping": {private: true, op: func(t *sim.Task, m *MM, f *File, p *probe) { ok(m.Madvise(t, b, 4*pg, MadvPageOut)) },
			events: clears(0, 4), after: all},
		"MADV_PAGEOUT of pages that two map": {op: func(t *sim.Task, m *MM, f *File, p *probe) {
			okAddr(m.Mmap(t, 0x30000000000, 16*pg, protRW, mapShared|fixed, f, 0))
			load(t, m, 0x30000000000, 16*pg)
			ok(m.Madvise(t, b, 16*pg, MadvPageOut))
		}, valid: true, after: all},
		"fork, and a write after it": {op: func(t *sim.Task, m *MM, f *File, p *probe) {
			forkOf(t, m)
			ok(m.Store(t, b, 16*pg, 0x11))
		}, valid: true, after: all},
		"msync of a memfd": {op: func(t *sim.Task, m *MM, f *File, p *probe) { ok(m.Msync(t, b, 16*pg, MsSync)) }, valid: true, after: all},
		"msync of a file on a disk": {disk: true, op: func(t *sim.Task, m *MM, f *File, p *probe) { ok(m.Msync(t, b, 3*pg, MsSync)) },
			events: "PROTECTION_PAGE[0,1) PROTECTION_PAGE[1,2) PROTECTION_PAGE[2,3)", after: all},
		"msync of what is clean": {disk: true, op: func(t *sim.Task, m *MM, f *File, p *probe) {
			ok(m.Msync(t, b, 16*pg, MsSync))
			p.events = nil
			ok(m.Msync(t, b, 16*pg, MsSync))
		}, events: "", after: all},
		"a write after msync": {disk: true, op: func(t *sim.Task, m *MM, f *File, p *probe) {
			ok(m.Msync(t, b, 2*pg, MsSync))
			p.events = nil
			ok(m.Store(t, b, 2*pg, 0x11))
		}, events: "", after: all},
		"MS_ASYNC": {disk: true, op: func(t *sim.Task, m *MM, f *File, p *probe) { ok(m.Msync(t, b, 16*pg, MsAsync)) }, valid: true, after: all},
		"MADV_PAGEOUT of a file on a disk": {disk: true, op: func(t *sim.Task, m *MM, f *File, p *probe) { ok(m.Madvise(t, b, 3*pg, MadvPageOut)) },
			events: clears(0, 3), after: all},
		"PUNCH_HOLE of a file on a disk": {disk: true, op: func(t *sim.Task, m *MM, f *File, p *probe) { punch(t, m, f, 4*pg, 4*pg) },
			events: "CLEAR[4,8)", after: []phys.ByteRun{{Byte: 0x11, N: 4 * pg}, {N: 4 * pg}, {Byte: 0x11, N: 8 * pg}}},
	}
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			m := newProbeMachine(Config{}, nil)
			m.run(t, func(task *sim.Task) {
				a := m.sys.NewMM("1")
				f := memfd(a, 16)
				if r.disk {
					f = m.sys.NewFile("/file", false)
					f.Ref()
				}
				flags := uint32(mapShared)
				if r.private {
					flags = mapPrivate
				}
				p := showing(task, a, f, flags)
				r.op(task, a, f, p)
				require.Equal(t, r.events, p.takeEvents())
				require.Equal(t, r.valid, p.valid, "the mirror is valid")
				_, _, err := p.fetch(task, HMMReqFault|HMMReqWrite)
				require.Equal(t, r.refault, err, "a fetch")
				if r.after != nil {
					require.Equal(t, r.after, load(task, a, b, 16*pg))
				}
			})
		})
	}
}

// TestEveryMappingOfAFileGetsItsWindow: two VMAs of one process and one of
// another, at different offsets.
func TestEveryMappingOfAFileGetsItsWindow(t *testing.T) {
	for name, c := range map[string]struct {
		op   func(t *sim.Task, sys *System, f *File)
		want [3]string
	}{
		"PUNCH_HOLE": {func(t *sim.Task, sys *System, f *File) {
			ok(sys.Fallocate(t, f, FallocPunchHole|FallocKeepSize, 6<<PageShift, 4<<PageShift))
		}, [3]string{"CLEAR[6,10)", "CLEAR[0,2)", "CLEAR[2,6)"}},
		"ftruncate": {func(t *sim.Task, sys *System, f *File) { ok(sys.Truncate(t, f, 9<<PageShift, true)) },
			[3]string{"CLEAR[9,16)x2", "CLEAR[1,8)x2", "CLEAR[5,12)x2"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newProbeMachine(Config{}, nil)
			m.run(t, func(task *sim.Task) {
				a, b := m.sys.NewMM("1"), m.sys.NewMM("2")
				f := memfd(a, 16)
				p := showing(task, a, f, mapShared)
				const other = watchedPage + 0x1000
				okAddr(a.Mmap(task, other<<PageShift, 8<<PageShift, protRW, mapPrivate|fixed, f, 8))
				okAddr(b.Mmap(task, other<<PageShift, 12<<PageShift, protRW, mapShared|fixed, f, 4))
				ok(a.Store(task, other<<PageShift, 8<<PageShift, 0x22))
				q, r := register(task, a, other, other+8), register(task, b, other, other+12)
				c.op(task, m.sys, f)
				require.Equal(t, c.want, [3]string{p.takeEvents(), q.takeEvents(), r.takeEvents()})
			})
		})
	}
}

// TestReclaimTakesAPageOfSharedMemoryFromEveryMapping: it goes to swap once, and
// whoever touches it first brings it back for all.
func TestReclaimTakesAPageOfSharedMemoryFromEveryMapping(t *testing.T) {
	m := newProbeMachine(Config{RAM: 4096, Swap: 4096}, nil)
	m.run(t, func(task *sim.Task) {
		a, b := m.sys.NewMM("1"), m.sys.NewMM("2")
		f := memfd(a, 16)
		p := showing(task, a, f, mapShared)
		okAddr(b.Mmap(task, watchedPage<<PageShift, 16<<PageShift, protRW, mapShared|fixed, f, 0))
		ok(b.Store(task, watchedPage<<PageShift, 4<<PageShift, 0x22))
		require.Equal(t, uint64(16), m.sys.Reclaim(task, 16))
		require.Equal(t, clears(0, 16), p.takeEvents())
		require.Equal(t, uint64(16), m.sys.Mem.SwapUsed())
		require.Zero(t, m.sys.Mem.Used())
		require.Zero(t, a.RSS()+b.RSS())
		want := []phys.ByteRun{{Byte: 0x22, N: 4 << PageShift}, {Byte: 0x11, N: 12 << PageShift}}
		require.Equal(t, want, load(task, b, watchedPage<<PageShift, 16<<PageShift))
		require.Equal(t, want, load(task, a, watchedPage<<PageShift, 16<<PageShift))
		require.Equal(t, uint64(16), m.sys.Mem.Used())
		require.Zero(t, m.sys.Mem.SwapUsed())
		a.Put(task)
		b.Put(task)
		require.Equal(t, uint64(16), f.CachedPages())
		m.sys.Unref(f)
		require.Zero(t, m.sys.Mem.Used())
	})
}

func TestReclaimSparesAPageOfSharedMemoryThatSomebodyLocks(t *testing.T) {
	m := newProbeMachine(Config{RAM: 4096, Swap: 4096}, nil)
	m.run(t, func(task *sim.Task) {
		a, b := m.sys.NewMM("1"), m.sys.NewMM("2")
		f := memfd(a, 16)
		showing(task, a, f, mapShared)
		okAddr(b.Mmap(task, watchedPage<<PageShift, 4<<PageShift, protRW, mapShared|fixed, f, 0))
		ok(b.Mlock(task, watchedPage<<PageShift, 4<<PageShift))
		require.Equal(t, uint64(12), m.sys.Reclaim(task, 16))
		require.Equal(t, uint64(4), a.RSS())
	})
}

// TestTheDiskKeepsWhatReclaimDropped: a page of a file is dropped when it is
// clean, written first when it is dirty, and read again the same.
func TestTheDiskKeepsWhatReclaimDropped(t *testing.T) {
	m := newProbeMachine(Config{RAM: 4096}, nil)
	m.run(t, func(task *sim.Task) {
		const at = watchedPage << PageShift
		a := m.sys.NewMM("1")
		f := m.sys.NewFile("/f", false)
		f.Ref()
		okAddr(a.Mmap(task, at, 16<<PageShift, protRW, mapShared|fixed, f, 0))
		ok(a.Store(task, at+8, 64, 0x77))
		before := load(task, a, at, 16<<PageShift)
		require.Equal(t, uint64(16), m.sys.Reclaim(task, 16))
		require.Zero(t, m.sys.Mem.Used())
		require.Zero(t, f.CachedPages())
		require.Equal(t, before, load(task, a, at, 16<<PageShift))
		ok(a.Munmap(task, at, 16<<PageShift))
		require.Equal(t, uint64(16), m.sys.Reclaim(task, 100), "nobody maps them")
		require.Zero(t, m.sys.Mem.Used())
	})
}

func TestBeyondTheEndOfAFileIsSIGBUS(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		const at = watchedPage << PageShift
		a := m.sys.NewMM("1")
		f := memfd(a, 0)
		okAddr(a.Mmap(task, at, 16<<PageShift, protRW, mapShared|fixed, f, 0))
		require.Equal(t, errno.EFAULT, a.Store(task, at, 1, 1))
		require.Equal(t, errno.EFAULT, a.CheckAccess(task, watchedPage, watchedPage+1))
		ok(m.sys.Truncate(task, f, 4<<PageShift+1, true))
		require.Equal(t, errno.EFAULT, a.Store(task, at, 16<<PageShift, 7), "what is there is written")
		require.Equal(t, []phys.ByteRun{{Byte: 7, N: 5 << PageShift}}, load(task, a, at, 5<<PageShift))
		require.Equal(t, errno.EFAULT, a.Populate(task, watchedPage, watchedPage+16, true))
		ok(a.CheckAccess(task, watchedPage, watchedPage+5))
		require.Equal(t, errno.EFAULT, a.CheckAccess(task, watchedPage, watchedPage+6))
		require.Equal(t, errno.EFAULT, a.Populate(task, watchedPage+5, watchedPage+6, false))
	})
}
