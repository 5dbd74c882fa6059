// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// onMachine runs body in a task with an address space of n writable pages at
// watchedPage, on a machine of three nodes of 4096 frames.
func onMachine(t *testing.T, n uint64, body func(task *sim.Task, a *MM)) {
	m := newProbeMachine(Config{RAM: 3 * 4096, Swap: 4096, Nodes: 3}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		okAddr(a.Mmap(task, watchedPage<<PageShift, n<<PageShift, protRW, fixedAnon, nil, 0))
		body(task, a)
		a.Put(task)
		require.Zero(t, m.sys.Mem.Used())
		require.Zero(t, m.sys.isolated.Len())
	})
}

func TestPagesAreAllocatedWhereThePolicySays(t *testing.T) {
	const b, pages = watchedPage << PageShift, 2048 // four pieces of interleaving
	for name, c := range map[string]struct {
		mode  uint32
		nodes NodeMask
		want  [4]int // node of each quarter
	}{
		"default":                {MpolDefault, nil, [4]int{0, 0, 0, 0}},
		"bind":                   {MpolBind, NodeMask{4}, [4]int{2, 2, 2, 2}},
		"bind to two":            {MpolBind, NodeMask{6}, [4]int{1, 1, 1, 1}},
		"bind to relative nodes": {MpolBind | MpolRelativeNodes, NodeMask{1 << 5}, [4]int{2, 2, 2, 2}},
		"preferred":              {MpolPreferred, NodeMask{2}, [4]int{1, 1, 1, 1}},
		"preferred nowhere":      {MpolPreferred, nil, [4]int{0, 0, 0, 0}},
		"preferred many":         {MpolPreferredMany, NodeMask{6}, [4]int{1, 1, 1, 1}},
		"interleave":             {MpolInterleave, NodeMask{6}, [4]int{1, 2, 1, 2}},
		"weighted interleave":    {MpolWeightedInterleave, NodeMask{7}, [4]int{2, 0, 1, 2}},
		"local":                  {MpolLocal, nil, [4]int{0, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, pages, func(task *sim.Task, a *MM) {
				ok(a.Mbind(task, b, pages<<PageShift, c.mode, c.nodes, 64, 0))
				ok(a.Store(task, b, pages<<PageShift, 1))
				skew := watchedPage >> interleaveShift % 2 // the first piece has this index
				for q, want := range c.want {
					if c.mode == MpolInterleave && skew == 1 {
						want = 3 - want
					}
					for _, at := range []uint64{0, 511} {
						require.EqualValues(t, want, a.pageNodes(task, []uint64{b + (uint64(q)*512+at)<<PageShift})[0], "piece %d", q)
					}
				}
			})
		})
	}
}

func TestPagesGoElsewhereWhenTheNodeIsFull(t *testing.T) {
	const b = watchedPage << PageShift
	for name, mode := range map[string]uint32{"preferred": MpolPreferred, "bind": MpolBind, "interleave": MpolInterleave} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, 5000, func(task *sim.Task, a *MM) {
				ok(a.Mlock2(task, b, 5000<<PageShift, MlockOnFault)) // reclaim helps nobody
				ok(a.Mbind(task, b, 5000<<PageShift, mode, NodeMask{2}, 64, 0))
				ok(a.Store(task, b, 5000<<PageShift, 1))
				require.EqualValues(t, 4096, a.sys.Mem.NodeUsed(1))
				require.EqualValues(t, 5000, a.RSS())
			})
		})
	}
}

