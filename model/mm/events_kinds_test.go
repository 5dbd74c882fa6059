// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/sim"
)

func measuredFiles() map[string]measuredCase {
	const pg = PageSize
	var f *File // of the case that runs
	mapped := func(flags uint32) func(t *sim.Task, m *MM) *probe {
		return func(t *sim.Task, m *MM) *probe {
			f = memfd(m, 16)
			return showing(t, m, f, flags)
		}
	}
	shared, private := mapped(mapShared), mapped(mapPrivate)
	resize := func(pages uint64) func(t *sim.Task, m *MM, p *probe) {
		return func(t *sim.Task, m *MM, p *probe) { ok(m.sys.Truncate(t, f, pages*pg, true)) }
	}
	forks := func(t *sim.Task, m *MM, p *probe) { forkOf(t, m) }
	return map[string]measuredCase{
		"memfd MAP_SHARED control": {given: shared},
		"memfd: fallocate PUNCH_HOLE 4 pages": {given: shared, op: func(t *sim.Task, m *MM, p *probe) {
			ok(m.sys.Fallocate(t, f, FallocPunchHole|FallocKeepSize, 4*pg, 4*pg))
		}},
		"memfd: MADV_REMOVE 2 pages":             {given: shared, op: advises(0, 2, MadvRemove)},
		"memfd: ftruncate to 8 pages":            {given: shared, op: resize(8)},
		"memfd MAP_SHARED: fork":                 {given: shared, op: forks},
		"memfd MAP_SHARED: write after fork":     {given: shared, before: forks, op: writes(0, 16, 2)},
		"memfd MAP_SHARED: MADV_PAGEOUT":         {given: shared, op: inTurn(advises(0, 16, MadvPageOut), readsBack(0x11))},
		"memfd MAP_PRIVATE written: control":     {given: private},
		"memfd MAP_PRIVATE written: ftruncate 0": {given: private, op: resize(0)},
	}
}

func measuredHuge() map[string]measuredCase {
	huge := func(t *sim.Task, m *MM) *probe {
		okAddr(m.Mmap(t, watchedAddr, 1<<21, protRW, fixedAnon, nil, 0))
		ok(m.Madvise(t, watchedAddr, 1<<21, MadvHugePage))
		ok(m.Store(t, watchedAddr, 1<<21, 0x11))
		p := register(t, m, watchedPage, watchedPage+hugePages)
		p.lookup(t, 9)
		return p
	}
	small := func(t *sim.Task, m *MM) *probe {
		okAddr(m.Mmap(t, watchedAddr, 1<<21, protRW, fixedAnon, nil, 0))
		ok(m.Store(t, watchedAddr, 1<<21, 0x11))
		ok(m.Madvise(t, watchedAddr, 1<<21, MadvHugePage))
		p := register(t, m, watchedPage, watchedPage+hugePages)
		p.lookup(t, 0)
		return p
	}
	forks := func(t *sim.Task, m *MM, p *probe) { forkOf(t, m) }
	isHuge := func(t *sim.Task, m *MM, p *probe) { p.lookup(t, 9) }
	collapse := advises(0, hugePages, MadvCollapse)
	return map[string]measuredCase{
		"THP 2M range, control":                   {given: huge},
		"THP: mprotect R 1 page (pmd split)":      {given: huge, op: protects(4, 5, ProtRead)},
		"THP: mprotect R whole 2M":                {given: huge, op: protects(0, hugePages, ProtRead)},
		"THP: MADV_DONTNEED 1 page":               {given: huge, op: advises(8, 9, MadvDontNeed)},
		"THP: munmap upper half":                  {given: huge, op: unmaps(256, 512)},
		"THP: MADV_PAGEOUT whole":                 {given: huge, op: advises(0, hugePages, MadvPageOut)},
		"THP: MADV_PAGEOUT 1 page":                {given: huge, op: advises(0, 1, MadvPageOut)},
		"THP: fork":                               {given: huge, op: forks},
		"THP: parent write after fork (huge COW)": {given: huge, before: forks, op: writes(0, 1, 2)},
		"MADV_COLLAPSE 512 x 4K -> 2M":            {given: small, op: collapse},
		"MADV_COLLAPSE again (already huge)":      {given: small, before: inTurn(collapse, isHuge), op: inTurn(collapse, isHuge)},
		"khugepaged collapse (3 s wait)":          {given: small, op: inTurn(func(t *sim.Task, m *MM, p *probe) { m.sys.Khugepaged(t) }, isHuge)},
	}
}

func measuredPlacement() map[string]measuredCase {
	bind := func(mode uint32, nodes NodeMask, flags uint32) func(t *sim.Task, m *MM, p *probe) {
		return func(t *sim.Task, m *MM, p *probe) {
			ok(m.Mbind(t, watchedAddr, watchedSize, mode, nodes, 64, flags))
		}
	}
	scan := func(t *sim.Task, m *MM, p *probe) { m.NUMABalance(t, watchedAddr, watchedSize) }
	moved := func(t *sim.Task, m *MM, p *probe) {
		for _, node := range onNodes(t, m) {
			require.Equal(panicking{}, int64(1), node)
		}
	}
	return map[string]measuredCase{
		"move_pages all to other node":              {op: func(t *sim.Task, m *MM, p *probe) { moveAll(t, m, 1); readsBack(0x11)(t, m, p) }},
		"mbind(MPOL_BIND other node, MPOL_MF_MOVE)": {op: inTurn(bind(MpolBind, NodeMask{2}, MpolMFMove), moved)},
		"mbind(MPOL_DEFAULT) no move":               {op: bind(MpolDefault, nil, 0)},
		"migrate_pages(self) other node": {op: func(t *sim.Task, m *MM, p *probe) {
			left, err := m.MigratePages(t, 64, NodeMask{1}, NodeMask{2})
			ok(err)
			require.Zero(panicking{}, left)
			moved(t, m, p)
		}},
		"MADV_SOFT_OFFLINE 1 page":    {op: inTurn(advises(3, 4, MadvSoftOffline), readsBack(0x11))},
		"MADV_HWPOISON 1 page":        {op: advises(3, 4, MadvHWPoison)},
		"NUMA balancing on, 5 s busy": {op: inTurn(scan, writes(0, 16, 2), scan)},
	}
}

func measuredKSM() map[string]measuredCase {
	scan := func(t *sim.Task, m *MM, p *probe) { m.sys.KSM(t) }
	merged := inTurn(advises(0, 16, MadvMergeable), scan)
	written := inTurn(merged, fetch(HMMReqFault), writes(0, 1, 2))
	fetched := inTurn(written, fetch(HMMReqFault|HMMReqWrite))
	again := inTurn(fetched, scan)
	unmerge := func(t *sim.Task, m *MM, p *probe) { ok(m.sys.KSMUnmerge(t)) }
	const row = "KSM merge of 16 identical pages (3 s)"
	return map[string]measuredCase{
		"MADV_MERGEABLE only":              {op: advises(0, 16, MadvMergeable)},
		row:                                {op: merged},
		row + ": hmm READ fault of merged": {before: merged, fetches: true, flags: HMMReqFault},
		row + ": cpu write page 0 (KSM COW break)":      {before: inTurn(merged, fetch(HMMReqFault)), op: writes(0, 1, 2)},
		row + ": hmm WRITE fault (breaks the other 15)": {before: written, fetches: true, flags: HMMReqFault | HMMReqWrite},
		row + ": re-merged (2 s)":                       {before: fetched, op: scan},
		row + ": run=2 (unmerge all)":                   {before: again, op: unmerge},
	}
}
