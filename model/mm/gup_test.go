// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// framesOf returns the frames of 16 pages from watchedPage on, 0 for none.
func framesOf(m *MM) (out [16]phys.PFN) {
	for i := range out {
		if p := m.PTEAt(watchedPage + uint64(i)); p.Accessible() {
			out[i] = p.Frame()
		}
	}
	return out
}

// pinnedPages maps 16 pages that may be merged and pins [lo,hi) of them.
func pinnedPages(t *sim.Task, m *MM, lo, hi uint64) []phys.Run {
	okAddr(m.Mmap(t, watchedPage<<PageShift, 16<<PageShift, protRW, fixedAnon, nil, 0))
	ok(m.Madvise(t, watchedPage<<PageShift, 16<<PageShift, MadvMergeable))
	ok(m.Store(t, watchedPage<<PageShift, 16<<PageShift, 0x11))
	runs, err := m.PinUserPages(t, watchedPage+lo, watchedPage+hi)
	ok(err)
	return runs
}

// TestPinnedPagesKeepTheirFrames: what moves or takes every other page leaves them.
func TestPinnedPagesKeepTheirFrames(t *testing.T) {
	const addr, size = watchedPage << PageShift, 16 << PageShift
	for name, op := range map[string]func(t *sim.Task, m *MM){
		"reclaim":    func(t *sim.Task, m *MM) { ok(m.Madvise(t, addr, size, MadvPageOut)) },
		"migration":  func(t *sim.Task, m *MM) { a, n := list(1); _, _, err := m.MovePages(t, a, n, MpolMFMove); ok(err) },
		"KSM":        func(t *sim.Task, m *MM) { m.sys.KSM(t) },
		"NUMA hints": func(t *sim.Task, m *MM) { m.NUMABalance(t, addr, size) },
		"MADV_FREE": func(t *sim.Task, m *MM) {
			ok(m.Madvise(t, addr, size, MadvFree))
			ok(m.Madvise(t, addr, size, MadvPageOut))
		},
		"soft offline": func(t *sim.Task, m *MM) { m.Madvise(t, addr, size, MadvSoftOffline) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newProbeMachine(Config{RAM: 1 << 20, Swap: 1 << 20, Nodes: 2}, nil)
			m.run(t, func(task *sim.Task) {
				p := m.sys.NewMM("1")
				pins := pinnedPages(task, p, 4, 12)
				before := framesOf(p)
				op(task, p)
				after := framesOf(p)
				require.Equal(t, before[4:12], after[4:12])
				require.NotEqual(t, before, after, "the others are not pinned")
				m.sys.UnpinUserPages(pins)
				require.Zero(t, m.sys.pins.Len())
				op(task, p)
				unpinned := framesOf(p)
				require.NotEqual(t, before[4:12], unpinned[4:12])
				p.Put(task)
				require.Zero(t, m.sys.Mem.Used())
			})
		})
	}
}

func TestForkCopiesPinnedPagesAtOnce(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		p := m.sys.NewMM("1")
		pins := pinnedPages(task, p, 4, 12)
		before := framesOf(p)
		child, err := p.DupMM(task, "2")
		ok(err)
		require.Equal(t, before, framesOf(p))
		copied := framesOf(child)
		for i := range before {
			pinned := i >= 4 && i < 12
			require.Equal(t, !pinned, before[i] == copied[i], "page %d", i)
			require.Equal(t, pinned, p.PTEAt(watchedPage+uint64(i)).Writable(), "page %d", i)
		}
		ok(p.Store(task, watchedPage<<PageShift, 16<<PageShift, 0x22))
		require.Equal(t, before[4:12], asSlice(framesOf(p))[4:12], "written in place")
		b, err := child.Load(task, nil, watchedPage<<PageShift, 16<<PageShift)
		ok(err)
		require.Equal(t, []phys.ByteRun{{Byte: 0x11, N: 16 << PageShift}}, b)
		m.sys.UnpinUserPages(pins)
		child.Put(task)
		p.Put(task)
		require.Zero(t, m.sys.Mem.Used())
	})
}

func asSlice(a [16]phys.PFN) []phys.PFN { return a[:] }

// TestPinnedPagesOutliveTheirMapping: the frame is nobody else's until the pin goes.
func TestPinnedPagesOutliveTheirMapping(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		p := m.sys.NewMM("1")
		pins := pinnedPages(task, p, 4, 12)
		frame := phys.PFN(pins[0].V)
		gen := m.sys.Mem.Gen(frame)
		ok(p.Munmap(task, watchedPage<<PageShift, 16<<PageShift))
		require.Equal(t, gen, m.sys.Mem.Gen(frame))
		require.Equal(t, uint64(8), m.sys.Mem.Used())
		m.sys.UnpinUserPages(pins)
		require.Zero(t, m.sys.Mem.Used())
		_, err := p.PinUserPages(task, watchedPage, watchedPage+1)
		require.Equal(t, errno.EFAULT, err)
		okAddr(p.Mmap(task, watchedPage<<PageShift, 2<<PageShift, 1, fixedAnon, nil, 0))
		_, err = p.PinUserPages(task, watchedPage, watchedPage+1)
		require.Equal(t, errno.EFAULT, err, "not for writing")
		p.Put(task)
	})
}

// TestPinsAreCounted: a page that is pinned twice stays until both pins are gone.
func TestPinsAreCounted(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		p := m.sys.NewMM("1")
		first := pinnedPages(task, p, 2, 10)
		second, err := p.PinUserPages(task, watchedPage+6, watchedPage+14)
		ok(err)
		m.sys.UnpinUserPages(first)
		before := framesOf(p)
		ok(p.Madvise(task, watchedPage<<PageShift, 16<<PageShift, MadvPageOut))
		after := framesOf(p)
		require.Equal(t, before[6:14], after[6:14])
		require.Equal(t, make([]phys.PFN, 6), after[:6])
		m.sys.UnpinUserPages(second)
		p.Put(task)
		require.Zero(t, m.sys.Mem.Used())
		require.Zero(t, m.sys.Mem.SwapUsed())
	})
}
