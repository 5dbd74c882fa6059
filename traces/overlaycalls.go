// SPDX-License-Identifier: MIT

package traces

const (
	mapType      = 0xf
	mapPrivate   = 2
	mapFixed     = 0x10
	mapAnonymous = 0x20
	mapGrowsDown = 0x100
	mapHugeTLB   = 0x40000
	mremapFixed  = 2
	mremapKeep   = 4 // MREMAP_DONTUNMAP
)

var (
	madvDontFork     = madviseWords.names["MADV_DONTFORK"]
	madvDoFork       = madviseWords.names["MADV_DOFORK"]
	madvGuardInstall = madviseWords.names["MADV_GUARD_INSTALL"]
	madvHWPoison     = madviseWords.names["MADV_HWPOISON"]
)

// begun acts on the first half of a memory call of by.
func (s *space) begun(by *task, o *Op) {
	if o.Call == CallBrk && o.A[0] != 0 && o.A[0] < s.brk {
		s.hold(by, pageUp(o.A[0]), pageUp(s.brk))
	}
	for _, r := range takes(o) {
		s.hold(by, r.Start, r.Start+r.Size)
	}
}

// takes returns the memory that a call unmaps, replaces, or makes inaccessible to somebody, as far as its arguments say.
func takes(o *Op) [2]Range {
	whole := func(addr, n uint64) Range {
		if n = pageUp(n); addr+n < addr {
			return Range{addr, ^addr &^ (pageSize - 1)} // more than there is
		}
		return Range{addr, n}
	}
	switch o.Call {
	case CallMunmap:
		return [2]Range{whole(o.A[0], o.A[1])}
	case CallMprotect:
		if o.A[2]&3 != 3 || o.N > 3 {
			return [2]Range{whole(o.A[0], o.A[1])}
		}
	case CallMmap:
		if o.A[3]&mapFixed != 0 {
			return [2]Range{whole(o.A[0], o.A[1])}
		}
	case CallMremap:
		out := [2]Range{whole(o.A[0], o.A[1])}
		if o.A[3]&mremapFixed != 0 {
			out[1] = whole(o.A[4], o.A[2])
		}
		return out
	case CallMadvise:
		if a := o.A[2]; a == madvGuardInstall || a == madvHWPoison {
			return [2]Range{whole(o.A[0], o.A[1])}
		}
	}
	return [2]Range{}
}

// returned acts on a memory call that has returned. One that failed may have done a part of its work, so that nothing
// is known any more.
func (s *space) returned(o *Op, now uint64) {
	s.pass(now)
	a := &o.A
	if o.Result.Kind != ResultOK {
		for _, r := range takes(o) {
			s.forget(r.Start, r.Start+r.Size)
		}
		return
	}
	at := o.Result.Val
	switch o.Call {
	case CallMmap:
		s.put(at, at+pageUp(a[1]), mapped(a[2], a[3]))
	case CallMunmap:
		s.forget(a[0], a[0]+pageUp(a[1]))
	case CallMprotect:
		key := ^uint64(0)
		if o.N > 3 {
			key = a[3]
		}
		s.protect(a[0], a[0]+pageUp(a[1]), a[2], key)
	case CallMremap:
		s.move(a[0], pageUp(a[1]), at, pageUp(a[2]), a[3]&mremapKeep != 0)
	case CallBrk:
		s.setBreak(at)
	case CallMadvise:
		s.advise(o)
	}
}

// mapped returns the attributes of a new mapping, 0 for what is never picked.
func mapped(prot, flags uint64) attr {
	if flags&mapType != mapPrivate || flags&(mapAnonymous|mapHugeTLB|mapGrowsDown) != mapAnonymous {
		return 0
	}
	if prot&3 == 3 {
		return attrAnon | attrRW
	}
	return attrAnon
}

// advise is madvise, as far as it changes who may use the memory.
func (s *space) advise(o *Op) {
	lo, hi := o.A[0], o.A[0]+pageUp(o.A[1])
	switch o.A[2] {
	case madvDontFork:
		s.edit(lo, hi, func(a attr) attr { return a | attrNoFork })
	case madvDoFork:
		s.edit(lo, hi, func(a attr) attr { return a &^ attrNoFork })
	default:
		for _, r := range takes(o) {
			s.forget(r.Start, r.Start+r.Size)
		}
	}
}
