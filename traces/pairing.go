// SPDX-License-Identifier: MIT

package traces

import "bytes"

// pending is a call of a task that began and did not end yet.
type pending struct {
	active bool
	known  *known
	skip   bool   // it means nothing to memory, or was found at fault already
	text   []byte // what its arguments are so far
	line   int
	col    int // of text
	op     int // index in Trace.Ops
}

// unfinished begins a call. What is known of its arguments is decoded now, for a call that never ends.
func (d *decoder) unfinished(t *task, l *Line) *fault {
	d.revive(t)
	if t.pend.active {
		return &fault{offset(l.raw, l.Name), "task " + t.label() + " is still inside " + t.pend.known.name,
			"its second half must come before the task's next call"}
	}
	k := d.lookup(l.Name)
	p := &t.pend
	*p = pending{active: true, known: k, skip: true, text: p.text[:0], line: l.Num, col: offset(l.raw, l.argText) + 1}
	if k.spec == nil {
		return d.skip(k, l)
	}
	d.base, d.seam, d.lenient = l.raw, -1, true
	o := d.newOp(t, k.spec, l.Num)
	if f := d.decode(o, k.spec, d.wholeArgs(l.Args)); f != nil {
		d.dropOp()
		if f == errSkip {
			return d.skip(k, l)
		}
		return f
	}
	o.Phase, o.Result.Kind = Unfinished, ResultUnknown
	p.skip, p.op = false, len(d.trace.Ops)-1
	p.text = append(p.text, l.argText...)
	if k.spec.call == CallClone {
		d.cloneOpen++
	}
	return nil
}

// wholeArgs leaves out an argument that the line's end cut in two.
func (d *decoder) wholeArgs(args []Arg) []Arg {
	n := len(args)
	if n == 0 {
		return args
	}
	last := args[n-1].Value
	if len(last) == 0 || unbalanced(last) {
		return args[:n-1]
	}
	return args
}

