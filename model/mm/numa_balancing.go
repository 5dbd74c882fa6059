// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnProtNUMA = sim.NewFunc("change_prot_numa", "start", "end")
	fnNUMAPage = sim.NewFunc("do_numa_page", "start", "end", "node")
)

// thisNode is the node that every task runs on (model/FIDELITY.md M-NUMA).
const thisNode = 0

// NUMABalance is one pass of the NUMA balancing scanner over [addr,addr+length)
// (bytes): every VMA gets one PROTECTION_VMA window, in which its pages become
// inaccessible, so that the next access tells who uses them. A machine of one
// node does no balancing.
//
// Kernel: task_numa_work, kernel/sched/fair.c.
func (mm *MM) NUMABalance(t *sim.Task, addr, length uint64) {
	end := addr + pageAlign(length)
	if mm.sys.Mem.Nodes() < 2 || end < addr {
		return
	}
	lo, hi := addr>>PageShift, end>>PageShift
	mm.mmapLock.RLock(t)
	for v := mm.intersection(lo, hi); v != nil && v.Start < hi; v = v.next {
		if v.balanced() {
			a, b := max(lo, v.Start), min(hi, v.End)
			mm.changeProtection(t, v, a, b, vmProtNUMA)
			t.Log(fnProtNUMA, a<<PageShift, b<<PageShift, 0)
		}
	}
	mm.mmapLock.RUnlock(t)
}

// balanced says whether the scanner looks at the VMA: not where a policy fixes the
// nodes, or what is most likely a library.
func (v *VMA) balanced() bool {
	switch {
	case !v.migratable() || v.Flags&VMMixedMap != 0 || v.Flags&vmAccess == 0:
		return false
	case v.policy != 0 && v.memPolicy().flags&MpolNUMABalancing == 0:
		return false
	}
	return v.File == nil || v.Flags&(VMRead|VMWrite) != VMRead
}

// protectNUMA returns the entry as a hint. Pages that many share are left alone.
//
// Kernel: change_pte_range with MM_CP_PROT_NUMA, mm/mprotect.c.
func protectNUMA(v *VMA, p PTE) PTE {
	switch {
	case !p.Accessible() || p.zero() || p.ksm():
		return p
	case v.cow() && p.anon() && (p&PTEExclusive == 0 || v.mm.sys.unpinned(p, 1) == 0):
		return p
	case !p.anon() && p&PTEDirty != 0 && !v.File.Shmem:
		return p
	}
	return p&^PTEWrite | PTEProtNone
}

// doNUMAPage handles an access to pages that bear a hint. Pages on another node
// than the task's migrate there if there is room, the others just become
// accessible. It returns how many pages it finished; 0 means that the entries are
// others now.
//
// Kernel: do_numa_page, mm/memory.c.
//
// Preconditions: mmapLock held; the VMA allows accesses.
func (mm *MM) doNUMAPage(t *sim.Task, v *VMA, lo, hi uint64, p PTE) uint64 {
	mem := mm.sys.Mem
	node, n := mem.NodeRun(p.Frame(), hi-lo)
	if node != thisNode && v.policy == 0 && mem.NodeFree(thisNode) > mm.sys.kswapd.high {
		if it, ok := mm.sys.isolateFolios(v, lo, n, p); ok {
			if failed, err := mm.sys.migratePages(t, []isolated{it}, mm.sys.onNode(thisNode)); failed == 0 && err == 0 {
				t.Log(fnNUMAPage, lo<<PageShift, (lo+it.n)<<PageShift, thisNode)
				return 0
			}
		}
	}
	t.Write(&mm.ptObj, lo, lo+n)
	if q, m := mm.runAt(lo, n); q != p || m < n {
		return 0
	}
	mm.setPTEs(lo, lo+n, protect(v, p, v.Flags)|PTEYoung)
	t.Log(fnNUMAPage, lo<<PageShift, (lo+n)<<PageShift, uint64(node))
	return n
}
