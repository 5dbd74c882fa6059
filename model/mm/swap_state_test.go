// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

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
