// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// hugeContents follows what two processes read while their memory becomes huge
// pages and small ones again: the byte of each page, and nothing else.
type hugeContents struct {
	m    *probeMachine
	mms  [2]*MM // the second is forked, or nil
	refs [2][hugeSpan]refByte
}

// hugeSpan is the space in pages: two huge pages and a bit on both sides.
const (
	hugeSpan = 2*hugePages + 8
	hugeBase = watchedPage - 4
)

func (m *hugeContents) do(t *rapid.T, call func(task *sim.Task) errno.Errno) (err errno.Errno) {
	m.m.s.Go("task", func(task *sim.Task) { err = call(task) })
	require.Equal(t, sim.Quiescent, m.m.s.Run())
	require.Nil(t, m.m.s.Failure())
	return err
}

// span draws a piece that has to do with huge pages: one, or a few pages about
// where one begins or ends, or in the middle.
func (m *hugeContents) span(t *rapid.T) (lo, hi uint64) {
	edge := rapid.SampledFrom([]uint64{4, 4 + hugePages/2, 4 + hugePages, 4 + 2*hugePages}).Draw(t, "edge")
	lo = edge - rapid.Uint64Range(0, 4).Draw(t, "before")
	n := rapid.SampledFrom([]uint64{1, 3, hugePages - 1, hugePages, hugePages + 1, hugeSpan}).Draw(t, "pages")
	return min(lo, hugeSpan-1), min(lo+n, hugeSpan)
}

func (m *hugeContents) who(t *rapid.T) (*MM, *[hugeSpan]refByte) {
	if m.mms[1] != nil && rapid.Bool().Draw(t, "child") {
		return m.mms[1], &m.refs[1]
	}
	return m.mms[0], &m.refs[0]
}

func hugeAt(page uint64) uint64 { return (hugeBase + page) << PageShift }

func (m *hugeContents) Mmap(t *rapid.T) {
	a, ref := m.who(t)
	lo, hi := m.span(t)
	prot := rapid.SampledFrom([]uint32{ProtRead, rw, rw, rw}).Draw(t, "prot")
	require.Zero(t, m.do(t, func(task *sim.Task) errno.Errno {
		_, err := a.Mmap(task, hugeAt(lo), (hi-lo)<<PageShift, prot, fixedAnon, nil, 0)
		return err
	}))
	for p := lo; p < hi; p++ {
		ref[p] = refByte{true, prot == rw, 0}
	}
}

func (m *hugeContents) Munmap(t *rapid.T) {
	a, ref := m.who(t)
	lo, hi := m.span(t)
	require.Zero(t, m.do(t, func(task *sim.Task) errno.Errno { return a.Munmap(task, hugeAt(lo), (hi-lo)<<PageShift) }))
	clear(ref[lo:hi])
}

func (m *hugeContents) Store(t *rapid.T) {
	a, ref := m.who(t)
	lo, hi := m.span(t)
	b := rapid.Byte().Draw(t, "byte")
	want := errno.Errno(0)
	for p := lo; p < hi && want == 0; p++ {
		if !ref[p].write {
			want = errno.EFAULT
			continue
		}
		ref[p].b = b
	}
	require.Equal(t, want, m.do(t, func(task *sim.Task) errno.Errno {
		return a.Store(task, hugeAt(lo), (hi-lo)<<PageShift, b)
	}))
}

func (m *hugeContents) Mprotect(t *rapid.T) {
	a, ref := m.who(t)
	lo, hi := m.span(t)
	prot := rapid.SampledFrom([]uint32{ProtRead, rw}).Draw(t, "prot")
	for p := lo; p < hi && ref[p].mapped; p++ {
		ref[p].write = prot == rw
	}
	m.do(t, func(task *sim.Task) errno.Errno { return a.Mprotect(task, hugeAt(lo), (hi-lo)<<PageShift, prot) })
}