func TestMbindChecksItsArguments(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	for name, c := range map[string]struct {
		addr, length uint64
		mode         uint32
		nodes        NodeMask
		maxnode      uint64
		flags        uint32
		want         errno.Errno
	}{
		"nothing":                            {b, 0, MpolBind, NodeMask{1}, 64, 0, 0},
		"nothing, with a bad policy":         {b, 0, MpolBind, nil, 0, 0, errno.EINVAL},
		"unaligned address":                  {b + 1, pg, MpolBind, NodeMask{1}, 64, 0, errno.EINVAL},
		"length that wraps":                  {b, ^uint64(0) - pg, MpolBind, NodeMask{1}, 64, 0, errno.EINVAL},
		"unknown flag":                       {b, pg, MpolBind, NodeMask{1}, 64, 8, errno.EINVAL},
		"unknown mode":                       {b, pg, mpolMax, NodeMask{1}, 64, 0, errno.EINVAL},
		"default with nodes":                 {b, pg, MpolDefault, NodeMask{1}, 64, 0, errno.EINVAL},
		"local with nodes":                   {b, pg, MpolLocal, NodeMask{1}, 64, 0, errno.EINVAL},
		"bind to no node":                    {b, pg, MpolBind, NodeMask{0}, 64, 0, errno.EINVAL},
		"bind to a node that is not there":   {b, pg, MpolBind, NodeMask{8}, 64, 0, errno.EINVAL},
		"bind also to one that is not there": {b, pg, MpolBind, NodeMask{9}, 64, 0, 0},
		"node that no kernel has":            {b, pg, MpolBind, append(make(NodeMask, 16), 1), 1089, 0, errno.EINVAL},
		"more nodes than a page has bits":    {b, pg, MpolBind, NodeMask{1}, PageSize*8 + 2, 0, errno.EINVAL},
		"maxnode cuts the mask off":          {b, pg, MpolBind, NodeMask{4}, 3, 0, errno.EINVAL},
		"maxnode 1 is no node":               {b, pg, MpolBind, NodeMask{1}, 1, 0, errno.EINVAL},
		"static and relative":                {b, pg, MpolBind | MpolStaticNodes | MpolRelativeNodes, NodeMask{1}, 64, 0, errno.EINVAL},
		"static, preferred, no node":         {b, pg, MpolPreferred | MpolStaticNodes, nil, 0, 0, errno.EINVAL},
		"balancing of bound memory":          {b, pg, MpolBind | MpolNUMABalancing, NodeMask{1}, 64, 0, 0},
		"balancing of interleaved memory":    {b, pg, MpolInterleave | MpolNUMABalancing, NodeMask{1}, 64, 0, errno.EINVAL},
		"hole behind":                        {b, 9 * pg, MpolBind, NodeMask{1}, 64, 0, errno.EFAULT},
		"hole before":                        {b - pg, 2 * pg, MpolBind, NodeMask{1}, 64, 0, errno.EFAULT},
		"only a hole":                        {b + 8*pg, pg, MpolDefault, nil, 0, 0, errno.EFAULT},
		"default over a hole":                {b, 9 * pg, MpolDefault, nil, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, 8, func(task *sim.Task, a *MM) {
				require.Equal(t, c.want, a.Mbind(task, c.addr, c.length, c.mode, c.nodes, c.maxnode, c.flags))
			})
		})
	}
}

// TestAPolicyCutsVMAsAndMergesThemAgain: it is an attribute like any other, and
// fork, mremap and new mappings treat it so.
func TestAPolicyCutsVMAsAndMergesThemAgain(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	onMachine(t, 8, func(task *sim.Task, a *MM) {
		bind := func(lo, hi uint64, mode uint32, nodes NodeMask) {
			ok(a.Mbind(task, b+lo*pg, (hi-lo)*pg, mode, nodes, 64, 0))
		}
		bind(2, 4, MpolBind, NodeMask{2})
		require.Equal(t, 3, a.mapCount())
		bind(4, 6, MpolBind, NodeMask{2})
		require.Equal(t, 3, a.mapCount(), "equal policies are one VMA")
		bind(3, 5, MpolBind, NodeMask{4})
		require.Equal(t, 5, a.mapCount())
		c := forkOf(task, a)
		require.Equal(t, 5, c.mapCount())
		ok(c.Store(task, b+3*pg, 1, 1))
		require.Equal(t, []int64{2}, c.pageNodes(task, []uint64{b + 3*pg}))
		c.Put(task)
		okAddr(a.Mremap(task, b+3*pg, 2*pg, 2*pg, MremapMayMove|MremapFixed, b+20*pg))
		ok(a.Store(task, b+20*pg, 1, 1))
		require.Equal(t, []int64{2}, a.pageNodes(task, []uint64{b + 20*pg}), "the policy moves along")
		okAddr(a.Mmap(task, b+3*pg, 2*pg, protRW, fixedAnon, nil, 0))
		require.Equal(t, 6, a.mapCount(), "a new mapping has none")
		bind(0, 8, MpolDefault, nil)
		require.Equal(t, 2, a.mapCount())
	})
}

