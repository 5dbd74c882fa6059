// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// placementRow is an operation on 16 populated and fetched pages, or never
// touched ones, and what it does to who watches them.
type placementRow struct {
	untouched bool
	op        func(t *sim.Task, m *MM, p *probe)
	events    string
	refault   errno.Errno
	valid     bool // the mirror stays valid
	lost      bool // the bytes are gone
}

// each returns the event of one page for each of [lo,hi), n times by the task.
func each(event string, lo, hi, n int, by string) string {
	var out []string
	for i := lo; i < hi; i++ {
		s := fmt.Sprintf("%s[%d,%d)%s", event, i, i+1, by)
		if n > 1 {
			s += fmt.Sprintf("x%d", n)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// backwards is a list of events in the reverse order, as a walk over what KSM merged
// makes them: traces/merged-pages-move-together.trace.
func backwards(events string) string {
	list := strings.Fields(events)
	slices.Reverse(list)
	return strings.Join(list, " ")
}

func runPlacementRows(t *testing.T, rows map[string]placementRow) {
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			m := newProbeMachine(Config{RAM: 4096, Swap: 4096, Nodes: 2}, nil)
			m.run(t, func(task *sim.Task) {
				a := m.sys.NewMM("1")
				p := populated(task, a, !r.untouched)
				r.op(task, a, p)
				require.Equal(t, r.events, p.takeEvents())
				if !r.untouched {
					require.Equal(t, r.valid, p.valid)
				}
				h, _, err := p.fetch(task, HMMReqFault|HMMReqWrite)
				require.Equal(t, r.refault, err)
				if err == 0 && !r.untouched && !r.lost {
					for _, run := range h.Runs {
						require.Equal(t, HMMValid|HMMWrite, run.Flags)
					}
					bytes, err := a.Load(task, nil, watchedPage<<PageShift, 16<<PageShift)
					ok(err)
					require.Equal(t, []phys.ByteRun{{Byte: 0x11, N: 16 << PageShift}}, bytes)
				}
				a.Put(task)
				require.Zero(t, m.sys.Mem.Used())
			})
		})
	}
}

// list names the 16 pages, and a node for each.
func list(node int64) (addresses []uint64, nodes []int64) {
	for i := range uint64(16) {
		addresses = append(addresses, (watchedPage+i)<<PageShift)
		nodes = append(nodes, node)
	}
	return addresses, nodes
}

func moveAll(t *sim.Task, m *MM, node int64) {
	addresses, nodes := list(node)
	status, left, err := m.MovePages(t, addresses, nodes, MpolMFMove)
	ok(err)
	require.Equal(panicking{}, nodes, status)
	require.Zero(panicking{}, left)
}

func onNodes(t *sim.Task, m *MM) []int64 {
	addresses, _ := list(0)
	return m.pageNodes(t, addresses)
}