func (m *hugeContents) Madvise(t *rapid.T) {
	a, ref := m.who(t)
	lo, hi := m.span(t)
	advice := rapid.SampledFrom([]int{MadvDontNeed, MadvPageOut, MadvPageOut, MadvCold, MadvPopulateRead, MadvPopulateWrite,
		MadvHugePage, MadvNoHugePage, MadvCollapse, MadvCollapse}).Draw(t, "advice")
	m.do(t, func(task *sim.Task) errno.Errno { return a.Madvise(task, hugeAt(lo), (hi-lo)<<PageShift, advice) })
	for p := lo; p < hi && advice == MadvDontNeed; p++ {
		ref[p].b = 0
	}
}

func (m *hugeContents) Khugepaged(t *rapid.T) {
	m.do(t, func(task *sim.Task) errno.Errno { m.m.sys.Khugepaged(task); return 0 })
}

func (m *hugeContents) Reclaim(t *rapid.T) {
	n := rapid.SampledFrom([]uint64{1, 100, 600, 3000}).Draw(t, "pages")
	m.do(t, func(task *sim.Task) errno.Errno { m.m.sys.Reclaim(task, n); return 0 })
}

// Mremap moves something away and back again, to another place of 2 MiB.
func (m *hugeContents) Mremap(t *rapid.T) {
	a, ref := m.who(t)
	lo, hi := m.span(t)
	for p := lo; p < hi; p++ {
		if ref[p] != (refByte{true, ref[lo].write, ref[p].b}) {
			t.Skip("not one mapping")
		}
	}
	shift := rapid.SampledFrom([]uint64{0, 0, 1}).Draw(t, "shift")
	away := hugeAt(lo+shift) + 64<<21
	n := (hi - lo) << PageShift
	m.do(t, func(task *sim.Task) errno.Errno {
		if _, err := a.Mremap(task, hugeAt(lo), n, n, MremapMayMove|MremapFixed, away); err != 0 {
			return err // several mappings
		}
		checkHuge(t, a)
		_, err := a.Mremap(task, away, n, n, MremapMayMove|MremapFixed, hugeAt(lo))
		require.Zero(t, err)
		return 0
	})
}

func (m *hugeContents) Fork(t *rapid.T) {
	m.do(t, func(task *sim.Task) errno.Errno {
		if m.mms[1] != nil {
			m.mms[1].Put(task)
		}
		c, err := m.mms[0].DupMM(task, "2")
		m.mms[1], m.refs[1] = c, m.refs[0]
		return err
	})
}

func (m *hugeContents) Exit(t *rapid.T) {
	if m.mms[1] == nil {
		t.Skip("no child")
	}
	m.do(t, func(task *sim.Task) errno.Errno { m.mms[1].Put(task); return 0 })
	m.mms[1] = nil
}

func (m *hugeContents) Check(t *rapid.T) {
	for k, a := range m.mms {
		if a == nil {
			continue
		}
		checkTree(t, a)
		checkHuge(t, a)
		m.do(t, func(task *sim.Task) errno.Errno {
			for i := uint64(0); i < hugeSpan; {
				want := m.refs[k][i]
				n := uint64(1)
				for i+n < hugeSpan && m.refs[k][i+n].mapped == want.mapped && m.refs[k][i+n].b == want.b {
					n++
				}
				got, err := a.Load(task, nil, hugeAt(i), n<<PageShift)
				switch {
				case !want.mapped:
					require.Equal(t, errno.EFAULT, err, "page %d", i)
				default:
					require.Zero(t, err)
					require.Len(t, got, 1, "pages [%d,%d)", i, i+n)
					require.Equal(t, want.b, got[0].Byte, "pages [%d,%d)\n%s", i, i+n, a.VMAString())
				}
				i += n
			}
			return 0
		})
	}
}

