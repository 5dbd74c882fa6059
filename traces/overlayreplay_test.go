// SPDX-License-Identifier: MIT

package traces

import (
	"fmt"
	"slices"
)

// dullReplay judges an overlaid trace with nothing clever: per address space a log of everything that ever happened to
// it, which is searched from the end for every single page that is accessed.
type dullReplay struct {
	tr     *Trace
	tasks  map[int]*dullTask
	coming map[int]func() *dullTask // children of clones that have begun
	now    int                      // index of the op

	opener  *dullTask
	batches []*dullBatch // live
	handles map[uint64]bool
	access  int // GPU accesses judged
}

type dullTask struct {
	tid, group int
	mm         *dullMM
	inside     bool
	gone       bool
}

type dullMM struct {
	log []dullEvent
	brk uint64
}

// dullEvent is what happened to [lo,hi).
type dullEvent struct {
	lo, hi uint64
	kind   string // "map", "protect", "gone", "doubt": may be gone, "moved": filled anew
	rw     bool
}

type dullBatch struct {
	*KFDArgs
	made int // length of the log when it was registered
}

func (e *dullEvent) covers(page uint64) bool { return e.lo <= page && page < e.hi }

// usable says whether page is anonymous, readable and writable after the first n events.
func (m *dullMM) usable(page uint64, n int) bool {
	known, rw := false, false
	for n--; n >= 0; n-- {
		e := &m.log[n]
		if !e.covers(page) {
			continue
		}
		switch e.kind {
		case "gone":
			return false
		case "protect":
			if !known {
				known, rw = true, e.rw
			}
		case "map":
			if !known {
				rw = e.rw
			}
			return rw
		}
	}
	return false
}

// kept says whether page has been usable without a break since the log had n events.
func (m *dullMM) kept(page uint64, n int) bool {
	for ; n < len(m.log); n++ {
		if e := &m.log[n]; e.covers(page) && (e.kind != "protect" || !e.rw) {
			return false
		}
	}
	return true
}

func (m *dullMM) add(kind string, lo, size uint64, rw bool) {
	m.log = append(m.log, dullEvent{lo: lo, hi: lo + (size+4095)&^4095, kind: kind, rw: rw})
}

// judge replays tr and returns what is wrong with it.
func judge(tr *Trace, least uint64) (r *dullReplay, err error) {
	r = &dullReplay{tr: tr, tasks: map[int]*dullTask{}, coming: map[int]func() *dullTask{}, handles: map[uint64]bool{}}
	r.tasks[tr.FirstTID] = &dullTask{tid: tr.FirstTID, group: tr.FirstTID, mm: &dullMM{}}
	for i := range tr.Ops {
		r.now = i
		if err := r.op(&tr.Ops[i], least); err != nil {
			return r, fmt.Errorf("line %d: %w", tr.Ops[i].Line, err)
		}
	}
	return r, nil
}

func (r *dullReplay) op(o *Op, least uint64) error {
	t := r.tasks[o.TID]
	if t == nil {
		t = r.coming[o.TID]()
		r.tasks[o.TID] = t
	}
	if o.Call == CallResume {
		t.inside = false
		first := &r.tr.Ops[o.Ref]
		r.effect(t, first)
		return nil
	}
	if t.inside && o.Call < CallExited {
		return fmt.Errorf("task %d is inside a call", o.TID)
	}
	switch o.Call {
	case CallExited, CallKilled:
		t.gone = true
	case CallIoctl, CallGPURead, CallGPUWrite, CallCPURead, CallCPUWrite:
		return r.gpu(t, o, least)
	case CallOpenat:
		if o.X.Path == "/dev/kfd" {
			r.opener = t
		}
	}
	if o.Call == CallClone {
		r.prepare(t, o)
	}
	if o.Phase == Unfinished {
		t.inside = true
		r.doubt(t, o)
		return nil
	}
	r.effect(t, o)
	return nil
}

// prepare says how the child of o comes to life, at its first line or when its clone returns.
func (r *dullReplay) prepare(parent *dullTask, o *Op) {
	if o.Result.Kind != ResultOK {
		return
	}
	child := int(o.Result.Val)
	r.coming[child] = func() *dullTask {
		t := &dullTask{tid: child, group: child, mm: parent.mm}
		if o.A[0]&0x10000 != 0 {
			t.group = parent.group
		}
		if o.A[0]&0x100 == 0 {
			t.mm = &dullMM{log: slices.Clone(parent.mm.log), brk: parent.mm.brk}
		}
		return t
	}
}

