// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// refPage is one page of the dullest address space: what it is, with nothing
// shared between pages.
type refPage struct {
	mapped bool
	flags  VMFlags
	file   *File
	off    uint64
}

// continues says whether q after p belongs to the same VMA. Memory that nobody
// touched merges whenever it can.
func (p refPage) continues(q refPage) bool {
	return p.mapped && q.mapped && p.flags == q.flags && p.file == q.file && p.off+1 == q.off
}

const refPages = 24

// refSpace is an address space of untouched memory, a page at a time. Pages
// outside are never mapped but by calls that choose the address.
type refSpace struct {
	pages  [refPages]refPage
	future bool
}

// shape runs calls on an address space and on the dull one.
type shape struct {
	sys  *System
	mm   *MM
	file *File
	ref  refSpace
}

// run calls the real thing; its errno must be want.
func (m *shape) run(t *rapid.T, want errno.Errno, what string, call func(task *sim.Task) errno.Errno) {
	var got errno.Errno
	m.sys.do(t, func(task *sim.Task) { got = call(task) })
	if got != want {
		t.Fatalf("%s: %v, want %v\n%s", what, got, want, m.mm.VMAString())
	}
}

func drawRange(t *rapid.T) (lo, hi uint64) {
	lo = rapid.Uint64Range(0, refPages-1).Draw(t, "lo")
	return lo, lo + rapid.Uint64Range(1, refPages-lo).Draw(t, "n")
}

var someProts = []uint32{ProtNone, ProtRead, rw, rw | ProtExec}

func drawProt(t *rapid.T) uint32 { return rapid.SampledFrom(someProts).Draw(t, "prot") }

// accounted adds what mmap adds to the attributes of memory that it promises.
func accounted(f VMFlags) VMFlags {
	if f&(VMWrite|VMShared|VMNoReserve) == VMWrite {
		f |= VMAccount
	}
	return f
}

const mayAll = VMMayRead | VMMayWrite | VMMayExec

func (m *shape) Mmap(t *rapid.T) {
	lo, hi := drawRange(t)
	prot := drawProt(t)
	flags := rapid.SampledFrom([]uint32{0, 0, MapNoReserve, MapFixedNoReplace}).Draw(t, "flags")
	kind := rapid.SampledFrom([]uint32{MapPrivate, MapPrivate, MapShared}).Draw(t, "type")
	var f *File
	off := rapid.Uint64Range(0, 3).Draw(t, "off")
	if kind == MapShared || rapid.Bool().Draw(t, "file") {
		f = m.file
	} else {
		flags |= MapAnonymous
	}
	want := errno.Errno(0)
	for p := lo; p < hi && flags&MapFixedNoReplace != 0; p++ {
		if m.ref.pages[p].mapped {
			want = errno.EEXIST
		}
	}
	m.run(t, want, "mmap", func(task *sim.Task) errno.Errno {
		_, err := m.mm.Mmap(task, at(lo), (hi-lo)<<PageShift, prot, flags|kind|MapFixed, f, off)
		return err
	})
	if want != 0 {
		return
	}
	fl := protFlags(prot) | mayAll
	if kind == MapShared {
		fl |= VMShared | VMMayShare
	}
	if flags&MapNoReserve != 0 {
		fl |= VMNoReserve
	}
	if m.ref.future {
		fl |= vmLockedMask
	}
	for p := lo; p < hi; p++ {
		o := drawBase + p
		if f != nil {
			o = off + p - lo
		}
		m.ref.pages[p] = refPage{true, accounted(fl), f, o}
	}
}

func (m *shape) Munmap(t *rapid.T) {
	lo, hi := drawRange(t)
	m.run(t, 0, "munmap", func(task *sim.Task) errno.Errno {
		return m.mm.Munmap(task, at(lo), (hi-lo)<<PageShift)
	})
	m.ref.clear(lo, hi)
}

func (r *refSpace) clear(lo, hi uint64) {
	for p := lo; p < hi; p++ {
		r.pages[p] = refPage{}
	}
}

// each changes the pages of [lo,hi) up to the first hole.
func (r *refSpace) each(lo, hi uint64, f func(*refPage)) errno.Errno {
	for p := lo; p < hi; p++ {
		if !r.pages[p].mapped {
			return errno.ENOMEM
		}
		f(&r.pages[p])
	}
	return 0
}

