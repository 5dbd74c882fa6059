// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// MovePages moves the pages at addresses (bytes) to nodes, and says for each where
// it is now, or why not as a negative errno. It returns how many pages of the list
// were not moved although they could have been; then the status of the last ones
// means nothing. With nodes nil it only says where the pages are: -EFAULT where
// nothing is mapped or the zero page is, -ENOENT where no page is.
//
// Errors: EINVAL (flags), ENODEV (no such node), ENOMEM (no room on a node).
//
// Kernel: kernel_move_pages and do_pages_move, mm/migrate.c.
func (mm *MM) MovePages(t *sim.Task, addresses []uint64, nodes []int64, flags uint32) (status []int64, left uint64, err errno.Errno) {
	if flags&^(MpolMFMove|MpolMFMoveAll) != 0 {
		return nil, 0, errno.EINVAL
	}
	if nodes == nil {
		return mm.pageNodes(t, addresses), 0, 0
	}
	m := movePages{mm: mm, status: make([]int64, len(addresses)), node: -1}
	for i, addr := range addresses {
		node := int(nodes[i])
		if node < 0 || node >= mm.sys.Mem.Nodes() {
			m.flush(t, i, len(addresses))
			return m.status, 0, errno.ENODEV
		}
		if m.node >= 0 && node != m.node {
			if left, err = m.flush(t, i, len(addresses)); err != 0 || left > 0 {
				return m.status, left, err
			}
		}
		if m.node < 0 {
			m.node, m.start = node, i
		}
		queued, why := m.add(t, addr>>PageShift, flags&MpolMFMoveAll != 0)
		if queued {
			continue
		}
		m.status[i] = why
		if left, err = m.flush(t, i, len(addresses)); err != 0 || left > 0 {
			return m.status, max(left, 1) - 1, err // page i is accounted for
		}
	}
	left, err = m.flush(t, len(addresses), len(addresses))
	return m.status, left, err
}

// movePages are the pages of a call that wait for one node.
type movePages struct {
	mm     *MM
	status []int64
	list   []isolated
	node   int // -1: none wait
	start  int // index of the first that waits
}

// add queues a page; otherwise it says where the page is, or why it does not move.
//
// Kernel: add_folio_for_migration, mm/migrate.c.
func (m *movePages) add(t *sim.Task, vpn uint64, shared bool) (queued bool, status int64) {
	mm := m.mm
	mm.mmapLock.RLock(t)
	defer mm.mmapLock.RUnlock(t)
	v := mm.vmaAt(vpn)
	if v == nil || !v.migratable() {
		return false, -int64(errno.EFAULT)
	}
	t.Read(&mm.ptObj, vpn, vpn+1)
	p := mm.PTEAt(vpn)
	switch {
	case !p.Present():
		return false, -int64(errno.ENOENT)
	case p.zero():
		return false, -int64(errno.EFAULT)
	case mm.sys.Mem.NodeOf(p.Frame()) == m.node:
		return false, int64(m.node)
	}
	f := folioOf(v, vpn, p)
	if !shared && mm.sys.mappedShared(&f) {
		return false, -int64(errno.EACCES)
	}
	it, ok := mm.sys.isolateFolios(v, vpn, 1, p)
	if !ok {
		return false, -int64(errno.EBUSY)
	}
	m.list = append(m.list, it)
	return true, 0
}

// flush moves the pages that wait, of which end is behind the last, of total in
// all. left counts those that stayed and all that have not been tried.
//
// Kernel: move_pages_and_store_status.
func (m *movePages) flush(t *sim.Task, end, total int) (left uint64, err errno.Errno) {
	node := m.node
	m.node = -1
	if len(m.list) == 0 {
		return 0, 0
	}
	failed, err := m.mm.sys.migratePages(t, m.list, m.mm.sys.onNode(node))
	m.list = m.list[:0]
	if err != 0 || failed > 0 {
		return failed + uint64(total-end), err
	}
	for i := m.start; i < end; i++ {
		m.status[i] = int64(node)
	}
	return 0, 0
}

// pageNodes says on which node the pages at addresses (bytes) are.
//
// Kernel: do_pages_stat, mm/migrate.c.
func (mm *MM) pageNodes(t *sim.Task, addresses []uint64) []int64 {
	status := make([]int64, len(addresses))
	mm.mmapLock.RLock(t)
	for i, addr := range addresses {
		vpn := addr >> PageShift
		t.Read(&mm.ptObj, vpn, vpn+1)
		p := mm.PTEAt(vpn)
		switch {
		case mm.vmaAt(vpn) == nil || p.zero():
			status[i] = -int64(errno.EFAULT)
		case !p.Present():
			status[i] = -int64(errno.ENOENT)
		default:
			status[i] = int64(mm.sys.Mem.NodeOf(p.Frame()))
		}
	}
	mm.mmapLock.RUnlock(t)
	return status
}
