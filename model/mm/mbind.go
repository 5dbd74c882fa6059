// SPDX-License-Identifier: MIT

package mm

import (
	"math/bits"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnMbind        = sim.NewFunc("do_mbind", "start", "end", "mode")
	fnMigrateNodes = sim.NewFunc("migrate_to_node", "mm", "source", "dest")
)

// Mbind gives [addr,addr+length) (bytes) a memory policy: mode and its flags, for
// the nodes of mask. With MpolMFMove the pages on other nodes migrate, except
// shared ones, with MpolMFMoveAll all.
//
// Errors: EINVAL (arguments), EFAULT (hole), EIO (MpolMFStrict, and pages are or
// stay on other nodes), ENOMEM (too many VMAs).
//
// Kernel: do_mbind, mm/mempolicy.c.
func (mm *MM) Mbind(t *sim.Task, addr, length uint64, mode uint32, mask NodeMask, maxnode uint64, flags uint32) errno.Errno {
	nodes, err := getNodes(mask, maxnode)
	if err != 0 {
		return err
	}
	end := addr + pageAlign(length)
	if flags&^mpolMFValid != 0 || pageOffset(addr) != 0 || end < addr {
		return errno.EINVAL
	}
	if mode&^mpolModeFlags == MpolDefault {
		flags &^= MpolMFStrict
	}
	policy, err := mm.sys.mpolNew(mode, nodes)
	if err != 0 || end == addr {
		return err
	}
	lo, hi := addr>>PageShift, end>>PageShift
	q := queuePages{lo: lo, hi: hi, nodes: ^mm.sys.existing(nodes, false), flags: flags, holes: policy.mode == MpolDefault}
	mm.mmapLock.Lock(t)
	if err = mm.queuePagesRange(t, &q); err == 0 {
		err = mm.mbindVMAs(t, lo, hi, mm.sys.policyOf(policy))
	}
	t.Log(fnMbind, addr, end, uint64(mode))
	mm.mmapLock.Unlock(t)
	if err != 0 {
		for i := range q.list {
			mm.sys.putback(&q.list[i], q.list[i].n)
		}
		return err
	}
	failed, err := mm.sys.migratePages(t, q.list, mm.byPolicy(t, policy))
	if flags&MpolMFStrict != 0 && (failed+q.failed > 0 || err != 0) {
		return errno.EIO
	}
	return 0
}

// byPolicy takes frames as a policy says for new pages.
//
// Kernel: alloc_migration_target_by_mpol.
func (mm *MM) byPolicy(t *sim.Task, p mempolicy) migrateTarget {
	return func(f *folio, limit uint64) (phys.PFN, uint64) { return mm.allocByPolicy(t, p, f.index, limit) }
}

// mbindVMAs gives [lo,hi) a policy; what was done before an error stays.
//
// Kernel: mbind_range.
//
// Preconditions: mmapLock held for writing.
func (mm *MM) mbindVMAs(t *sim.Task, lo, hi uint64, policy policyID) errno.Errno {
	for v := mm.intersection(lo, hi); v != nil && v.Start < hi; v = v.next {
		if v.policy == policy {
			continue
		}
		var err errno.Errno
		if v, err = mm.modifyVMA(t, v, max(lo, v.Start), min(hi, v.End), v.Flags, policy); err != 0 {
			return err
		}
		v.policy = policy
	}
	return 0
}

// queuePages says which pages to isolate and keeps them.
//
// Kernel: struct queue_pages, mm/mempolicy.c.
type queuePages struct {
	lo, hi uint64
	nodes  uint64 // pages on these are wanted
	flags  uint32
	holes  bool // unmapped addresses are no error

	list   []isolated
	failed uint64 // pages that could not be isolated
}

// queuePagesRange isolates the pages of a range that are on the wrong nodes.
//
// Errors: EFAULT for a hole or nothing at all, EIO for a page on a wrong node that
// is not to be moved.
//
// Kernel: queue_pages_range.
//
// Preconditions: mmapLock held.
func (mm *MM) queuePagesRange(t *sim.Task, q *queuePages) errno.Errno {
	v := mm.intersection(q.lo, q.hi)
	if v == nil || !q.holes && v.Start > q.lo {
		return errno.EFAULT
	}
	for ; v != nil && v.Start < q.hi; v = v.next {
		if !q.holes && v.End < q.hi && (v.next == nil || v.next.Start > v.End) {
			return errno.EFAULT
		}
		if q.flags&mpolMFValid == 0 || !v.migratable() && q.flags&MpolMFStrict == 0 {
			continue
		}
		if mm.queueVMA(t, v, q); q.failed > 0 && q.flags&mpolMFValid == MpolMFStrict {
			return errno.EIO
		}
	}
	return 0
}