// unbalanced says whether v opens more brackets than it closes, as half a struct does.
func unbalanced(v Value) bool {
	depth := 0
	for i := 0; i < len(v); {
		switch v[i] {
		case '"':
			if i = skipString(v, i); i < 0 {
				return true
			}
			continue
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
		i++
	}
	return depth > 0
}

// resumed ends the call that its task began.
func (d *decoder) resumed(t *task, l *Line) *fault {
	t = d.resumer(t, l)
	p := &t.pend
	at := offset(l.raw, l.Name)
	if !p.active {
		if d.trace.Directives.Attach {
			return d.skip(d.lookup(l.Name), l)
		}
		return &fault{at, "second half of " + string(l.Name) + " without a first",
			"task " + t.label() + " began no call; `#: attach: yes` if the capture began in the middle"}
	}
	if string(l.Name) != p.known.name {
		return &fault{at, "second half of " + string(l.Name), "task " + t.label() + " is inside " + p.known.name}
	}
	if p.skip {
		p.active = !l.Closed
		return nil
	}
	seam := len(p.text)
	p.text = append(p.text, l.argText...)
	if !l.Closed {
		return nil
	}
	p.active = false
	if p.known.spec.call == CallClone {
		d.cloneOpen--
	}
	d.base, d.seam, d.lenient = p.text, seam, l.Marker != nil
	if f := d.joined(t, l); f != nil {
		if f.off < seam {
			d.fail(p.line, p.col+f.off, f.what, f.why)
			return nil
		}
		return &fault{offset(l.raw, l.argText) + f.off - seam, f.what, f.why}
	}
	return d.finishResumed(t, l)
}

// joined decodes the arguments of both halves into the Op of the first.
func (d *decoder) joined(t *task, l *Line) (f *fault) {
	p := &t.pend
	d.scan.b, d.scan.i, d.scan.noPaths = p.text, 0, false
	var how ending
	if d.args, how, f = d.scan.args(d.args[:0], 0, false); f != nil {
		return f
	}
	if how == endMarker {
		return &fault{d.scan.i, "marker inside a call", "both halves were read"}
	}
	args := d.args
	if n := len(args); n == 1 && len(args[0].Value) == 0 && args[0].After == nil {
		args = args[:0]
	}
	if d.lenient {
		args = d.wholeArgs(args)
	}
	for i := range args {
		if at := args[i].missing(); at != nil {
			return &fault{offset(p.text, at), "empty argument", "a value is missing here"}
		}
	}
	o := &d.op
	if d.keep {
		o = &d.trace.Ops[p.op]
	}
	*o = Op{Line: p.line, TID: o.TID, Call: p.known.spec.call, Ref: -1, Phase: Unfinished, X: o.X}
	if o.X != nil {
		*o.X = Extra{}
	}
	return d.decode(o, p.known.spec, args)
}

// finishResumed decodes the result and adds the Op of the second half.
func (d *decoder) finishResumed(t *task, l *Line) *fault {
	p := &t.pend
	if !d.keep {
		d.base = l.raw
		if f := d.result(&d.op, l); f != nil {
			return f
		}
		d.effects(&d.op, p.known.spec, l)
		return nil
	}
	r := d.newOp(t, &resumeSpec, l.Num)
	o := &d.trace.Ops[p.op]
	r.Ref, o.Ref = int32(p.op), int32(len(d.trace.Ops)-1)
	d.base = l.raw
	if f := d.result(o, l); f != nil {
		return f
	}
	r.Result = o.Result
	d.effects(o, p.known.spec, l)
	return nil
}

var resumeSpec = spec{name: "resume", call: CallResume}

// result decodes what the trace records as the result of o.
func (d *decoder) result(o *Op, l *Line) *fault {
	b := l.Result
	r := &o.Result
	*r = Result{}
	if b == nil {
		return nil
	}
	at := offset(l.raw, b)
	switch {
	case b[0] == '?':
		r.Kind = ResultUnknown
		return nil
	case b[0] == '{':
		return d.bytesResult(o, b, at)
	case b[0] == '-' && len(b) > 1 && (b[1] == 'E' || b[1] == '1' && (len(b) == 2 || isBlank(b[2]))):
		return d.errnoResult(r, l, at)
	}
	if string(b) == "NULL" {
		r.Kind = ResultOK
		return nil
	}
	v, n := parseNumber(b)
	if n != len(b) {
		return &fault{at, "bad result " + clip(b), "a result is a number, ?, -1 ERRNO or the bytes of a read"}
	}
	r.Kind, r.Val = ResultOK, v
	if len(l.Trail) > 0 && l.Trail[0] == '<' && o.Call == CallOpenat {
		if end := skipPath(l.Trail, 0); end > 0 {
			d.extra(o).Path = d.intern(unescape(withoutDevice(l.Trail[1 : end-1])))
		}
	}
	return nil
}

func (d *decoder) bytesResult(o *Op, b []byte, at int) *fault {
	if o.Call != CallCPURead && o.Call != CallGPURead {
		return &fault{at, "bytes as the result of " + o.Call.String(), "only cpu.read and gpu.read see bytes"}
	}
	runs, ok := Value(b).Runs(nil)
	if !ok {
		return &fault{at, "bad bytes " + clip(b), "bytes are written {BYTE*COUNT, ...}"}
	}
	d.extra(o).Data = runs
	o.Result.Kind = ResultBytes
	return nil
}

// errnoResult decodes -1 ERRNO, -ERRNO, -1 (errno N), and a -1 without any.
func (d *decoder) errnoResult(r *Result, l *Line, at int) *fault {
	name := l.Result[1:]
	if l.Result[1] == '1' {
		name = trimBlanks(l.Result[2:])
	}
	if len(name) == 0 {
		r.Kind, r.Val = ResultOK, ^uint64(0)
		if trail, ok := bytes.CutPrefix(trimBlanks(l.Trail), []byte("(errno")); ok {
			if n, m := parseNumber(trimBlanks(trail)); m > 0 && n > 0 && n < 4096 {
				*r = Result{Kind: ResultErr, Errno: int32(n)}
			}
		}
		return nil
	}
	n, ok := ErrnoNumber(string(name))
	if !ok {
		return &fault{at, "unknown errno " + clip(name), "Linux on x86-64 has no such error"}
	}
	r.Kind, r.Errno = ResultErr, int32(n)
	return nil
}

// clip quotes text for an error, shortened.
func clip(b []byte) string {
	if len(b) > 40 {
		return string(b[:37]) + "..."
	}
	return string(b)
}
