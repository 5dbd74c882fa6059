// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

const swapCacheAddr = watchedPage << PageShift

// cachedPage makes two equal pages, of which page k is in the swap cache: a child
// named its slot when it was read.
func cachedPage(t *sim.Task, m *MM, k uint64) {
	okAddr(m.Mmap(t, swapCacheAddr, 2<<PageShift, protRW, fixedAnon, nil, 0))
	ok(m.Madvise(t, swapCacheAddr, 2<<PageShift, MadvMergeable))
	addr := swapCacheAddr + k<<PageShift
	ok(m.Store(t, addr, PageSize, 5))
	c := forkOf(t, m)
	for m.sys.Mem.Used() > 0 {
		m.sys.Reclaim(t, 1)
	}
	_, err := m.Load(t, nil, addr, PageSize)
	ok(err)
	c.Put(t)
	ok(m.Store(t, swapCacheAddr+(1-k)<<PageShift, PageSize, 5))
	if m.sys.swapCache.frames.Len() != 1 {
		panic("the page is not in the swap cache")
	}
}

// TestAFrameLeavesTheSwapCacheWithItsLastUser, whoever that is.
func TestAFrameLeavesTheSwapCacheWithItsLastUser(t *testing.T) {
	for name, op := range map[string]func(t *sim.Task, m *MM){
		"the page is unmapped": func(t *sim.Task, m *MM) {},
		"KSM merges it":        func(t *sim.Task, m *MM) { m.sys.KSM(t) },
		"KSM merges it and both pages are written": func(t *sim.Task, m *MM) {
			m.sys.KSM(t)
			ok(m.Store(t, swapCacheAddr, 2<<PageShift, 6))
		},
		"KSM merges it and gives it up again": func(t *sim.Task, m *MM) {
			m.sys.KSM(t)
			ok(m.Madvise(t, swapCacheAddr, 2<<PageShift, MadvUnmergeable))
		},
	} {
		t.Run(name, func(t *testing.T) {
			for k := range uint64(2) {
				onMachine(t, 1, func(task *sim.Task, m *MM) {
					cachedPage(task, m, k)
					op(task, m)
					ok(m.Munmap(task, swapCacheAddr, 2<<PageShift))
					require.Zero(t, m.sys.Mem.Used())
					require.Zero(t, m.sys.Mem.SwapUsed())
				})
			}
		})
	}
}

// acting is a notifier at whose first callback other tasks act.
type acting struct {
	IntervalNotifier
	act func(t *sim.Task)
}

func (a *acting) Invalidate(t *sim.Task, n *IntervalNotifier, _ *NotifierRange, curSeq uint64) bool {
	n.SetSeq(t, curSeq)
	if act := a.act; act != nil {
		a.act = nil
		t.Join(a.MM.sys.Sim.Go("other", act))
	}
	return true
}

// TestAPageThatMovesAndGoesWhileItIsPagedOutLeavesTheSwapCache:
//
//	reclaim_pages()
//	        try_to_unmap()          holds the slot
//	                                        migrate_folio_move()
//	                                        zap_page_range()   the slot is held
//	        the page is not there any more
func TestAPageThatMovesAndGoesWhileItIsPagedOutLeavesTheSwapCache(t *testing.T) {
	onMachine(t, 1, func(task *sim.Task, m *MM) {
		cachedPage(task, m, 0)
		a := &acting{act: func(t *sim.Task) {
			_, left, err := m.MovePages(t, []uint64{swapCacheAddr}, []int64{1}, MpolMFMoveAll)
			ok(err)
			if left != 0 {
				panic("the page did not move")
			}
			ok(m.Madvise(t, swapCacheAddr, PageSize, MadvDontNeed))
		}}
		ok(m.IntervalNotifierInsert(task, &a.IntervalNotifier, watchedPage, 1, a))
		ok(m.Madvise(task, swapCacheAddr, PageSize, MadvPageOut))
		require.Nil(t, a.act)
		IntervalNotifierRemove(task, &a.IntervalNotifier)
		ok(m.Munmap(task, swapCacheAddr, 2<<PageShift))
		require.Zero(t, m.sys.Mem.Used())
		require.Zero(t, m.sys.Mem.SwapUsed())
	})
}

// TestWhoHasTakenACachedPageForItselfKeepsIt: reclaim looks at the places where the
// page was mapped, one after the other. In all orders of what the processes do
// meanwhile it does not touch the slot of a page that is not in the cache any more.
func TestWhoHasTakenACachedPageForItselfKeepsIt(t *testing.T) {
	done := sim.Explore(sim.ExploreOptions{Bound: 2}, takeWhileItIsPagedOut, func(out any, _ *sim.Guide) bool {
		return assert.Empty(t, out)
	})
	require.False(t, done.Stopped)
}

// takeWhileItIsPagedOut returns what went wrong, as text with the last events.
func takeWhileItIsPagedOut(g *sim.Guide) (wrong any) {
	m := newProbeMachine(Config{RAM: 512, Swap: 512}, g)
	defer m.s.Close()
	defer func() {
		if r := recover(); r != nil {
			wrong = fmt.Sprintf("%v\n%s", r, sim.Race(m.s.History().Tail(20)))
		}
	}()
	var bytes []phys.ByteRun
	m.s.Go("task", func(task *sim.Task) {
		a := m.sys.NewMM("1")
		cachedPage(task, a, 0)
		c := forkOf(task, a)
		p := register(task, a, watchedPage, watchedPage+1)
		gone := m.s.Go("gone", func(t *sim.Task) { ok(a.Madvise(t, swapCacheAddr, PageSize, MadvDontNeed)) })
		taker := m.s.Go("taker", func(t *sim.Task) { ok(c.Store(t, swapCacheAddr, PageSize, 6)) })
		m.sys.Reclaim(task, 4)
		task.Join(gone)
		task.Join(taker)
		bytes, _ = c.Load(task, nil, swapCacheAddr, PageSize)
		IntervalNotifierRemove(task, &p.IntervalNotifier)
		a.Put(task)
		c.Put(task)
	})
	m.s.Run()
	if f := m.s.Failure(); f != nil {
		return f.Title
	}
	if used, slots := m.sys.Mem.Used(), m.sys.Mem.SwapUsed(); used+slots > 0 || !slices.Equal(bytes, []phys.ByteRun{{Byte: 6, N: PageSize}}) {
		return fmt.Sprintf("read %v, %d frames and %d slots are left\n%s", bytes, used, slots, sim.Race(m.s.History().Tail(20)))
	}
	return ""
}
