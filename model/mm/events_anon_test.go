// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

const (
	watchedAddr = watchedPage << PageShift
	watchedSize = 16 * PageSize
	// farAddr is where nothing is.
	farAddr = 0x20000000000
)

// guarded maps 16 pages between pages that nobody may touch.
func guarded(t *sim.Task, m *MM, prot uint32) *probe {
	okAddr(m.Mmap(t, watchedAddr-PageSize, watchedSize+2*PageSize, ProtNone, fixedAnon, nil, 0))
	okAddr(m.Mmap(t, watchedAddr, watchedSize, prot, fixedAnon, nil, 0))
	return register(t, m, watchedPage, watchedPage+16)
}

// neverTouched is what guarded makes, readable and writable.
func neverTouched(t *sim.Task, m *MM) *probe { return guarded(t, m, protRW) }

// watched has the 16 pages populated and fetched for writing.
func watched(t *sim.Task, m *MM) *probe {
	p := neverTouched(t, m)
	ok(m.Store(t, watchedAddr, watchedSize, 0x11))
	_, _, err := p.fetch(t, HMMReqFault|HMMReqWrite)
	ok(err)
	return p
}

// advises is a whole operation: advice on pages [lo,hi) of the range.
func advises(lo, hi uint64, advice int) func(t *sim.Task, m *MM, p *probe) {
	return func(t *sim.Task, m *MM, p *probe) {
		ok(m.Madvise(t, watchedAddr+lo*PageSize, (hi-lo)*PageSize, advice))
	}
}

// protects likewise, one mprotect after the other.
func protects(lo, hi uint64, prots ...uint32) func(t *sim.Task, m *MM, p *probe) {
	return func(t *sim.Task, m *MM, p *probe) {
		for _, prot := range prots {
			ok(m.Mprotect(t, watchedAddr+lo*PageSize, (hi-lo)*PageSize, prot))
		}
	}
}

// unmaps likewise; the range may reach beyond what is watched.
func unmaps(lo, hi int64) func(t *sim.Task, m *MM, p *probe) {
	return func(t *sim.Task, m *MM, p *probe) {
		ok(m.Munmap(t, watchedAddr+uint64(lo)*PageSize, uint64(hi-lo)*PageSize))
	}
}

// writes is a CPU's, to pages [lo,hi).
func writes(lo, hi uint64, b byte) func(t *sim.Task, m *MM, p *probe) {
	return func(t *sim.Task, m *MM, p *probe) {
		ok(m.Store(t, watchedAddr+lo*PageSize, (hi-lo)*PageSize, b))
	}
}

// fetch is a driver's.
func fetch(flags HMMFlags) func(t *sim.Task, m *MM, p *probe) {
	return func(t *sim.Task, m *MM, p *probe) {
		_, _, err := p.fetch(t, flags)
		ok(err)
	}
}

// inTurn does one after the other.
func inTurn(ops ...func(t *sim.Task, m *MM, p *probe)) func(t *sim.Task, m *MM, p *probe) {
	return func(t *sim.Task, m *MM, p *probe) {
		for _, op := range ops {
			op(t, m, p)
		}
	}
}

// readsBack insists on what the CPU finds in all of the range.
func readsBack(b byte) func(t *sim.Task, m *MM, p *probe) {
	return func(t *sim.Task, m *MM, p *probe) {
		require.Equal(panicking{}, []phys.ByteRun{{Byte: b, N: watchedSize}}, load(t, m, watchedAddr, watchedSize))
	}
}