// doubt marks what a call that has begun may have taken away already.
func (r *dullReplay) doubt(t *dullTask, o *Op) {
	switch o.Call {
	case CallMunmap, CallMremap:
		t.mm.add("doubt", o.A[0], o.A[1], false)
	case CallMprotect:
		if o.A[2]&3 != 3 {
			t.mm.add("doubt", o.A[0], o.A[1], false)
		}
	case CallMmap:
		if o.A[3]&0x10 != 0 {
			t.mm.add("doubt", o.A[0], o.A[1], false)
		}
	case CallBrk:
		if o.A[0] != 0 && o.A[0] < t.mm.brk {
			t.mm.add("doubt", o.A[0], t.mm.brk-o.A[0], false)
		}
	}
	if o.Call == CallMremap && o.A[3]&2 != 0 {
		t.mm.add("doubt", o.A[4], o.A[2], false)
	}
}

func (r *dullReplay) effect(t *dullTask, o *Op) {
	if o.Call == CallClone && o.Result.Kind == ResultOK && r.tasks[int(o.Result.Val)] == nil {
		r.tasks[int(o.Result.Val)] = r.coming[int(o.Result.Val)]()
	}
	if o.Result.Kind != ResultOK {
		return
	}
	m, at := t.mm, o.Result.Val
	switch o.Call {
	case CallExecve:
		t.mm = &dullMM{}
	case CallMmap:
		if o.A[3]&0x4012f == 0x22 {
			m.add("map", at, o.A[1], o.A[2]&3 == 3)
		} else {
			m.add("gone", at, o.A[1], false)
		}
	case CallMunmap:
		m.add("gone", o.A[0], o.A[1], false)
	case CallMprotect:
		m.add("protect", o.A[0], o.A[1], o.A[2]&3 == 3)
	case CallMremap:
		r.mremap(m, o)
	case CallBrk:
		lo, hi := (m.brk+4095)&^4095, (at+4095)&^4095
		if m.brk != 0 && lo < hi {
			m.add("map", lo, hi-lo, true)
		} else if m.brk != 0 {
			m.add("gone", hi, lo-hi, false)
		}
		m.brk = at
	}
}

// mremap moves page by page, as far as the old size goes; what is new is like the last old page.
func (r *dullReplay) mremap(m *dullMM, o *Op) {
	from, to, old, size := o.A[0], o.Result.Val, (o.A[1]+4095)&^4095, (o.A[2]+4095)&^4095
	last, before := from+old-4096, len(m.log)
	if from != to {
		if o.A[3]&4 == 0 {
			m.add("gone", from, old, false)
		} else {
			m.add("protect", from, old, m.usable(from, before))
		}
		m.log = append(m.log, dullEvent{lo: to, hi: to + min(old, size), kind: "moved"})
		for p := uint64(0); p < min(old, size); p += 4096 {
			m.log = append(m.log, m.was(from+p, before, to+p)...)
		}
	}
	if size < old && from == to {
		m.add("gone", to+size, old-size, false)
	}
	for p := old; p < size; p += 4096 {
		m.log = append(m.log, m.was(last, before, to+p)...)
	}
}

// was returns events that make page to what page was after n events.
func (m *dullMM) was(page uint64, n int, to uint64) []dullEvent {
	anon := false
	for i := n - 1; i >= 0 && !anon; i-- {
		if e := &m.log[i]; e.covers(page) && e.kind != "protect" && e.kind != "doubt" && e.kind != "moved" {
			if anon = e.kind == "map"; !anon {
				break
			}
		}
	}
	if !anon {
		return []dullEvent{{lo: to, hi: to + 4096, kind: "gone"}}
	}
	return []dullEvent{{lo: to, hi: to + 4096, kind: "map", rw: m.usable(page, n)}}
}