// What a program wrote is what it reads, whether its pages are huge or small, and
// nothing is left when everybody is gone.
func TestContentsFollowTheirHugePages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ram := rapid.SampledFrom([]uint64{1 << 16, 6000}).Draw(t, "ram")
		swap := rapid.SampledFrom([]uint64{1 << 16, 1 << 16, 300}).Draw(t, "swap")
		m := &hugeContents{m: newProbeMachine(Config{RAM: ram, Swap: swap, THP: THPAlways}, nil)}
		m.mms[0] = m.m.sys.NewMM("1")
		m.Mmap(t)
		m.Store(t)
		t.Repeat(map[string]func(*rapid.T){"": m.Check, "Mmap": m.Mmap, "Munmap": m.Munmap, "Store": m.Store, "Store again": m.Store,
			"Mprotect": m.Mprotect, "Madvise": m.Madvise, "Madvise again": m.Madvise, "Khugepaged": m.Khugepaged, "Reclaim": m.Reclaim,
			"Mremap": m.Mremap, "Fork": m.Fork, "Exit": m.Exit})
		m.do(t, func(task *sim.Task) errno.Errno {
			for _, a := range m.mms {
				if a != nil {
					a.Put(task)
				}
			}
			return 0
		})
		require.Zero(t, m.m.sys.Mem.Used())
		require.Zero(t, m.m.sys.Mem.SwapUsed())
		m.m.s.Close()
	})
}

// TestTasksKeepTheirPagesOfAHugePage: in any order of steps, tasks that each write
// their own pages of one huge page read what they wrote, while others collapse,
// split, age and swap it, and its children come and go.
func TestTasksKeepTheirPagesOfAHugePage(t *testing.T) {
	const tasks, rounds = 3, 6
	rapid.Check(t, func(t *rapid.T) {
		m := newProbeMachine(Config{RAM: 1 << 14, Swap: 1 << 14, THP: THPAlways}, sim.NewSeeded(rapid.Uint64().Draw(t, "seed")))
		var a *MM
		m.s.Go("first", func(task *sim.Task) {
			a = m.sys.NewMM("1")
			okAddr(a.Mmap(task, watchedPage<<PageShift, 1<<21, protRW, fixedAnon, nil, 0))
			register(task, a, watchedPage+10, watchedPage+20)
			for k := range tasks {
				a.Get()
				m.s.Go("writer", func(task *sim.Task) {
					for b := byte(1); b <= rounds; b++ {
						for i := range uint64(3) {
							at := (watchedPage + 200*i + uint64(k)) << PageShift
							ok(a.Store(task, at, 100, b))
							task.Point()
							got, err := a.Load(task, nil, at, 100)
							ok(err)
							require.Len(t, got, 1)
							require.Equal(t, b, got[0].Byte, "task %d page %d", k, 200*i)
						}
					}
					a.Put(task)
				})
			}
			a.Put(task)
		})
		for range 2 {
			disturb := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 8).Draw(t, "disturbances")
			m.s.Go("other", func(task *sim.Task) {
				for a == nil {
					task.Point()
				}
				if !a.GetNotZero(task) {
					return
				}
				for _, d := range disturb {
					disturbHugePage(task, a, d)
					checkHuge(t, a)
				}
				a.Put(task)
			})
		}
		require.Equal(t, sim.Quiescent, m.s.Run())
		require.Nil(t, m.s.Failure())
		require.Zero(t, m.sys.Mem.Used())
		require.Zero(t, m.sys.Mem.SwapUsed())
		m.s.Close()
	})
}

func disturbHugePage(task *sim.Task, a *MM, what int) {
	const at = watchedPage << PageShift
	switch what {
	case 0:
		a.Madvise(task, at, 1<<21, MadvCollapse)
	case 1:
		a.Madvise(task, at, 1<<21, MadvPageOut)
	case 2:
		a.Madvise(task, at+200*PageSize, 4*PageSize, MadvPageOut)
	case 3:
		a.sys.Khugepaged(task)
	case 4:
		c := forkOf(task, a)
		c.Store(task, at+200*PageSize, 4*PageSize, 0x77)
		c.Put(task)
	case 5:
		a.sys.Reclaim(task, 1000)
	case 6:
		a.Madvise(task, at+100*PageSize, PageSize, MadvDontNeed)
	}
}