// TestPlacementFiresTheEventsOfLinux are the rows of the table measured on Linux
// 6.12 that move pages to other frames.
func TestPlacementFiresTheEventsOfLinux(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	clears := each("CLEAR", 0, 16, 1, "")
	node := func(k uint) NodeMask { return NodeMask{1 << k} }
	runPlacementRows(t, map[string]placementRow{
		"move_pages to the other node": {op: func(t *sim.Task, m *MM, p *probe) { moveAll(t, m, 1) }, events: clears},
		"move_pages to where they are": {op: func(t *sim.Task, m *MM, p *probe) { moveAll(t, m, 0) }, valid: true},
		"move_pages there and back":    {op: func(t *sim.Task, m *MM, p *probe) { moveAll(t, m, 1); moveAll(t, m, 0) }, events: clears + " " + clears},
		"move_pages only asks":         {op: func(t *sim.Task, m *MM, p *probe) { onNodes(t, m) }, valid: true},
		"move_pages of the neighbour":  {op: func(t *sim.Task, m *MM, p *probe) { m.MovePages(t, []uint64{b - pg}, []int64{1}, MpolMFMove) }, valid: true},
		"mbind with MF_MOVE":           {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mbind(t, b, 16*pg, MpolBind, node(1), 64, MpolMFMove)) }, events: clears},
		"mbind with MF_MOVE, half is there": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Mbind(t, b, 8*pg, MpolBind, node(1), 64, MpolMFMove))
			p.events = nil
			ok(m.Mbind(t, b, 16*pg, MpolBind, node(1), 64, MpolMFMove|MpolMFStrict))
		}, events: each("CLEAR", 8, 16, 1, "")},
		"mbind without MF_MOVE":  {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mbind(t, b, 16*pg, MpolBind, node(1), 64, 0)) }, valid: true},
		"mbind to the default":   {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mbind(t, b, 16*pg, MpolDefault, nil, 0, 0)) }, valid: true},
		"mbind of never touched": {untouched: true, op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mbind(t, b, 16*pg, MpolBind, node(1), 64, MpolMFMove)) }},
		"mbind MF_STRICT finds them": {op: func(t *sim.Task, m *MM, p *probe) {
			require.Equal(panicking{}, errno.EIO, m.Mbind(t, b, 16*pg, MpolBind, node(1), 64, MpolMFStrict))
		}, valid: true},
		"migrate_pages": {op: func(t *sim.Task, m *MM, p *probe) {
			left, err := m.MigratePages(t, 64, node(0), node(1))
			ok(err)
			require.Zero(panicking{}, left)
		}, events: clears},
		"migrate_pages from where nothing is": {op: func(t *sim.Task, m *MM, p *probe) { m.MigratePages(t, 64, node(1), node(0)) }, valid: true},
		"migrate_pages with the nodes exchanged": {op: func(t *sim.Task, m *MM, p *probe) {
			moveAll(t, m, 1)
			p.events = nil
			ok(m.Store(t, b-pg, pg, 1))
			m.MigratePages(t, 64, NodeMask{3}, NodeMask{3})
		}},
		"NUMA balancing": {op: func(t *sim.Task, m *MM, p *probe) { m.NUMABalance(t, b, 16*pg) }, events: "PROTECTION_VMA[0,16)"},
		"NUMA balancing twice": {op: func(t *sim.Task, m *MM, p *probe) {
			m.NUMABalance(t, b, 16*pg)
			m.NUMABalance(t, b+pg, 2*pg)
		}, events: "PROTECTION_VMA[0,16) PROTECTION_VMA[1,3)"},
		"NUMA balancing, then the CPU writes": {op: func(t *sim.Task, m *MM, p *probe) {
			m.NUMABalance(t, b, 16*pg)
			p.events = nil
			ok(m.Store(t, b, 16*pg, 0x11))
		}},
		"NUMA balancing, then the CPU reads pages of another node": {op: func(t *sim.Task, m *MM, p *probe) {
			moveAll(t, m, 1)
			m.NUMABalance(t, b, 16*pg)
			p.events = nil
			_, err := m.Load(t, nil, b, 2*pg)
			ok(err)
		}, events: "CLEAR[0,1) CLEAR[1,2)"},
		"NUMA balancing of memory with a policy": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Mbind(t, b, 16*pg, MpolBind, node(0), 64, 0))
			m.NUMABalance(t, b, 16*pg)
		}, valid: true},
		"NUMA balancing of never touched":    {untouched: true, op: func(t *sim.Task, m *MM, p *probe) { m.NUMABalance(t, b, 16*pg) }},
		"NUMA balancing over a VMA's end":    {op: func(t *sim.Task, m *MM, p *probe) { m.NUMABalance(t, b+8*pg, 100*pg) }, events: "PROTECTION_VMA[8,17)"},
		"MADV_SOFT_OFFLINE":                  {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b+3*pg, pg, MadvSoftOffline)) }, events: "CLEAR[3,4)"},
		"MADV_SOFT_OFFLINE of the neighbour": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b-pg, pg, MadvSoftOffline)) }, valid: true},
		"MADV_HWPOISON":                      {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b+3*pg, pg, MadvHWPoison)) }, events: "CLEAR[3,4)", refault: errno.EFAULT},
		"MADV_HWPOISON, then munmap and mmap": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Madvise(t, b+3*pg, pg, MadvHWPoison))
			p.events = nil
			ok(m.Munmap(t, b, 16*pg))
			okAddr(m.Mmap(t, b, 16*pg, protRW, fixedAnon, nil, 0))
		}, events: "UNMAP[0,16)", lost: true},
		"MADV_HWPOISON, then MADV_DONTNEED": {op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.Madvise(t, b+3*pg, pg, MadvHWPoison))
			p.events = nil
			ok(m.Madvise(t, b+3*pg, pg, MadvDontNeed))
		}, events: "CLEAR[3,4)", lost: true},
		"compact_memory with nothing to move to": {op: func(t *sim.Task, m *MM, p *probe) { m.sys.Compact(t) }, valid: true},
		"compact_memory with room in a higher block": {op: func(t *sim.Task, m *MM, p *probe) {
			filler := uint64(0x30000000000)
			okAddr(m.Mmap(t, filler, 600*pg, protRW, fixedAnon, nil, 0))
			ok(m.Store(t, filler, 600*pg, 1))
			ok(m.Munmap(t, filler+510*pg, 4*pg))
			p.events = nil
			m.sys.Compact(t)
		}, events: clears},
	})
}