func measuredMappings() map[string]measuredCase {
	const b, size, pg = watchedAddr, watchedSize, PageSize
	remap := func(flags uint32, newSize, to uint64) func(t *sim.Task, m *MM, p *probe) {
		return func(t *sim.Task, m *MM, p *probe) { okAddr(m.Mremap(t, b, size, newSize, flags, to)) }
	}
	mapAgain := func(t *sim.Task, m *MM, p *probe) { okAddr(m.Mmap(t, b, size, protRW, fixedAnon, nil, 0)) }
	return map[string]measuredCase{
		"nothing (control)": {},
		"device write then cpu read": {op: func(t *sim.Task, m *MM, p *probe) {
			h, _, err := p.fetch(t, 0)
			ok(err)
			for _, r := range h.Runs {
				m.sys.Mem.Write(r.PFN, 0, (r.Hi-r.Lo)<<PageShift, 0x77)
			}
			readsBack(0x77)(t, m, p)
		}},
		"cpu write to every page (already writable)": {op: writes(0, 16, 2)},
		"munmap whole":          {op: unmaps(0, 16)},
		"munmap middle 4 pages": {op: unmaps(4, 8)},
		"munmap of neighbour only (guard page before)":      {op: unmaps(-1, 0)},
		"munmap superset (guard..guard)":                    {op: unmaps(-1, 17)},
		"munmap of a never touched range":                   {given: neverTouched, op: unmaps(0, 16)},
		"mmap MAP_FIXED over whole":                         {op: mapAgain},
		"munmap then mmap same addr (ABA)":                  {op: inTurn(unmaps(0, 16), mapAgain)},
		"MADV_DONTNEED whole":                               {op: advises(0, 16, MadvDontNeed)},
		"MADV_DONTNEED 1 page":                              {op: advises(2, 3, MadvDontNeed)},
		"MADV_DONTNEED twice (2nd on empty)":                {op: inTurn(advises(0, 16, MadvDontNeed), advises(0, 16, MadvDontNeed))},
		"MADV_DONTNEED, never touched":                      {given: neverTouched, op: advises(0, 16, MadvDontNeed)},
		"MADV_FREE whole":                                   {op: advises(0, 16, MadvFree)},
		"MADV_FREE, never touched":                          {given: neverTouched, op: advises(0, 16, MadvFree)},
		"MADV_COLD":                                         {op: advises(0, 16, MadvCold)},
		"MADV_WILLNEED":                                     {op: advises(0, 16, MadvWillNeed)},
		"MADV_POPULATE_WRITE":                               {op: advises(0, 16, MadvPopulateWrite)},
		"mprotect RW->R":                                    {op: protects(0, 16, ProtRead)},
		"mprotect RW->R->RW":                                {op: protects(0, 16, ProtRead, protRW)},
		"mprotect RW->NONE":                                 {op: protects(0, 16, ProtNone)},
		"mprotect RW->RW (no change)":                       {op: protects(0, 16, protRW)},
		"mprotect RW->RWX":                                  {op: protects(0, 16, protRW|ProtExec)},
		"mprotect R middle 1 page (vma split)":              {op: protects(5, 6, ProtRead)},
		"mprotect R on unpopulated (no ptes)":               {before: advises(0, 16, MadvDontNeed), op: protects(0, 16, ProtRead)},
		"mprotect R, never touched (no tables)":             {given: neverTouched, op: protects(0, 16, ProtRead)},
		"mremap move whole (MAYMOVE|FIXED)":                 {op: remap(MremapMayMove|MremapFixed, size, farAddr)},
		"mremap move, never touched":                        {given: neverTouched, op: remap(MremapMayMove|MremapFixed, size, farAddr)},
		"mremap DONTUNMAP move":                             {op: remap(MremapMayMove|MremapDontUnmap, size, 0)},
		"mremap shrink 16->8":                               {op: remap(0, size/2, 0)},
		"mremap grow in place 16->17 (after freeing guard)": {op: inTurn(unmaps(16, 17), remap(0, size+pg, 0))},
		"mremap move onto registered range (dest)": {op: func(t *sim.Task, m *MM, p *probe) {
			okAddr(m.Mmap(t, farAddr, size, protRW, fixedAnon, nil, 0))
			ok(m.Store(t, farAddr, size, 7))
			okAddr(m.Mremap(t, farAddr, size, size, MremapMayMove|MremapFixed, b))
			readsBack(7)(t, m, p)
		}},
		"mlock + munlock": {op: func(t *sim.Task, m *MM, p *probe) { ok(m.Mlock(t, b, size)); ok(m.Munlock(t, b, size)) }},
		"MADV_PAGEOUT whole (zram swap)": {op: func(t *sim.Task, m *MM, p *probe) {
			advises(0, 16, MadvPageOut)(t, m, p)
			require.Equal(panicking{}, uint64(16), m.sys.Mem.SwapUsed())
		}},
		"MADV_PAGEOUT, never touched":       {given: neverTouched, op: advises(0, 16, MadvPageOut)},
		"swap-in by cpu read after PAGEOUT": {before: advises(0, 16, MadvPageOut), op: readsBack(0x11)},
		"swap-in by cpu read after PAGEOUT: then cpu write": {
			before: inTurn(advises(0, 16, MadvPageOut), readsBack(0x11)), op: writes(0, 16, 3)},
		"swap-in by hmm_range_fault after PAGEOUT": {before: advises(0, 16, MadvPageOut), fetches: true, flags: HMMReqFault | HMMReqWrite},
	}
}

