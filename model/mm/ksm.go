// SPDX-License-Identifier: MIT

package mm

import (
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnKSMScan    = sim.NewFunc("ksm_do_scan", "merged")
	fnKSMProtect = sim.NewFunc("write_protect_page", "start", "end", "pfn")
	fnKSMReplace = sim.NewFunc("replace_page", "start", "end", "pfn")
	fnKSMBreak   = sim.NewFunc("break_ksm", "start", "end")
)

// ksmMaxSharing is how many pages one frame stands for; the next equal ones get
// another frame.
//
// Kernel: ksm_max_page_sharing, mm/ksm.c.
const ksmMaxSharing = 256

// ksmMaxScans bounds a request: what other tasks write meanwhile is left for the
// next one.
const ksmMaxScans = 8

// ksmd is the task that merges equal pages, and who waits for it. It has no tree
// that outlives a scan: which frames are merged ones, the page tables say
// (PTEKSM).
//
// Kernel: ksm_scan_thread, mm/ksm.c.
type ksmd struct {
	sys   *System
	task  *sim.Task
	wake  sim.WaitQueue
	done  sim.WaitQueue
	asked uint64 // requests so far
	ready uint64 // requests that have been served
}

func (k *ksmd) init(sys *System) {
	k.sys = sys
	k.wake.Init(sys.Sim, "ksm_thread_wait")
	k.done.Init(sys.Sim, "ksm_iter_wait")
}

// KSM lets ksmd scan all mergeable memory until nothing more can be merged, and
// waits for it.
func (sys *System) KSM(t *sim.Task) {
	k := &sys.ksmd
	k.asked++
	mine := k.asked
	if k.task == nil {
		k.task = sys.Sim.GoDaemon("ksmd", k.loop)
	}
	k.wake.WakeAll(t)
	k.done.WaitEvent(t, func() bool { return k.ready >= mine })
}

func (k *ksmd) loop(t *sim.Task) {
	for {
		for k.ready < k.asked {
			now := k.asked
			for n := 0; n < ksmMaxScans && k.doScan(t) > 0; n++ {
				t.Point()
			}
			k.ready = now
			k.done.WakeAll(t)
		}
		t.Rest(func() { k.wake.WaitEvent(t, func() bool { return k.ready < k.asked }) })
	}
}

// ksmPage is a page that was seen by a scan: where, and which use of the frame.
type ksmPage struct {
	mm  *MM
	vpn uint64
	pfn phys.PFN
	gen uint32
}

// ksmScan is one pass over all mergeable memory. Both trees are maps by content
// that are only looked up in.
//
// Kernel: struct ksm_scan, root_stable_tree and root_unstable_tree, mm/ksm.c.
type ksmScan struct {
	sys      *System
	stable   map[uint64][]ksmPage
	unstable map[uint64]ksmPage
	merged   uint64
}

// doScan looks at every page once and returns how many it merged. Pages need not
// stay as they are for a whole scan before they are merged (model/FIDELITY.md
// M-KSM).
//
// Kernel: ksm_do_scan.
func (k *ksmd) doScan(t *sim.Task) uint64 {
	s := ksmScan{sys: k.sys, unstable: map[uint64]ksmPage{}}
	s.findStable()
	for _, mm := range append([]*MM(nil), k.sys.mms...) {
		for at := uint64(0); ; {
			page, n, ok := mm.ksmNext(t, at)
			if !ok {
				break
			}
			at = page.vpn + s.cmpAndMerge(t, page, n)
		}
	}
	k.sys.Counts.PagesMerged += s.merged
	t.Log(fnKSMScan, s.merged, 0, 0)
	return s.merged
}

// findStable lists the frames that stand for merged pages already.
func (s *ksmScan) findStable() {
	s.stable = map[uint64][]ksmPage{}
	seen := map[phys.PFN]bool{}
	for _, mm := range s.sys.mms {
		for it := mm.pt.Iter(0, EndOfSpace); it.Next(); {
			p := PTE(it.Run.V)
			if !p.Present() || !p.ksm() {
				continue
			}
			for i := range 1 + (it.Run.Len()-1)*it.Run.Stride {
				if pfn := p.Frame() + phys.PFN(i); !seen[pfn] {
					seen[pfn] = true
					s.addStable(pfn)
				}
			}
		}
	}
}

func (s *ksmScan) addStable(pfn phys.PFN) {
	key, _ := s.sys.Mem.ContentRun(pfn, 1)
	s.stable[key] = append(s.stable[key], ksmPage{pfn: pfn, gen: s.sys.Mem.Gen(pfn)})
}

