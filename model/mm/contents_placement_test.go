// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// More actions of contents: everything that moves pages to other frames, or lets
// one frame stand for several, and changes no byte.

func (m *contents) MovePages(t *rapid.T) {
	lo, hi := drawRange(t)
	node := rapid.Int64Range(0, 1).Draw(t, "node")
	flags := rapid.SampledFrom([]uint32{MpolMFMove, MpolMFMoveAll}).Draw(t, "flags")
	var addresses []uint64
	var nodes []int64
	for p := lo; p < hi; p++ {
		addresses, nodes = append(addresses, at(p)), append(nodes, node)
	}
	m.do(t, func(task *sim.Task) errno.Errno {
		status, left, err := m.mm.MovePages(task, addresses, nodes, flags)
		require.Zero(t, err)
		require.Zero(t, left)
		for i, is := range m.mm.pageNodes(task, addresses) {
			if status[i] >= 0 {
				require.Equal(t, status[i], is, "what move_pages says is where the page is")
			}
		}
		return 0
	})
}

func (m *contents) MigratePages(t *rapid.T) {
	masks := rapid.SampledFrom([]NodeMask{{1}, {2}, {3}})
	from, to := masks.Draw(t, "from"), masks.Draw(t, "to")
	require.Zero(t, m.do(t, func(task *sim.Task) errno.Errno {
		_, err := m.mm.MigratePages(task, 64, from, to)
		return err
	}))
}

func (m *contents) Mbind(t *rapid.T) {
	lo, hi := drawRange(t)
	mode := rapid.Uint32Range(MpolPreferred, mpolMax-1).Draw(t, "mode")
	flags := rapid.SampledFrom([]uint32{0, MpolMFMove, MpolMFMoveAll}).Draw(t, "flags")
	nodes := rapid.SampledFrom([]NodeMask{{1}, {2}, {3}}).Draw(t, "nodes")
	if mode == MpolLocal {
		nodes = nil
	}
	want := errno.Errno(0)
	for p := lo; p < hi; p++ {
		if !m.pages[p].mapped {
			want = errno.EFAULT
		}
	}
	require.Equal(t, want, m.do(t, func(task *sim.Task) errno.Errno {
		return m.mm.Mbind(task, at(lo), (hi-lo)<<PageShift, mode, nodes, 64, flags)
	}))
}

func (m *contents) Unbind(t *rapid.T) {
	lo, hi := drawRange(t)
	m.do(t, func(task *sim.Task) errno.Errno {
		return m.mm.Mbind(task, at(lo), (hi-lo)<<PageShift, MpolDefault, nil, 0, 0)
	})
}

func (m *contents) KSM(t *rapid.T) {
	lo, hi := drawRange(t)
	advice := rapid.SampledFrom([]int{MadvMergeable, MadvMergeable, MadvUnmergeable}).Draw(t, "advice")
	m.do(t, func(task *sim.Task) errno.Errno { return m.mm.Madvise(task, at(lo), (hi-lo)<<PageShift, advice) })
	unmerge := rapid.IntRange(0, 3).Draw(t, "unmerge") == 0
	m.do(t, func(task *sim.Task) errno.Errno {
		m.sys.KSM(task)
		if unmerge {
			return m.sys.KSMUnmerge(task)
		}
		return 0
	})
}

func (m *contents) Compact(t *rapid.T) {
	m.do(t, func(task *sim.Task) errno.Errno {
		m.sys.Compact(task)
		return 0
	})
}

func (m *contents) NUMABalance(t *rapid.T) {
	lo, hi := drawRange(t)
	m.do(t, func(task *sim.Task) errno.Errno {
		m.mm.NUMABalance(task, at(lo), (hi-lo)<<PageShift)
		return 0
	})
}

func (m *contents) SoftOffline(t *rapid.T) {
	lo, _ := drawRange(t)
	if m.sys.Mem.Lost() > 40 {
		t.Skip("enough frames are gone")
	}
	m.do(t, func(task *sim.Task) errno.Errno { return m.mm.Madvise(task, at(lo), PageSize, MadvSoftOffline) })
}

func (m *contents) ForkAndExit(t *rapid.T) {
	lo, hi := drawRange(t)
	writes := rapid.Uint32().Draw(t, "pages that the child writes")
	m.do(t, func(task *sim.Task) errno.Errno {
		c, err := m.mm.DupMM(task, "child")
		require.Zero(t, err)
		for p := lo; p < hi; p++ {
			if m.pages[p].write && writes>>p&1 != 0 {
				c.Store(task, at(p), 1, 0xff) // which MADV_DONTFORK prevents
			}
		}
		m.sys.KSM(task)
		_, err = c.MigratePages(task, 64, NodeMask{1}, NodeMask{2})
		require.Zero(t, err)
		c.Put(task)
		return 0
	})
}