func (m *shape) Mprotect(t *rapid.T) {
	lo, hi := drawRange(t)
	prot := drawProt(t)
	want := m.ref.each(lo, hi, func(p *refPage) {
		old := p.flags
		p.flags = old&^vmAccess | protFlags(prot)
		switch {
		case p.flags == old:
		case p.flags&VMWrite != 0 && old&VMWrite == 0:
			p.flags = accounted(p.flags)
		case p.flags&VMWrite == 0 && p.file == nil:
			p.flags &^= VMAccount
		}
	})
	m.run(t, want, "mprotect", func(task *sim.Task) errno.Errno {
		return m.mm.Mprotect(task, at(lo), (hi-lo)<<PageShift, prot)
	})
}

func (m *shape) Lock(t *rapid.T) {
	lo, hi := drawRange(t)
	add := VMFlags(0)
	if rapid.Bool().Draw(t, "lock") {
		add = vmLockedMask // ONFAULT leaves the memory untouched
	}
	want := m.ref.each(lo, hi, func(p *refPage) { p.flags = p.flags&^vmLockedMask | add })
	m.run(t, want, "mlock", func(task *sim.Task) errno.Errno {
		if add == 0 {
			return m.mm.Munlock(task, at(lo), (hi-lo)<<PageShift)
		}
		return m.mm.Mlock2(task, at(lo), (hi-lo)<<PageShift, MlockOnFault)
	})
}

func (m *shape) LockAll(t *rapid.T) {
	flags := rapid.SampledFrom([]uint32{0, MclCurrent | MclOnFault, MclFuture | MclOnFault, MclCurrent | MclFuture | MclOnFault}).Draw(t, "mcl")
	m.run(t, 0, "mlockall", func(task *sim.Task) errno.Errno {
		if flags == 0 {
			return m.mm.Munlockall(task)
		}
		return m.mm.Mlockall(task, flags)
	})
	m.ref.future = flags&MclFuture != 0
	if m.ref.future && flags&MclCurrent == 0 {
		return
	}
	for i := range m.ref.pages {
		if p := &m.ref.pages[i]; p.mapped {
			p.flags &^= vmLockedMask
			if flags&MclCurrent != 0 {
				p.flags |= vmLockedMask
			}
		}
	}
}

func (m *shape) Advise(t *rapid.T) {
	lo, hi := drawRange(t)
	c := rapid.SampledFrom([]struct {
		advice   int
		on, off  VMFlags
		anonOnly bool
	}{{MadvDontFork, VMDontCopy, 0, false}, {MadvDoFork, 0, VMDontCopy, false}, {MadvHugePage, VMHugePage, VMNoHugePage, false},
		{MadvWipeOnFork, VMWipeOnFork, 0, true}, {MadvDontNeedLocked, 0, 0, false}}).Draw(t, "advice")
	want := errno.Errno(0)
	for p := lo; p < hi; p++ {
		pg := &m.ref.pages[p]
		switch {
		case !pg.mapped:
			want = errno.ENOMEM
			continue
		case c.anonOnly && pg.file != nil:
			want = errno.EINVAL
		}
		if want == errno.EINVAL {
			break
		}
		pg.flags = pg.flags&^c.off | c.on
	}
	m.run(t, want, fmt.Sprint("madvise ", c.advice), func(task *sim.Task) errno.Errno {
		return m.mm.Madvise(task, at(lo), (hi-lo)<<PageShift, c.advice)
	})
}

// oneVMA says whether [lo,hi) lies in one VMA.
func (r *refSpace) oneVMA(lo, hi uint64) bool {
	if hi > refPages || !r.pages[lo].mapped {
		return false
	}
	for p := lo + 1; p < hi; p++ {
		if !r.pages[p-1].continues(r.pages[p]) {
			return false
		}
	}
	return true
}