// ksmNext returns the first page from at on that may be merged, and how many from
// there on continue it.
//
// Kernel: scan_get_next_rmap_item.
func (mm *MM) ksmNext(t *sim.Task, at uint64) (page ksmPage, n uint64, ok bool) {
	mm.mmapLock.RLock(t)
	defer mm.mmapLock.RUnlock(t)
	for v := mm.FindVMA(at); v != nil && mm.users > 0; v = v.next {
		if v.Flags&VMMergeable == 0 || v.AnonVMA == nil {
			continue
		}
		for i := max(at, v.Start); i < v.End; i += n {
			r, found := mm.next(t, i, v.End)
			if !found {
				break
			}
			i = r.Lo
			n = step(t, i, min(r.Hi, v.End))
			t.Read(&mm.ptObj, i, i+n)
			var p PTE
			if p, n = mm.runAt(i, n); p.canMerge() {
				return ksmPage{mm, i, p.Frame(), mm.sys.Mem.Gen(p.Frame())}, n, true
			}
		}
	}
	return ksmPage{}, 0, false
}

// canMerge says whether KSM may merge what the entry maps.
func (p PTE) canMerge() bool { return p.Present() && p.anon() && !p.zero() && !p.ksm() && !p.huge() }

// cmpAndMerge merges the page, and those of the n from there on that are equal, as
// far as one frame can stand for them. It returns how many it is done with.
//
// Kernel: cmp_and_merge_page.
func (s *ksmScan) cmpAndMerge(t *sim.Task, page ksmPage, n uint64) uint64 {
	mem := s.sys.Mem
	if !s.current(page) {
		return 1
	}
	key, n := mem.ContentRun(page.pfn, n)
	for _, k := range s.stable[key] {
		s.sys.counted(k.pfn, 1, sim.KindRead)
		if f := mem.Frame(k.pfn); f.Gen == k.gen && f.Allocated && f.Count < ksmMaxSharing && mem.SameContent(k.pfn, page.pfn) {
			done := s.mergeWithKSMPage(t, page, min(n, ksmMaxSharing-uint64(f.Count)), k.pfn)
			s.merged += done
			return max(done, 1)
		}
	}
	other, ok := s.unstable[key]
	if !ok || !s.current(other) || !mem.SameContent(other.pfn, page.pfn) {
		s.unstable[key] = page
		return 1
	}
	if other.pfn == page.pfn {
		return 1 // shared since a fork
	}
	s.mergeTwoPages(t, page, other, key)
	return 1
}

// current says whether the page is still mapped where it was seen.
func (s *ksmScan) current(page ksmPage) bool {
	if t := s.sys.Sim.Current(); t != nil {
		page.mm.looked(t, page.vpn, page.vpn+1)
		t.Touch(sim.Access{Object: &s.sys.MemObj, Lo: uint64(page.pfn), Hi: uint64(page.pfn) + 1, Kind: sim.KindRead})
	}
	p := page.mm.PTEAt(page.vpn)
	return p.canMerge() && p.Frame() == page.pfn && s.sys.Mem.Gen(page.pfn) == page.gen
}

// mergeTwoPages makes a merged page of page and lets it stand for other, too.
//
// Kernel: try_to_merge_two_pages.
func (s *ksmScan) mergeTwoPages(t *sim.Task, page, other ksmPage, key uint64) {
	delete(s.unstable, key)
	s.sys.get(page.pfn, 1)
	if s.makeKSMPage(t, page) {
		s.addStable(page.pfn)
		if s.mergeWithKSMPage(t, other, 1, page.pfn) == 1 {
			s.merged++
		} else {
			s.breakCOW(t, page)
		}
	}
	s.sys.putFrames(page.pfn, 1)
}

// mergeable returns the VMA in which a page may be merged, nil for none.
//
// Kernel: find_mergeable_vma.
//
// Preconditions: mmapLock held.
func (mm *MM) mergeable(vpn uint64) *VMA {
	if v := mm.vmaAt(vpn); mm.users > 0 && v != nil && v.Flags&VMMergeable != 0 && v.AnonVMA != nil {
		return v
	}
	return nil
}

// makeKSMPage turns a page into one that may stand for others.
//
// Kernel: try_to_merge_with_ksm_page and try_to_merge_one_page without a kpage.
func (s *ksmScan) makeKSMPage(t *sim.Task, page ksmPage) bool {
	mm := page.mm
	mm.mmapLock.RLock(t)
	defer mm.mmapLock.RUnlock(t)
	v := mm.mergeable(page.vpn)
	if v == nil {
		return false
	}
	p, ok := s.writeProtectPage(t, page)
	if !ok {
		return false
	}
	f := folioOf(v, page.vpn, p)
	for _, m := range s.sys.rmapWalk(&f, PTE.maps) {
		e := m.v.mm.PTEAt(m.vpn)
		m.v.mm.setPTEs(m.vpn, m.vpn+1, e&^PTELazyFree|PTEKSM)
	}
	return true
}

