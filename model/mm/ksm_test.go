// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

// frames returns how many frames the pages [lo,hi) are mapped to.
func (mm *MM) frames(lo, hi uint64) int {
	seen := map[phys.PFN]bool{}
	for i := lo; i < hi; i++ {
		if p := mm.PTEAt(i); p.Present() {
			seen[p.Frame()] = true
		}
	}
	return len(seen)
}

// TestOneFrameStandsForAtMost256Pages, however uniform memory is; the next ones
// get another.
func TestOneFrameStandsForAtMost256Pages(t *testing.T) {
	const b = watchedPage << PageShift
	for name, c := range map[string]struct{ pages, frames uint64 }{
		"2":   {2, 1},
		"255": {255, 1},
		"256": {256, 1},
		"257": {257, 2},
		"700": {700, 3},
	} {
		t.Run(name, func(t *testing.T) {
			onMachine(t, c.pages, func(task *sim.Task, a *MM) {
				ok(a.Store(task, b, c.pages<<PageShift, 9))
				ok(a.Madvise(task, b, c.pages<<PageShift, MadvMergeable))
				a.sys.KSM(task)
				require.EqualValues(t, c.frames, a.frames(watchedPage, watchedPage+c.pages))
				require.EqualValues(t, c.frames, a.sys.Mem.Used())
				require.EqualValues(t, c.pages, a.RSS())
				ok(a.Store(task, b, c.pages<<PageShift, 8))
				require.EqualValues(t, c.pages, a.sys.Mem.Used())
			})
		})
	}
}

// TestPagesMergeAcrossProcessesByContent: equal pages of two processes share a
// frame, and a write of one does not reach the other.
func TestPagesMergeAcrossProcessesByContent(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	onMachine(t, 4, func(task *sim.Task, a *MM) {
		c := a.sys.NewMM("2")
		okAddr(c.Mmap(task, 2*b, 4*pg, protRW, fixedAnon, nil, 0))
		for i := range uint64(4) {
			ok(a.Store(task, b+i*pg+100, 50, byte(i)+1))
			ok(c.Store(task, 2*b+(3-i)*pg+100, 50, byte(i)+1))
		}
		ok(a.Madvise(task, b, 4*pg, MadvMergeable))
		ok(c.Madvise(task, 2*b, 4*pg, MadvMergeable))
		a.sys.KSM(task)
		require.EqualValues(t, 4, a.sys.Mem.Used())
		for i := range uint64(4) {
			require.Equal(t, a.PTEAt(watchedPage+i).Frame(), c.PTEAt(2*watchedPage+3-i).Frame())
		}
		ok(c.Store(task, 2*b, 4*pg, 0x55))
		for i := range uint64(4) {
			bytes, err := a.Load(task, nil, b+i*pg+100, 50)
			ok(err)
			require.Equal(t, []phys.ByteRun{{Byte: byte(i) + 1, N: 50}}, bytes)
		}
		c.Put(task)
		ok(a.Store(task, b, pg, 1))
		require.False(t, a.PTEAt(watchedPage).ksm(), "the last user of a merged page copies it, too")
	})
}

// TestPagesThatAForkSharesMergeWithOthers: all users of the frame follow it when it
// becomes a merged one.
func TestPagesThatAForkSharesMergeWithOthers(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	onMachine(t, 3, func(task *sim.Task, a *MM) {
		ok(a.Madvise(task, b, 3*pg, MadvMergeable))
		ok(a.Store(task, b, 3*pg, 3))
		c := forkOf(task, a)
		a.sys.KSM(task)
		require.Equal(t, 1, a.frames(watchedPage, watchedPage+3))
		require.Equal(t, 1, c.frames(watchedPage, watchedPage+3))
		require.EqualValues(t, 1, a.sys.Mem.Used())
		require.EqualValues(t, 6, a.sys.Mem.Frame(a.PTEAt(watchedPage).Frame()).Count)
		c.Put(task)
	})
}

func TestMergedPagesMayBeProtectedAndSwapped(t *testing.T) {
	const b, pg = watchedPage << PageShift, PageSize
	onMachine(t, 4, func(task *sim.Task, a *MM) {
		ok(a.Store(task, b, 4*pg, 3))
		ok(a.Madvise(task, b, 4*pg, MadvMergeable))
		ok(a.Mprotect(task, b, 4*pg, ProtRead))
		a.sys.KSM(task)
		require.EqualValues(t, 1, a.sys.Mem.Used())
		ok(a.Madvise(task, b, 4*pg, MadvUnmergeable))
		require.EqualValues(t, 4, a.sys.Mem.Used())
		for i := range uint64(4) {
			p := a.PTEAt(watchedPage + i)
			require.True(t, p.Present() && !p.Writable() && p&PTEExclusive != 0)
		}
		ok(a.Mprotect(task, b, 4*pg, ProtRead|ProtWrite))
		ok(a.Madvise(task, b, 4*pg, MadvMergeable))
		a.sys.KSM(task)
		ok(a.Munmap(task, b+pg, 3*pg))
		ok(a.Madvise(task, b, pg, MadvPageOut))
		require.Zero(t, a.sys.Mem.Used(), "alone, a merged page goes to swap")
		bytes, err := a.Load(task, nil, b, pg)
		ok(err)
		require.Equal(t, []phys.ByteRun{{Byte: 3, N: pg}}, bytes)
		require.False(t, a.PTEAt(watchedPage).ksm())
	})
}

// BenchmarkKSM merges 64 MiB of equal pages that nobody watches, and writes to
// them again.
func BenchmarkKSM(b *testing.B) {
	const pages = 16384
	m := newProbeMachine(Config{}, nil)
	m.run(b, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		okAddr(a.Mmap(task, watchedPage<<PageShift, pages<<PageShift, protRW, fixedAnon, nil, 0))
		ok(a.Madvise(task, watchedPage<<PageShift, pages<<PageShift, MadvMergeable))
		for range b.N {
			ok(a.Madvise(task, watchedPage<<PageShift, pages<<PageShift, MadvDontNeed))
			ok(a.Store(task, watchedPage<<PageShift, pages<<PageShift, 9))
			m.sys.KSM(task)
		}
		a.Put(task)
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/pages, "ns/page")
}

// BenchmarkMigrate moves 64 MiB to the other node and back: unwatched, and watched
// by one notifier.
func BenchmarkMigrate(b *testing.B) {
	const pages = 16384
	for name, watched := range map[string]bool{"unwatched": false, "watched": true} {
		b.Run(name, func(b *testing.B) {
			m := newProbeMachine(Config{RAM: 1 << 20, Swap: 1, Nodes: 2}, nil)
			m.run(b, func(task *sim.Task) {
				a := m.sys.NewMM("1")
				okAddr(a.Mmap(task, watchedPage<<PageShift, pages<<PageShift, protRW, fixedAnon, nil, 0))
				ok(a.Store(task, watchedPage<<PageShift, pages<<PageShift, 9))
				var p *probe
				if watched {
					p = register(task, a, watchedPage, watchedPage+pages)
				}
				for i := range b.N {
					_, err := a.MigratePages(task, 64, NodeMask{1 << (i % 2)}, NodeMask{2 >> (i % 2)})
					ok(err)
					if watched {
						p.events = p.events[:0]
					}
				}
				if watched {
					IntervalNotifierRemove(task, &p.IntervalNotifier)
				}
				a.Put(task)
			})
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/pages, "ns/page")
		})
	}
}