func (m *shape) MremapFixed(t *rapid.T) {
	lo, hi := drawRange(t)
	to, end := drawRange(t)
	oldN, newN := hi-lo, end-to
	want := errno.Errno(0)
	after := m.ref
	switch {
	case !m.ref.pages[lo].mapped:
		want = errno.EFAULT
	case hi > to && end > lo:
		want = errno.EINVAL
	default:
		after.clear(to, end)
		if oldN > newN {
			after.clear(lo+newN, hi)
			oldN = newN
		}
		if !after.oneVMA(lo, lo+oldN) {
			want = errno.EFAULT
			break
		}
		first := after.pages[lo]
		after.clear(lo, lo+oldN)
		for i := range newN {
			p := first
			p.off += i
			if p.file == nil {
				p.off = drawBase + to + i
			}
			after.pages[to+i] = p
		}
	}
	m.run(t, want, "mremap", func(task *sim.Task) errno.Errno {
		_, err := m.mm.Mremap(task, at(lo), (hi-lo)<<PageShift, newN<<PageShift, MremapMayMove|MremapFixed, at(to))
		return err
	})
	if want != errno.EINVAL {
		m.ref = after
	}
}

// MremapInPlace shrinks, or grows where there is room.
func (m *shape) MremapInPlace(t *rapid.T) {
	lo, hi := drawRange(t)
	n := rapid.Uint64Range(1, refPages-lo).Draw(t, "new")
	want := errno.Errno(0)
	after := m.ref
	switch {
	case !m.ref.pages[lo].mapped:
		want = errno.EFAULT
	case lo+n <= hi:
		after.clear(lo+n, hi)
	case !m.ref.oneVMA(lo, hi):
		want = errno.EFAULT
	default:
		for i := hi; i < lo+n; i++ {
			if after.pages[i].mapped {
				want = errno.ENOMEM
			}
			after.pages[i] = after.pages[i-1]
			after.pages[i].off++
		}
	}
	m.run(t, want, "mremap in place", func(task *sim.Task) errno.Errno {
		_, err := m.mm.Mremap(task, at(lo), (hi-lo)<<PageShift, n<<PageShift, 0, 0)
		return err
	})
	if want == 0 {
		m.ref = after
	}
}

// Anywhere maps where the kernel likes and unmaps again: the highest hole.
func (m *shape) Anywhere(t *rapid.T) {
	n := rapid.Uint64Range(1, 6).Draw(t, "n")
	m.run(t, 0, "mmap anywhere", func(task *sim.Task) errno.Errno {
		want, used := m.mm.mmapBase-n, false
		for v, _ := m.mm.vmas.Max(); v != nil; v = v.prev {
			if !used && v.End <= want {
				used = true
			} else if !used {
				want = v.Start - n
			}
		}
		a, err := m.mm.Mmap(task, 0, n<<PageShift, rw, MapPrivate|MapAnonymous|MapNoReserve, nil, 0)
		if err == 0 && a>>PageShift != want {
			t.Fatalf("mmap of %d pages at %#x, want %#x\n%s", n, a>>PageShift, want, m.mm.VMAString())
		}
		return m.mm.Munmap(task, a, n<<PageShift)
	})
}

func (m *shape) Check(t *rapid.T) {
	checkTree(t, m.mm)
	vmas := 0
	for i := range uint64(refPages) {
		p := m.ref.pages[i]
		got := refPage{}
		v := m.mm.vmaAt(drawBase + i)
		if v != nil {
			got = refPage{true, v.Flags, v.File, v.pgoff(drawBase + i)}
		}
		if got != p {
			t.Fatalf("page %d is %+v, want %+v\n%s", i, got, p, m.mm.VMAString())
		}
		if p.mapped && (i == 0 || !m.ref.pages[i-1].continues(p)) {
			vmas++
		}
	}
	require.Equal(t, vmas, m.mm.mapCount(), m.mm.VMAString())
	if vmas == 0 {
		require.Zero(t, m.mm.tables.Len())
	}
}

// Untouched memory: every call has the errno and the effect of a page-by-page
// address space, and what can be one VMA is one.
func TestAddressSpaceHasTheShapeOfThePageByPageOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &shape{sys: testSystem(testConfig())}
		m.mm = m.sys.NewMM("1")
		// The search begins right above the pages of the test.
		m.mm.mmapBase = drawBase + refPages
		m.file = m.sys.NewFile("f", false)
		m.file.Ref()
		t.Repeat(rapid.StateMachineActions(m))
		m.run(t, 0, "munmap of all", func(task *sim.Task) errno.Errno {
			return m.mm.Munmap(task, at(0), refPages<<PageShift)
		})
		require.Equal(t, 1, m.file.refs)
		require.Empty(t, m.file.mappings)
	})
}
