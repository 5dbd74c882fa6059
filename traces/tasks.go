// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"slices"
	"strconv"
)

// unnamed is the label of a first task that no prefix names yet: strace prints none while there is only one task.
const unnamed = -1

// task is what checking needs to know about a task: constant memory for each.
type task struct {
	tid       int
	line, col int // where it is first seen
	created   bool
	live      bool
	pend      pending
}

func (t *task) label() string {
	if t.tid == unnamed {
		return "1"
	}
	return strconv.Itoa(t.tid)
}

// dangler is a clone that never returned, or returned "?": its child may live nevertheless.
type dangler struct{ line, op int }

// taskOf finds whose line l is.
func (d *decoder) taskOf(l *Line) *task {
	if l.Prefix == PrefixNone {
		return d.unprefixed(l)
	}
	if d.last != nil && d.last.tid == l.TID {
		return d.last
	}
	t := d.tasks[l.TID]
	if t == nil {
		if d.first != nil && d.first.tid == unnamed && d.cloneOpen == 0 && !d.attached[l.TID] {
			// Nothing could have created this one: the first task has got its number.
			return d.name(l.TID)
		}
		t = d.newTask(l.TID, l)
	}
	delete(d.attached, l.TID)
	d.last = t
	return t
}

func (d *decoder) newTask(tid int, l *Line) *task {
	t := &task{tid: tid, line: l.Num, col: 1, live: true}
	if d.first == nil {
		d.first = t
	}
	d.live++
	if tid != unnamed {
		d.tasks[tid] = t
	}
	return t
}

// name gives the first task its number.
func (d *decoder) name(tid int) *task {
	d.first.tid = tid
	d.tasks[tid] = d.first
	d.last = d.first
	return d.first
}

// unprefixed finds whose a line without prefix is: the first task's, or the only one's that still lives.
func (d *decoder) unprefixed(l *Line) *task {
	if d.first == nil {
		return d.newTask(unnamed, l)
	}
	if d.first.live || d.live != 1 {
		return d.first
	}
	if d.last == nil || !d.last.live {
		for _, t := range d.tasks {
			if t.live {
				d.last = t
			}
		}
	}
	return d.last
}

// resumer finds the task that ends a call: t, or the first one if this line tells its number.
func (d *decoder) resumer(t *task, l *Line) *task {
	f := d.first
	if t.pend.active || t.created || f.tid != unnamed || !f.pend.active || f.pend.known.name != string(l.Name) {
		return t
	}
	if t.live {
		d.live--
	}
	return d.name(t.tid)
}

// note looks at what strace says about itself.
func (d *decoder) note(l *Line) {
	rest, ok := bytes.CutSuffix(l.Text, []byte(" attached"))
	if !ok {
		return
	}
	at := bytes.LastIndex(rest, []byte("Process "))
	if at < 0 {
		return
	}
	if tid, ok := smallNumber(onlyDigits(rest[at+len("Process "):])); ok && d.tasks[tid] == nil {
		d.attached[tid] = true
	}
}

// onlyDigits returns b if it is all digits, else nil.
func onlyDigits(b []byte) []byte {
	for _, c := range b {
		if !isDigit(c) {
			return nil
		}
	}
	return b
}

// cloned notes the child of a clone that returned.
func (d *decoder) cloned(o *Op, l *Line) {
	if o.Result.Kind == ResultUnknown {
		d.danglers = append(d.danglers, dangler{o.Line, len(d.trace.Ops) - 1})
		if o.Ref >= 0 {
			d.danglers[len(d.danglers)-1].op = int(d.trace.Ops[o.Ref].Ref)
		}
		return
	}
	if o.Result.Kind != ResultOK || o.Result.Val == 0 || o.Result.Val > 1<<31-1 {
		return
	}
	// In another pid namespace the child's own number is not the one that strace prefixes its lines with.
	trail, inNamespace := bytes.CutPrefix(trimBlanks(l.Trail), []byte("/* "))
	if inNamespace && bytes.Contains(trail, []byte("in strace's PID NS")) {
		if n, m := parseNumber(trail); m > 0 && n > 0 && n < 1<<31 {
			o.Result.Val = n
		}
	}
	tid := int(o.Result.Val)
	t := d.tasks[tid]
	if t == nil {
		t = d.newTask(tid, l)
	}
	d.revive(t)
	t.created = true
}

// revive gives a number whose task is dead to a new one. What the old one left unfinished never ends.
func (d *decoder) revive(t *task) {
	if t.live {
		return
	}
	if t.pend.active && !t.pend.skip && t.pend.known.spec.call == CallClone {
		d.cloneOpen--
	}
	t.pend.active, t.live = false, true
	d.live++
}

