// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"slices"
	"strings"
)

// maxRemembered bounds every table of texts that a decoder has seen, so that Check's memory does not grow.
const maxRemembered = 4096

// known is what a decoder knows about the name of a call.
type known struct {
	spec  *spec // nil: means nothing to memory
	name  string
	count int // calls skipped
}

// decoder turns lines into Ops. It checks on the way, and with keep false it checks only.
type decoder struct {
	keep  bool
	trace *Trace
	errs  Errors
	hash  hash.Hash
	print []byte // lines printed and not yet hashed
	op    Op     // where Check decodes to

	// What was seen before, so that it need not be worked out or copied again.
	names    map[string]*known
	lastName *known
	memo     []map[string]uint64 // flags, by table
	strings  map[string]string
	extras   []Extra // slab: Extras are handed out from here

	// What is being decoded. base is the text that offsets count in; of a call in two parts it is both arguments
	// joined, and seam, else -1, is where the second begins.
	line    *Line
	base    []byte
	seam    int
	lenient bool // the call may be cut short: missing arguments are no fault
	scan    scanner
	args    []Arg // of a joined call
	stack   []Arg // members of the structs that are open

	// Who is who.
	first     *task
	last      *task // of the line before
	tasks     map[int]*task
	live      int          // tasks that live
	attached  map[int]bool // labels that strace announced, until their first line
	danglers  []dangler
	cloneOpen int // clones that began and did not end yet

	sawDirective map[string]bool // keys that may stand once, and "key design" of expectations
}

// errSkip says that a call means nothing to memory after all.
var errSkip = &fault{}

func newDecoder(name string, keep bool) *decoder {
	d := &decoder{
		keep: keep, trace: &Trace{Name: name, Directives: noDirectives}, hash: sha256.New(), names: map[string]*known{},
		memo: make([]map[string]uint64, numTables), strings: map[string]string{}, tasks: map[int]*task{},
		attached: map[int]bool{}, sawDirective: map[string]bool{},
	}
	for i := range d.memo {
		d.memo[i] = map[string]uint64{}
	}
	return d
}

// run decodes all that r has.
func (d *decoder) run(r *Reader) error {
	for len(d.errs) < maxErrors {
		l, err := r.Next()
		if err != nil {
			var bad *Error
			if err == io.EOF {
				break
			}
			if !errors.As(err, &bad) {
				return err
			}
			d.errs = append(d.errs, bad)
			continue
		}
		if d.keep {
			d.digest(l)
		}
		d.line = l
		d.trace.Timed = d.trace.Timed || len(l.Time) > 0
		if f := d.decodeLine(l); f != nil {
			d.fail(l.Num, f.off+1, f.what, f.why)
		}
	}
	d.trace.Lines = r.num
	if len(d.errs) == 0 {
		d.finish()
	}
	if len(d.errs) > 0 {
		return d.errs
	}
	return nil
}

func (d *decoder) fail(line, col int, what, why string) {
	if len(d.errs) < maxErrors {
		d.errs = append(d.errs, &Error{d.trace.Name, line, col, what, why})
	}
}

func (d *decoder) digest(l *Line) {
	d.print = append(appendRead(d.print, l), '\n')
	if len(d.print) > 32<<10 {
		d.hash.Write(d.print)
		d.print = d.print[:0]
	}
}

func (d *decoder) decodeLine(l *Line) *fault {
	switch l.Kind {
	case LineBlank, LineComment:
		return nil
	case LineDirective:
		return d.directive(l)
	case LineNote:
		d.note(l)
		return nil
	}
	t := d.taskOf(l)
	switch l.Kind {
	case LineCall:
		return d.call(t, l)
	case LineUnfinished:
		return d.unfinished(t, l)
	case LineResumed:
		return d.resumed(t, l)
	case LineExited, LineKilled, LineSuperseded:
		return d.ended(t, l)
	}
	return nil
}

// lookup finds what the name of a call means.
func (d *decoder) lookup(name []byte) *known {
	if d.lastName != nil && d.lastName.name == string(name) {
		return d.lastName
	}
	if k := d.names[string(name)]; k != nil {
		d.lastName = k
		return k
	}
	k := &known{spec: specs[string(name)], name: string(name)}
	if d.keep || len(d.names) < maxRemembered {
		d.names[k.name] = k
	}
	return k
}

// call decodes a call that stands on one line.
func (d *decoder) call(t *task, l *Line) *fault {
	k := d.lookup(l.Name)
	d.revive(t)
	if t.pend.active {
		return &fault{offset(l.raw, l.Name), "task " + t.label() + " is still inside " + t.pend.known.name,
			"its second half must come before the task's next call"}
	}
	if k.spec == nil {
		return d.skip(k, l)
	}
	d.base, d.seam, d.lenient = l.raw, -1, l.Marker != nil
	args := l.Args
	if l.Marker != nil {
		args = d.wholeArgs(args)
	}
	o := d.newOp(t, k.spec, l.Num)
	if f := d.decode(o, k.spec, args); f != nil {
		d.dropOp()
		if f == errSkip {
			return d.skip(k, l)
		}
		return f
	}
	if f := d.result(o, l); f != nil {
		return f
	}
	d.effects(o, k.spec, l)
	return nil
}

// skip counts a call that means nothing to memory.
func (d *decoder) skip(k *known, l *Line) *fault {
	if bytes.IndexByte(l.Name, '.') >= 0 {
		return &fault{offset(l.raw, l.Name), "unknown pseudo-call " + k.name, "a dotted name is one of " + pseudoNames}
	}
	k.count++
	return nil
}

var pseudoNames = func() string {
	var names []string
	for _, s := range pseudoSpecs() {
		if strings.Contains(s.name, ".") {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ", ")
}()

// newOp adds an Op to the trace, or reuses the one of the decoder.
func (d *decoder) newOp(t *task, s *spec, line int) *Op {
	o := &d.op
	if d.keep {
		if len(d.trace.Ops) == cap(d.trace.Ops) {
			d.trace.Ops = slices.Grow(d.trace.Ops, max(256, len(d.trace.Ops)))
		}
		d.trace.Ops = d.trace.Ops[:len(d.trace.Ops)+1]
		o = &d.trace.Ops[len(d.trace.Ops)-1]
	}
	*o = Op{Line: line, TID: t.tid, Call: s.call, Ref: -1}
	return o
}

func (d *decoder) dropOp() {
	if d.keep {
		d.trace.Ops = d.trace.Ops[:len(d.trace.Ops)-1]
	}
}

// extra returns o's Extra, made if need be.
func (d *decoder) extra(o *Op) *Extra {
	if o.X == nil {
		if len(d.extras) == 0 {
			d.extras = make([]Extra, 64)
		}
		o.X = &d.extras[0]
		if d.keep {
			d.extras = d.extras[1:]
		} else {
			*o.X = Extra{}
		}
	}
	return o.X
}

// intern returns b as a string that equal texts share.
func (d *decoder) intern(b []byte) string {
	if s, ok := d.strings[string(b)]; ok {
		return s
	}
	if len(d.strings) >= maxRemembered {
		if !d.keep {
			return ""
		}
		clear(d.strings)
	}
	s := string(b)
	d.strings[s] = s
	return s
}

// effects notes what a finished call changes for the lines that follow.
func (d *decoder) effects(o *Op, s *spec, l *Line) {
	if s.call == CallClone {
		d.cloned(o, l)
	}
	if o.X != nil && o.X.KFD != nil && o.X.KFD.Undecoded {
		d.trace.Undecoded++
	}
}