// measuredCopies are about fork.
func measuredCopies() map[string]measuredCase {
	var child *MM
	forks := func(t *sim.Task, m *MM, p *probe) { forkOf(t, m) }
	forksAndExits := func(t *sim.Task, m *MM, p *probe) { forkOf(t, m).Put(t) }
	parentWrites := inTurn(forks, writes(0, 1, 2))
	rows := map[string]measuredCase{
		"fork only (child sleeping)": {op: func(t *sim.Task, m *MM, p *probe) { child = forkOf(t, m) },
			then: func(t *sim.Task, m *MM, p *probe) { child.Put(t) }},
		"fork, never touched":                            {given: neverTouched, op: forks},
		"fork: (step 1) after fork":                      {op: forks},
		"fork: (step 3) parent writes page 0 (COW copy)": {before: inTurn(forks, fetch(0)), op: writes(0, 1, 2)},
		"fork: (step 2) snapshot hmm_range_fault(flags=0)": {before: forks, op: func(t *sim.Task, m *MM, p *probe) {
			h, _, err := p.fetch(t, 0)
			ok(err)
			for _, r := range h.Runs {
				require.Equal(panicking{}, HMMValid, r.Flags, "valid, and not for writing")
			}
		}, fetches: true},
		"fork: (step 4) hmm fault REQ_WRITE all 16 (COW by device)": {before: parentWrites, fetches: true, flags: HMMReqFault | HMMReqWrite},
		"fork, child exits, parent writes (reuse)":                  {before: forksAndExits, op: writes(0, 16, 2)},
		"MADV_DONTFORK, then fork":                                  {op: inTurn(advises(0, 16, MadvDontFork), forks)},
		"MADV_WIPEONFORK, then fork":                                {op: inTurn(advises(0, 16, MadvWipeOnFork), forks)},
		"fork: (step 5) child exits": {given: func(t *sim.Task, m *MM) *probe {
			p := watched(t, m)
			c := forkOf(t, m)
			writes(0, 1, 2)(t, m, p)
			fetch(HMMReqFault|HMMReqWrite)(t, m, p)
			p.events = nil
			c.Put(t)
			return p
		}},
		"fork+exec via os/exec (CLONE_VM|VFORK)": {op: func(t *sim.Task, m *MM, p *probe) {
			require.True(panicking{}, m.GetNotZero(t)) // the child borrows it
			c := m.sys.NewMM("child")
			m.Put(t)
			c.Put(t)
		}},
	}
	for tables, name := range map[uint64]string{
		1: "hmm WRITE fault of COW pages in 1 page table", 2: "hmm WRITE fault of COW pages in 2 page tables",
		4: "hmm WRITE fault of COW pages in 4 page tables", 8: "hmm WRITE fault of COW pages in 8 page tables",
	} {
		rows[name] = measuredCase{given: func(t *sim.Task, m *MM) *probe {
			okAddr(m.Mmap(t, watchedAddr, tables<<21, protRW, fixedAnon, nil, 0))
			ok(m.Store(t, watchedAddr, tables<<21, 9))
			return register(t, m, watchedPage, watchedPage+tables*512)
		}, before: forks, fetches: true, flags: HMMReqFault | HMMReqWrite}
	}
	return rows
}