// ended handles the end of a task.
func (d *decoder) ended(t *task, l *Line) *fault {
	text := bytes.TrimSuffix(l.Text, plusEnd)
	s := &endSpecs[l.Kind-LineExited]
	var v uint64
	switch l.Kind {
	case LineExited:
		n, m := parseNumber(text[len(exitedWith):])
		if m == 0 || m != len(text)-len(exitedWith) {
			return &fault{offset(l.raw, l.Text) + len(exitedWith), "bad exit status", "a number is expected here"}
		}
		v = n
	case LineKilled:
		name := bytes.TrimSuffix(text[len(killedBy):], []byte(" (core dumped)"))
		n, ok := signalNames[string(name)]
		if !ok {
			m := 0
			if n, m = parseNumber(name); m == 0 || m != len(name) {
				return &fault{offset(l.raw, l.Text) + len(killedBy), "unknown signal " + clip(name),
					"Linux on x86-64 has no such signal"}
			}
		}
		v = n
	case LineSuperseded:
		n, ok := smallNumber(onlyDigits(text[len(supersededBy):]))
		if !ok {
			return &fault{offset(l.raw, l.Text) + len(supersededBy), "bad task number", "a pid is expected here"}
		}
		v = uint64(n)
		d.supersede(t, n)
	}
	if l.Kind != LineSuperseded && t.live {
		t.live = false
		d.live--
	}
	o := d.newOp(t, s, l.Num)
	o.A[0], o.N = v, 1
	return nil
}

var endSpecs = [...]spec{
	{name: "exited", call: CallExited}, {name: "killed", call: CallKilled}, {name: "superseded", call: CallSuperseded},
}

// supersede lets the thread tid go on as its leader t, which execve of a thread does to a process.
func (d *decoder) supersede(t *task, tid int) {
	thread := d.tasks[tid]
	if thread == nil || thread == t {
		return
	}
	t.pend = thread.pend
	thread.pend = pending{}
	if thread.live {
		thread.live = false
		d.live--
	}
}

// finish checks what only the whole file shows.
func (d *decoder) finish() {
	var orphans []*task
	for _, t := range d.tasks {
		if t.pend.active && !t.pend.skip && t.pend.known.spec.call == CallClone {
			d.danglers = append(d.danglers, dangler{t.pend.line, t.pend.op})
		}
		if !t.created && t != d.first {
			orphans = append(orphans, t)
		}
	}
	slices.SortFunc(orphans, func(a, b *task) int { return a.line - b.line })
	if d.first != nil && d.first.tid == unnamed {
		orphans = d.nameFirst(orphans)
	}
	if !d.trace.Directives.Attach {
		for _, t := range d.adopt(orphans) {
			d.fail(t.line, t.col, "task "+t.label()+" was never created",
				"no fork or clone returns it; `#: attach: yes` if the capture began in the middle")
		}
	}
	if d.keep {
		d.summary()
	}
}

// nameFirst finds the number of a first task that never got a prefix: an orphan's, else 1.
func (d *decoder) nameFirst(orphans []*task) []*task {
	tid := 1
	if len(orphans) > 0 && !d.trace.Directives.Attach {
		tid, orphans = orphans[0].tid, orphans[1:]
	} else if d.tasks[1] != nil {
		tid = 0
	}
	d.first.tid = tid
	return orphans
}

// adopt gives orphans to the clones that never returned, both in the order of their lines, and returns the rest.
func (d *decoder) adopt(orphans []*task) []*task {
	slices.SortFunc(d.danglers, func(a, b dangler) int { return a.line - b.line })
	for i, t := range orphans {
		if i >= len(d.danglers) || d.danglers[i].line > t.line {
			return orphans[i:]
		}
		if d.keep {
			d.trace.Ops[d.danglers[i].op].Result.Val = uint64(t.tid)
		}
	}
	return nil
}

// summary fills in what a Trace says besides its Ops.
func (d *decoder) summary() {
	t := d.trace
	t.Directives.sortExpectations()
	for i := range t.Ops {
		if t.Ops[i].TID == unnamed {
			t.Ops[i].TID = d.first.tid
		}
	}
	if d.first != nil {
		t.FirstTID = d.first.tid
	}
	for _, k := range d.names {
		if k.count > 0 {
			t.Skipped = append(t.Skipped, NameCount{k.name, k.count})
		}
	}
	slices.SortFunc(t.Skipped, func(a, b NameCount) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	d.hash.Write(d.print)
	d.hash.Sum(t.Hash[:0])
}