// gpu judges what the overlay has put in.
func (r *dullReplay) gpu(t *dullTask, o *Op, least uint64) error {
	switch {
	case r.opener == nil:
		return fmt.Errorf("%v before KFD is open", o.Call)
	case t.gone || t.mm != r.opener.mm || t.group != r.opener.group:
		return fmt.Errorf("task %d may not use KFD", o.TID)
	case o.Phase != Whole:
		return fmt.Errorf("%v in two parts", o.Call)
	}
	switch o.Call {
	case CallIoctl:
		return r.ioctl(t, o.X.KFD, least)
	case CallCPURead, CallCPUWrite:
		return r.cpu(t, o)
	}
	r.access++
	va, n := o.A[1], o.A[2]
	i := slices.IndexFunc(r.batches, func(b *dullBatch) bool { return b.VAAddr <= va && va+n <= b.VAAddr+b.Size })
	if i < 0 || n == 0 {
		return fmt.Errorf("GPU access to %#x outside of every batch", va)
	}
	b := r.batches[i]
	for page := va &^ 4095; page < va+n; page += 4096 {
		at, cpu := page-b.VAAddr, uint64(0)
		for _, rg := range b.Ranges {
			if at < rg.Size {
				cpu = rg.Start + at
				break
			}
			at -= rg.Size
		}
		if !t.mm.kept(cpu, b.made) || !t.mm.usable(cpu, len(t.mm.log)) {
			return fmt.Errorf("GPU access to %#x, which is %#x: it was taken away", page, cpu)
		}
	}
	if o.Call == CallGPURead && o.Result.Kind == ResultBytes {
		w := &r.tr.Ops[r.now-1]
		if w.Call != CallGPUWrite || w.TID != o.TID || w.A[1] != va || w.A[2] != n ||
			len(o.X.Data) != 1 || o.X.Data[0] != (ByteRun{byte(w.A[3]), n}) {
			return fmt.Errorf("a gpu.read has bytes that the line before did not write")
		}
	}
	return nil
}

func (r *dullReplay) cpu(t *dullTask, o *Op) error {
	for page := o.A[0] &^ 4095; page < o.A[0]+o.A[1]; page += 4096 {
		in := slices.ContainsFunc(r.batches, func(b *dullBatch) bool {
			return slices.ContainsFunc(b.Ranges, func(rg Range) bool { return rg.Start <= page && page < rg.Start+rg.Size })
		})
		if !in || !t.mm.usable(page, len(t.mm.log)) {
			return fmt.Errorf("CPU access to %#x, which is not registered or not accessible", page)
		}
	}
	return nil
}

func (r *dullReplay) ioctl(t *dullTask, k *KFDArgs, least uint64) error {
	i := slices.IndexFunc(r.batches, func(b *dullBatch) bool { return b.OutHandle == k.Handle })
	switch k.NR {
	case 0x17:
		r.batches = slices.Delete(r.batches, i, i+1)
		return nil
	case 0x18, 0x19:
		if i < 0 {
			return fmt.Errorf("handle %#x is not live", k.Handle)
		}
		return nil
	case 0x28:
	default:
		return nil
	}
	if r.handles[k.OutHandle] || k.VAAddr%(2<<20) != 0 {
		return fmt.Errorf("handle %#x, address %#x", k.OutHandle, k.VAAddr)
	}
	r.handles[k.OutHandle] = true
	sum := uint64(0)
	for i, rg := range k.Ranges {
		if sum += rg.Size; rg.Start%4096 != 0 || rg.Size%4096 != 0 || rg.Size < least {
			return fmt.Errorf("bad range %#x, %#x", rg.Start, rg.Size)
		}
		others := slices.Clone(k.Ranges[:i])
		for _, b := range r.batches {
			others = append(others, b.Ranges...)
		}
		for _, x := range others {
			if rg.Start < x.Start+x.Size && x.Start < rg.Start+rg.Size {
				return fmt.Errorf("range %#x is registered already", rg.Start)
			}
		}
		for page := rg.Start; page < rg.Start+rg.Size; page += 4096 {
			if !t.mm.usable(page, len(t.mm.log)) {
				return fmt.Errorf("page %#x of a new batch cannot be registered", page)
			}
		}
	}
	for _, b := range r.batches {
		if k.VAAddr < b.VAAddr+b.Size && b.VAAddr < k.VAAddr+k.Size {
			return fmt.Errorf("address %#x is in use", k.VAAddr)
		}
	}
	if sum != k.Size || sum == 0 {
		return fmt.Errorf("sizes add up to %#x, not to %#x", sum, k.Size)
	}
	r.batches = append(r.batches, &dullBatch{k, len(t.mm.log)})
	return nil
}