func measuredFetches() map[string]measuredCase {
	readOnly := func(t *sim.Task, m *MM) *probe { return guarded(t, m, ProtRead) }
	nothing := func(t *sim.Task, m *MM) *probe { return register(t, m, watchedPage, watchedPage+16) }
	seen := func(want HMMFlags) func(t *sim.Task, m *MM, p *probe) {
		return func(t *sim.Task, m *MM, p *probe) {
			h, _, err := p.fetch(t, 0)
			ok(err)
			for _, r := range h.Runs {
				require.Equal(panicking{}, want, r.Flags)
			}
		}
	}
	const untouched = "hmm READ fault on untouched anon"
	return map[string]measuredCase{
		untouched: {given: neverTouched, fetches: true, flags: HMMReqFault},
		untouched + ": then cpu write 1 page (zero page -> anon)": {given: neverTouched, before: fetch(HMMReqFault), op: writes(0, 1, 1)},
		untouched + ": then hmm WRITE fault": {given: neverTouched, before: inTurn(fetch(HMMReqFault), writes(0, 1, 1)),
			fetches: true, flags: HMMReqFault | HMMReqWrite},
		"hmm WRITE fault on untouched anon": {given: neverTouched, fetches: true, flags: HMMReqFault | HMMReqWrite},
		"hmm snapshot of untouched anon":    {given: neverTouched, op: seen(0), fetches: true},
		"hmm WRITE fault on PROT_READ vma":  {given: readOnly, fetches: true, flags: HMMReqFault | HMMReqWrite},
		"hmm fault on unmapped":             {given: nothing, fetches: true, flags: HMMReqFault},
		"hmm snapshot on unmapped":          {given: nothing, op: seen(HMMError), fetches: true},
	}
}

// measuredEnds are about the end of an address space.
func measuredEnds() map[string]measuredCase {
	ends := func(t *sim.Task, m *MM, p *probe) {
		m.Grab() // the notifier's
		m.Put(t)
	}
	return map[string]measuredCase{
		"exit":                            {op: ends},
		"SIGKILL":                         {op: ends},
		"execve with device fd kept open": {op: ends},
		"execve with device fd kept open: hmm fault on the dead mm": {before: ends, fetches: true, flags: HMMReqFault},
		"process_mrelease of a killed task": {op: func(t *sim.Task, m *MM, p *probe) {
			require.Equal(panicking{}, errno.EAGAIN, m.ProcessMrelease(t))
		}},
		"OOM pressure, killed": {cfg: Config{RAM: 1024, Swap: 256}, op: func(t *sim.Task, m *MM, p *probe) {
			m.Grab()
			m.sys.OOMKill = func(*sim.Task) *MM { m.sys.Sim.Go("exit", func(t *sim.Task) { m.Put(t) }); return m }
			eater := m.sys.NewMM("eater")
			okAddr(eater.Mmap(t, watchedAddr, 1200<<PageShift, protRW, fixedAnon, nil, 0))
			okAddr(eater.Mmap(t, farAddr, 1200<<PageShift, protRW, fixedAnon, nil, 0))
			for i := uint64(0); p.MM.users > 0; i++ {
				ok(eater.Store(t, watchedAddr+i/2*PageSize+i%2*(farAddr-watchedAddr), PageSize, 1))
				t.Sleep(sim.Microsecond) // kswapd runs
			}
		}},
	}
}
