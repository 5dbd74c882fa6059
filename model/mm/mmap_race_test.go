// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/sim"
)

// Three threads change and use one address space in a random order of steps,
// while a driver watches it. Whatever they do, the tree stays whole, no lock is
// misused, and nothing is left at the end.
func TestConcurrentCallsKeepTheAddressSpaceWhole(t *testing.T) {
	for seed := range uint64(60) {
		sys := NewSystem(sim.New(sim.Options{Chooser: sim.NewSeeded(seed)}), testConfig(), nil)
		mm := sys.NewMM("1")
		var threads []*sim.Task
		rnd := seed
		for i := range 3 {
			threads = append(threads, sys.Sim.Go(fmt.Sprint("thread", i), func(task *sim.Task) {
				for range 25 {
					rnd = rnd*6364136223846793005 + 1442695040888963407
					callSomething(task, mm, rnd>>20)
				}
			}))
		}
		sys.Sim.Go("main", func(task *sim.Task) {
			l := watchDrawing(task, mm)
			for _, th := range threads {
				task.Join(th)
			}
			checkTree(t, mm)
			require.Zero(t, mm.Munmap(task, 0, TaskSize<<PageShift))
			require.NotEmpty(t, l.events)
		})
		require.Equal(t, sim.Quiescent, sys.Sim.Run(), "seed %d: %+v", seed, sys.Sim.Failure())
		require.Zero(t, mm.mapCount())
		require.Zero(t, sys.Mem.Used(), "seed %d", seed)
		require.Zero(t, mm.tables.Len())
	}
}

// callSomething makes the call that r says.
func callSomething(task *sim.Task, mm *MM, r uint64) {
	lo, n, to := r%12, r>>8%4+1, r>>16%12
	a, length := at(lo), n<<PageShift
	switch r >> 24 % 9 {
	case 0, 1:
		mm.Mmap(task, a, length, rw, anonFixed, nil, 0)
	case 2:
		mm.Munmap(task, a, length)
	case 3:
		mm.Mprotect(task, a, length, uint32(r>>32%4))
	case 4:
		mm.Mremap(task, a, length, r>>40%4<<PageShift, MremapMayMove|MremapFixed, at(to))
	case 5:
		mm.Madvise(task, a, length, []int{MadvDontNeed, MadvPageOut, MadvFree, MadvDontFork, MadvPopulateWrite}[r>>32%5])
	case 6:
		mm.Mlock(task, a, length)
	case 7:
		mm.Munlock(task, a, length)
	case 8:
		mm.Store(task, a, length, byte(r>>32))
	}
}
