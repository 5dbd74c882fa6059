// SPDX-License-Identifier: MIT

package mm

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// contents follows what a program reads while its memory is moved about: the
// byte of each page of a small private space, and nothing else.
type contents struct {
	sys   *System
	mm    *MM
	pages [refPages]refByte
}

type refByte struct {
	mapped, write bool
	b             byte
}

func (m *contents) do(t *rapid.T, call func(task *sim.Task) errno.Errno) errno.Errno {
	var err errno.Errno
	m.sys.do(t, func(task *sim.Task) { err = call(task) })
	return err
}

func (m *contents) Mmap(t *rapid.T) {
	lo, hi := drawRange(t)
	flags := rapid.SampledFrom([]uint32{0, MapPopulate}).Draw(t, "flags")
	prot := rapid.SampledFrom([]uint32{ProtRead, rw, rw}).Draw(t, "prot")
	require.Zero(t, m.do(t, func(task *sim.Task) errno.Errno {
		_, err := m.mm.Mmap(task, at(lo), (hi-lo)<<PageShift, prot, anonFixed|flags, nil, 0)
		return err
	}))
	for p := lo; p < hi; p++ {
		m.pages[p] = refByte{true, prot == rw, 0}
	}
}

func (m *contents) Munmap(t *rapid.T) {
	lo, hi := drawRange(t)
	require.Zero(t, m.do(t, func(task *sim.Task) errno.Errno { return m.mm.Munmap(task, at(lo), (hi-lo)<<PageShift) }))
	clear(m.pages[lo:hi])
}

func (m *contents) Store(t *rapid.T) {
	lo, hi := drawRange(t)
	b := rapid.Byte().Draw(t, "byte")
	want := errno.Errno(0)
	for p := lo; p < hi && want == 0; p++ {
		if !m.pages[p].write {
			want = errno.EFAULT
			continue
		}
		m.pages[p].b = b
	}
	require.Equal(t, want, m.do(t, func(task *sim.Task) errno.Errno {
		return m.mm.Store(task, at(lo), (hi-lo)<<PageShift, b)
	}))
}

func (m *contents) Mprotect(t *rapid.T) {
	lo, hi := drawRange(t)
	prot := rapid.SampledFrom([]uint32{ProtRead, rw, rw}).Draw(t, "prot")
	want := errno.Errno(0)
	for p := lo; p < hi && want == 0; p++ {
		if !m.pages[p].mapped {
			want = errno.ENOMEM
			continue
		}
		m.pages[p].write = prot == rw
	}
	require.Equal(t, want, m.do(t, func(task *sim.Task) errno.Errno {
		return m.mm.Mprotect(task, at(lo), (hi-lo)<<PageShift, prot)
	}))
}

func (m *contents) Madvise(t *rapid.T) {
	lo, hi := drawRange(t)
	advice := rapid.SampledFrom([]int{MadvDontNeed, MadvPageOut, MadvCold, MadvPopulateRead, MadvDontFork, MadvDoFork}).Draw(t, "advice")
	m.do(t, func(task *sim.Task) errno.Errno { return m.mm.Madvise(task, at(lo), (hi-lo)<<PageShift, advice) })
	for p := lo; p < hi && advice == MadvDontNeed; p++ {
		m.pages[p].b = 0
	}
}

func (m *contents) Mremap(t *rapid.T) {
	lo, _ := drawRange(t)
	to, _ := drawRange(t)
	v := m.mm.vmaAt(drawBase + lo)
	if v == nil || lo == to {
		t.Skip("nothing to move")
	}
	n := rapid.Uint64Range(1, min(v.End-drawBase, refPages)-lo).Draw(t, "old")
	newN := rapid.Uint64Range(1, refPages-to).Draw(t, "new")
	flags := uint32(MremapMayMove | MremapFixed)
	if rapid.Bool().Draw(t, "keep") {
		flags |= MremapDontUnmap
		newN = min(newN, n)
		n = newN
	}
	if lo+n > to && to+newN > lo {
		t.Skip("overlaps")
	}
	old := m.pages
	require.Zero(t, m.do(t, func(task *sim.Task) errno.Errno {
		_, err := m.mm.Mremap(task, at(lo), n<<PageShift, newN<<PageShift, flags, at(to))
		return err
	}))
	for i := range n {
		m.pages[lo+i] = refByte{flags&MremapDontUnmap != 0, old[lo+i].write && flags&MremapDontUnmap != 0, 0}
	}
	for i := range newN {
		m.pages[to+i] = refByte{true, old[lo].write, 0}
		if i < n {
			m.pages[to+i] = old[lo+i]
		}
	}
}

func (m *contents) Check(t *rapid.T) {
	checkTree(t, m.mm)
	m.sys.do(t, func(task *sim.Task) {
		for i := range uint64(refPages) {
			got, err := m.mm.Load(task, nil, at(i), PageSize)
			if !m.pages[i].mapped {
				require.Equal(t, errno.EFAULT, err, "page %d", i)
				continue
			}
			require.Zero(t, err)
			require.Len(t, got, 1)
			require.Equal(t, m.pages[i].b, got[0].Byte, "page %d\n%s", i, m.mm.VMAString())
		}
	})
}

// What a program wrote is what it reads, wherever the page went, and nothing is
// left when everything is unmapped.
func TestContentsFollowTheirPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.Nodes = 2
		m := &contents{sys: testSystem(cfg)}
		m.mm = m.sys.NewMM("1")
		t.Repeat(rapid.StateMachineActions(m))
		require.Zero(t, m.do(t, func(task *sim.Task) errno.Errno {
			return m.mm.Munmap(task, at(0), refPages<<PageShift)
		}))
		require.Zero(t, m.sys.Mem.Used())
		require.Zero(t, m.sys.Mem.SwapUsed())
		require.Zero(t, m.mm.RSS())
		require.Zero(t, m.mm.pt.Len())
	})
}