// mergeWithKSMPage lets the frame kpfn stand for up to n pages, all equal to it
// when they were seen, and returns for how many it does.
//
// Kernel: try_to_merge_with_ksm_page and try_to_merge_one_page.
func (s *ksmScan) mergeWithKSMPage(t *sim.Task, page ksmPage, n uint64, kpfn phys.PFN) uint64 {
	mm := page.mm
	s.sys.get(kpfn, 1)
	mm.mmapLock.RLock(t)
	done := uint64(0)
	if v := mm.mergeable(page.vpn); v != nil && s.current(page) {
		if free := mm.unwatched(t, page.vpn, min(n, v.End-page.vpn)); free > 0 {
			done = s.replaceRun(t, v, page, free, kpfn)
		} else {
			done = s.replacePage(t, v, page, kpfn)
		}
	}
	mm.mmapLock.RUnlock(t)
	s.sys.putFrames(kpfn, 1)
	return done
}

// writeProtectPage makes a page read-only, in a CLEAR window, and returns its
// entry: nobody writes to it unnoticed from now on.
//
// Kernel: write_protect_page.
func (s *ksmScan) writeProtectPage(t *sim.Task, page ksmPage) (PTE, bool) {
	mm, vpn := page.mm, page.vpn
	var w *NotifierRange
	if mm.watched(t, vpn, vpn+1) {
		w = mm.openWindow(t, EventClear, vpn, vpn+1)
	}
	t.Write(&mm.ptObj, vpn, vpn+1)
	ok := s.current(page) && s.sys.isolated.Empty(uint64(page.pfn), uint64(page.pfn)+1) && s.sys.unpinned(PTE(page.pfn), 1) > 0
	if ok {
		e := mm.PTEAt(vpn)
		if e&PTEDirty != 0 {
			e &^= PTELazyFree // somebody wrote to it since
		}
		mm.setPTEs(vpn, vpn+1, e&^(PTEWrite|PTEDirty|PTEExclusive))
		t.Log(fnKSMProtect, vpn<<PageShift, (vpn+1)<<PageShift, uint64(page.pfn))
	}
	p := mm.PTEAt(vpn)
	mm.closeWindow(t, w)
	return p, ok && mm.PTEAt(vpn) == p
}

// replacePage lets a page be mapped as the frame kpfn, in a second CLEAR window
// after it was write-protected, if it is still equal.
//
// Kernel: replace_page.
func (s *ksmScan) replacePage(t *sim.Task, v *VMA, page ksmPage, kpfn phys.PFN) uint64 {
	mm, vpn, mem := page.mm, page.vpn, s.sys.Mem
	s.sys.get(page.pfn, 1)
	defer s.sys.putFrames(page.pfn, 1)
	orig, ok := s.writeProtectPage(t, page)
	if !ok || !mem.SameContent(page.pfn, kpfn) {
		return 0
	}
	var w *NotifierRange
	if mm.watched(t, vpn, vpn+1) {
		w = mm.openWindow(t, EventClear, vpn, vpn+1)
	}
	t.Write(&mm.ptObj, vpn, vpn+1)
	done := uint64(0)
	if mm.PTEAt(vpn)|PTEYoung == orig|PTEYoung {
		s.mapKSMPage(t, v, vpn, 1, page.pfn, kpfn)
		done = 1
	}
	mm.closeWindow(t, w)
	return done
}

// replaceRun is replacePage for up to n pages that nobody can watch.
func (s *ksmScan) replaceRun(t *sim.Task, v *VMA, page ksmPage, n uint64, kpfn phys.PFN) uint64 {
	_, n = page.mm.runAt(page.vpn, n)
	if _, n = s.sys.Mem.ContentRun(page.pfn, n); !s.sys.Mem.SameContent(page.pfn, kpfn) {
		return 0
	}
	if r, ok := s.sys.isolated.Next(uint64(page.pfn)); ok {
		n = min(n, max(r.Lo, uint64(page.pfn))-uint64(page.pfn))
	}
	n = s.sys.unpinned(PTE(page.pfn), n)
	if n > 0 {
		s.mapKSMPage(t, v, page.vpn, n, page.pfn, kpfn)
	}
	return n
}

// mapKSMPage lets the frame kpfn take the place of n frames from pfn on.
func (s *ksmScan) mapKSMPage(t *sim.Task, v *VMA, vpn, n uint64, pfn, kpfn phys.PFN) {
	mm, mem := v.mm, s.sys.Mem
	mem.GetMany(kpfn, uint32(n))
	p := PTEPresent | PTEYoung | PTEAnon | PTEKSM | PTE(kpfn)
	if v.Flags&vmAccess == 0 {
		p |= PTEProtNone
	}
	mm.pt.Set(vpn, vpn+n, uint64(p), 0) // one frame for all
	mm.changed(vpn, vpn+n)
	s.sys.putFrames(pfn, n)
	t.Log(fnKSMReplace, vpn<<PageShift, (vpn+n)<<PageShift, uint64(kpfn))
}

// breakCOW gives a page back its own frame that was merged with nothing.
//
// Kernel: break_cow.
func (s *ksmScan) breakCOW(t *sim.Task, page ksmPage) {
	page.mm.mmapLock.RLock(t)
	if v := page.mm.mergeable(page.vpn); v != nil {
		page.mm.unmergePages(t, v, page.vpn, page.vpn+1)
	}
	page.mm.mmapLock.RUnlock(t)
}