// TestKSMFiresTheEventsOfLinux are the rows of the measured table about pages that
// ksmd merged. Which page comes first is ksmd's choice; the order is the measured
// one.
func TestKSMFiresTheEventsOfLinux(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	merge := func(t *sim.Task, m *MM, p *probe) {
		ok(m.Madvise(t, b, 16*pg, MadvMergeable))
		m.sys.KSM(t)
	}
	merged := "CLEAR[1,2)@ksmd CLEAR[0,1)@ksmdx2 " + each("CLEAR", 2, 16, 2, "@ksmd")
	runPlacementRows(t, map[string]placementRow{
		"MADV_MERGEABLE":                       {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 16*pg, MadvMergeable)) }, valid: true},
		"MADV_UNMERGEABLE of what is not":      {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Madvise(t, b, 16*pg, MadvUnmergeable)) }, valid: true},
		"ksmd scans what is not mergeable":     {op: func(t *sim.Task, m *MM, p *probe) { m.sys.KSM(t) }, valid: true},
		"ksmd merges 16 equal pages":           {op: merge, events: merged},
		"ksmd scans again":                     {op: func(t *sim.Task, m *MM, p *probe) { merge(t, m, p); p.events = nil; m.sys.KSM(t) }},
		"ksmd merges nothing of never touched": {untouched: true, op: merge},
		"ksmd finds no equal page": {op: func(t *sim.Task, m *MM, p *probe) {
			for i := range uint64(16) {
				ok(m.Store(t, b+i*pg, pg, byte(i)))
			}
			merge(t, m, p)
		}, valid: true, lost: true},
		"CPU writes a merged page": {op: func(t *sim.Task, m *MM, p *probe) {
			merge(t, m, p)
			p.events = nil
			ok(m.Store(t, b, pg, 0x11))
		}, events: "CLEAR[0,1)"},
		"CPU reads merged pages": {op: func(t *sim.Task, m *MM, p *probe) {
			merge(t, m, p)
			p.events = nil
			_, err := m.Load(t, nil, b, 16*pg)
			ok(err)
		}},
		"ksmd merges 15 again that a fetch broke": {op: func(t *sim.Task, m *MM, p *probe) {
			merge(t, m, p)
			ok(m.Store(t, b, pg, 0x12))
			_, _, err := p.fetch(t, HMMReqFault|HMMReqWrite)
			ok(err)
			p.events = nil
			m.sys.KSM(t)
		}, events: "CLEAR[2,3)@ksmd CLEAR[1,2)@ksmdx2 " + each("CLEAR", 3, 16, 2, "@ksmd"), lost: true},
		"MADV_UNMERGEABLE": {op: func(t *sim.Task, m *MM, p *probe) {
			merge(t, m, p)
			p.events = nil
			ok(m.Madvise(t, b, 16*pg, MadvUnmergeable))
		}, events: each("CLEAR", 0, 16, 1, "")},
		"2 to ksm/run":     {op: func(t *sim.Task, m *MM, p *probe) { merge(t, m, p); p.events = nil; ok(m.sys.KSMUnmerge(t)) }, events: each("CLEAR", 0, 16, 1, "")},
		"munmap of merged": {op: func(t *sim.Task, m *MM, p *probe) { merge(t, m, p); p.events = nil; ok(m.Munmap(t, b, 16*pg)) }, events: "UNMAP[0,16)", refault: errno.EFAULT},
		"MADV_DONTNEED of merged": {op: func(t *sim.Task, m *MM, p *probe) {
			merge(t, m, p)
			p.events = nil
			ok(m.Madvise(t, b, 16*pg, MadvDontNeed))
		}, events: "CLEAR[0,16)", lost: true},
		"mremap of merged unmerges first": {op: func(t *sim.Task, m *MM, p *probe) {
			merge(t, m, p)
			p.events = nil
			okAddr(m.Mremap(t, b, 16*pg, 16*pg, 3, 0x20000000000))
		}, events: each("CLEAR", 0, 16, 1, "") + " UNMAP[0,16)x2", refault: errno.EFAULT},
		"fork of merged": {op: func(t *sim.Task, m *MM, p *probe) { merge(t, m, p); p.events = nil; forkOf(t, m).Put(t) }, events: "PROTECTION_PAGE[0,16)"},
		"reclaim leaves merged pages alone": {op: func(t *sim.Task, m *MM, p *probe) {
			merge(t, m, p)
			p.events = nil
			m.sys.Reclaim(t, 64)
		}},
		"move_pages with MF_MOVE_ALL moves the one frame under all": {op: func(t *sim.Task, m *MM, p *probe) {
			merge(t, m, p)
			p.events = nil
			status, left, err := m.MovePages(t, []uint64{b}, []int64{1}, MpolMFMoveAll)
			ok(err)
			require.Equal(panicking{}, []int64{1}, status)
			require.Zero(panicking{}, left)
			require.Equal(panicking{}, int64(1), onNodes(t, m)[15])
		}, events: backwards(each("CLEAR", 0, 16, 1, ""))},
		"move_pages of a merged page": {op: func(t *sim.Task, m *MM, p *probe) {
			merge(t, m, p)
			p.events = nil
			status, _, err := m.MovePages(t, []uint64{b}, []int64{1}, MpolMFMove)
			ok(err)
			require.Equal(panicking{}, []int64{-int64(errno.EACCES)}, status)
		}},
	})
}

// TestAFetchBreaksMergedPagesAndIsBusyOnce: a fetch for writing copies all but the
// page that the CPU has already, including the last.
func TestAFetchBreaksMergedPagesAndIsBusyOnce(t *testing.T) {
	m := newProbeMachine(Config{}, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		p := populated(task, a, true)
		ok(a.Madvise(task, watchedPage<<PageShift, 16<<PageShift, MadvMergeable))
		m.sys.KSM(task)
		require.EqualValues(t, 18-15, m.sys.Mem.Used())
		h, _, err := p.fetch(task, HMMReqFault)
		ok(err)
		for _, r := range h.Runs {
			require.Equal(t, h.Runs[0].PFN, r.PFN)
			require.Equal(t, HMMValid, r.Flags)
		}
		ok(a.Store(task, watchedPage<<PageShift, PageSize, 1))
		p.events = nil
		_, retries, err := p.fetch(task, HMMReqFault|HMMReqWrite)
		ok(err)
		require.Equal(t, 1, retries)
		require.Equal(t, each("CLEAR", 1, 16, 1, ""), p.takeEvents())
		require.EqualValues(t, 18, m.sys.Mem.Used())
	})
}