func TestMovePagesSaysForEachPageWhereItIs(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	onMachine(t, 8, func(task *sim.Task, a *MM) {
		ok(a.Store(task, b, 2*pg, 1))
		_, err := a.Load(task, nil, b+2*pg, pg)
		ok(err)
		ok(a.Store(task, b+3*pg, pg, 2))
		ok(a.Madvise(task, b+3*pg, pg, MadvPageOut))
		addresses := []uint64{b, b + pg, b + 2*pg, b + 3*pg, b + 4*pg, b + 8*pg, b + pg + 7}
		const fault, noent, busy, access = -int64(errno.EFAULT), -int64(errno.ENOENT), -int64(errno.EBUSY), -int64(errno.EACCES)
		status, left, err := a.MovePages(task, addresses, nil, 0)
		ok(err)
		require.Zero(t, left)
		require.Equal(t, []int64{0, 0, fault, noent, noent, fault, 0}, status)
		status, left, err = a.MovePages(task, []uint64{b, b + pg, b + pg, b + 2*pg, b + 3*pg, b + 8*pg}, []int64{1, 2, 2, 1, 1, 1}, MpolMFMove)
		ok(err)
		require.Zero(t, left)
		require.Equal(t, []int64{1, 2, busy, fault, noent, fault}, status)
		_, _, err = a.MovePages(task, addresses[:2], []int64{1, 3}, MpolMFMove)
		require.Equal(t, errno.ENODEV, err)
		_, _, err = a.MovePages(task, nil, nil, MpolMFStrict)
		require.Equal(t, errno.EINVAL, err)
		c := forkOf(task, a)
		status, _, err = a.MovePages(task, addresses[:1], []int64{0}, MpolMFMove)
		ok(err)
		require.Equal(t, []int64{access}, status)
		status, _, err = a.MovePages(task, addresses[:1], []int64{0}, MpolMFMoveAll)
		ok(err)
		require.Equal(t, []int64{0}, status)
		require.Equal(t, a.PTEAt(watchedPage).Frame(), c.PTEAt(watchedPage).Frame(), "parent and child move together")
		c.Put(task)
	})
}

func TestMovePagesStopsWhereTheNodeIsFull(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	onMachine(t, 4, func(task *sim.Task, a *MM) {
		ok(a.Store(task, b, 4*pg, 1))
		pfn, n := a.sys.Mem.AllocRun(1, 4094)
		require.EqualValues(t, 4094, n)
		_, left, err := a.MovePages(task, []uint64{b, b + pg, b + 2*pg, b + 3*pg}, []int64{1, 1, 1, 1}, MpolMFMove)
		require.Equal(t, errno.ENOMEM, err)
		require.EqualValues(t, 2, left)
		a.sys.Mem.Put(pfn, n)
		bytes, err := a.Load(task, nil, b, 4*pg)
		ok(err)
		require.Equal(t, []phys.ByteRun{{Byte: 1, N: 4 * pg}}, bytes)
	})
}

// TestMigratePagesKeepsTheOrderOfNodes: [0,1,2] to [1,2,0] moves every page one
// node on, [0-2] to [1] leaves those of node 1.
func TestMigratePagesKeepsTheOrderOfNodes(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	for name, c := range map[string]struct {
		from, to NodeMask
		want     []int64
	}{
		"one node":           {NodeMask{1}, NodeMask{4}, []int64{2, 1, 2}},
		"two to two":         {NodeMask{3}, NodeMask{6}, []int64{1, 2, 2}},
		"all to one of them": {NodeMask{7}, NodeMask{2}, []int64{1, 1, 1}},
		"the same":           {NodeMask{7}, NodeMask{7}, []int64{0, 1, 2}},
		"from none":          {nil, NodeMask{1}, []int64{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, 3, func(task *sim.Task, a *MM) {
				pages := []uint64{b, b + pg, b + 2*pg}
				ok(a.Store(task, b, 3*pg, 1))
				_, _, err := a.MovePages(task, pages, []int64{0, 1, 2}, MpolMFMove)
				ok(err)
				left, err := a.MigratePages(task, 64, c.from, c.to)
				ok(err)
				require.Zero(t, left)
				require.Equal(t, c.want, a.pageNodes(task, pages))
			})
		})
	}
	onMachine(t, 1, func(task *sim.Task, a *MM) {
		_, err := a.MigratePages(task, 64, NodeMask{1}, NodeMask{8})
		require.Equal(t, errno.EINVAL, err)
	})
}

// TestUniformMemoryMigratesInRuns: what nobody watches moves run by run, and a
// registered page in the middle costs one window.
func TestUniformMemoryMigratesInRuns(t *testing.T) {
	const b, pages = watchedPage << PageShift, 4000
	onMachine(t, pages, func(task *sim.Task, a *MM) {
		ok(a.Store(task, b, pages<<PageShift, 5))
		p := register(task, a, watchedPage+1000, watchedPage+1001)
		_, err := a.MigratePages(task, 64, NodeMask{1}, NodeMask{4})
		ok(err)
		require.Equal(t, "CLEAR[0,1)", p.takeEvents())
		require.LessOrEqual(t, len(a.PTERuns(nil, watchedPage, watchedPage+pages)), 3)
		require.EqualValues(t, pages, a.sys.Mem.NodeUsed(2))
		IntervalNotifierRemove(task, &p.IntervalNotifier)
	})
}