// queueVMA is queuePagesRange for one VMA.
//
// Kernel: queue_folios_pte_range.
func (mm *MM) queueVMA(t *sim.Task, v *VMA, q *queuePages) {
	mem := mm.sys.Mem
	for i, hi := max(q.lo, v.Start), min(q.hi, v.End); i < hi; {
		r, ok := mm.next(t, i, hi)
		if !ok {
			break
		}
		i = r.Lo
		n := step(t, i, min(r.Hi, hi))
		t.Read(&mm.ptObj, i, i+n)
		p, n := mm.runAt(i, n)
		switch {
		case p.migration():
			q.failed += n
		case p.Present() && !p.zero():
			var node int
			if node, n = mem.NodeRun(p.Frame(), n); q.nodes>>node&1 != 0 {
				n = mm.queueRun(v, i, n, p, q)
			}
		}
		i += max(n, 1)
	}
}

// queueRun isolates up to n pages, as far as they are alike, if they may be moved,
// and returns how many it looked at.
//
// Kernel: migrate_folio_add.
func (mm *MM) queueRun(v *VMA, vpn, n uint64, p PTE, q *queuePages) uint64 {
	if q.flags&(MpolMFMove|MpolMFMoveAll) == 0 || !v.migratable() {
		q.failed += n
		return n
	}
	f := folioOf(v, vpn, p)
	if q.flags&MpolMFMoveAll == 0 {
		own := mm.sys.runWithCount(p.Frame(), n, uint32(1+mm.sys.cacheRefs(&f)))
		if own == 0 {
			return 1 // shared: left alone, which is no failure
		}
		n = own
	}
	it, ok := mm.sys.isolateFolios(v, vpn, n, p)
	if !ok {
		q.failed++
		return 1
	}
	q.list = append(q.list, it)
	return it.n
}

// migratable says whether pages of the VMA may change their frames.
//
// Kernel: vma_migratable, include/linux/mempolicy.h.
func (v *VMA) migratable() bool { return v.Flags&(VMIO|VMPFNMap) == 0 }

// MigratePages moves every page of the address space that is on a node of from to
// the node of to that has its place. It returns how many could not be moved.
//
// Errors: EINVAL (masks, no such node), ENOMEM (no room on a node).
//
// Kernel: kernel_migrate_pages and do_migrate_pages, mm/mempolicy.c.
func (mm *MM) MigratePages(t *sim.Task, maxnode uint64, from, to NodeMask) (uint64, errno.Errno) {
	fromMask, err := getNodes(from, maxnode)
	if err != 0 {
		return 0, err
	}
	toMask, err := getNodes(to, maxnode)
	if err != 0 {
		return 0, err
	}
	old, dest := mm.sys.existing(fromMask, false), mm.sys.existing(toMask, false)
	if dest == 0 {
		return 0, errno.EINVAL
	}
	var failed uint64
	for left := old; left != 0; {
		s, d := nextMove(left, old, dest)
		if s < 0 {
			break
		}
		left &^= 1 << s
		n, err := mm.migrateToNode(t, s, d)
		if err != 0 {
			return 0, err
		}
		failed += n
	}
	return failed, 0
}

// nextMove returns the next pair of nodes to move between: at best one whose
// destination is not a source that is left. The source is -1 when nothing is to
// be moved any more.
//
// Kernel: do_migrate_pages.
func nextMove(left, from, to uint64) (source, dest int) {
	source = -1
	for m := left; m != 0; m &= m - 1 {
		s := bits.TrailingZeros64(m)
		if bits.OnesCount64(from) != bits.OnesCount64(to) && to>>s&1 != 0 {
			continue
		}
		d := nthBit(to, uint64(bits.OnesCount64(from&(1<<s-1))))
		if s == d {
			continue
		}
		source, dest = s, d
		if left>>d&1 == 0 {
			break
		}
	}
	return source, dest
}

// migrateToNode moves every page that is on one node to another.
//
// Kernel: migrate_to_node, mm/mempolicy.c.
func (mm *MM) migrateToNode(t *sim.Task, source, dest int) (uint64, errno.Errno) {
	t.Log(fnMigrateNodes, uint64(mm.id), uint64(source), uint64(dest))
	q := queuePages{hi: TaskSize, nodes: 1 << source, flags: MpolMFMoveAll, holes: true}
	mm.mmapLock.RLock(t)
	if mm.firstVMA() != nil {
		mm.queuePagesRange(t, &q)
	}
	mm.mmapLock.RUnlock(t)
	failed, err := mm.sys.migratePages(t, q.list, mm.sys.onNode(dest))
	return failed + q.failed, err
}
