// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"math"
	"strconv"
)

// at returns the offset of part in what is being decoded.
func (d *decoder) at(part []byte) int { return offset(d.base, part) }

// decode decodes the arguments of a call into o.
func (d *decoder) decode(o *Op, s *spec, args []Arg) *fault {
	o.N = uint8(min(len(args), math.MaxUint8))
	if len(args) < s.min && !d.lenient {
		return &fault{d.argsEnd(args), s.name + " needs " + count(s.min, "argument"), "there are " + strconv.Itoa(len(args))}
	}
	if s.decode != nil {
		return s.decode(d, o, args)
	}
	return d.params(o, s, args)
}

// argsEnd returns the offset behind the last argument.
func (d *decoder) argsEnd(args []Arg) int {
	switch {
	case len(args) > 0:
		last := &args[len(args)-1]
		if last.After != nil {
			return d.at(last.After) + len(last.After)
		}
		return d.at(last.Value) + len(last.Value)
	case d.seam >= 0:
		return len(d.base)
	}
	return d.at(d.line.argText) + len(d.line.argText)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// params decodes arguments as the parameters of s say.
func (d *decoder) params(o *Op, s *spec, args []Arg) *fault {
	if len(args) > len(s.params) {
		return &fault{d.at(args[len(s.params)].Value), s.name + " takes " + count(len(s.params), "argument"),
			"there are " + strconv.Itoa(len(args))}
	}
	for i := range args {
		p, a := &s.params[i], &args[i]
		if len(a.Name) > 0 {
			return &fault{d.at(a.Name), "unknown field " + clip(a.Name), s.name + " has no named arguments"}
		}
		var f *fault
		if p.form == formNumber {
			o.A[p.to], f = d.number(a.Value, p.w)
		} else {
			f = d.param(o, p, a.Value)
		}
		if f != nil {
			return f
		}
	}
	return nil
}

func (d *decoder) param(o *Op, p *param, v Value) (f *fault) {
	switch p.form {
	case formIgnore:
	case formFD:
		f = d.descriptor(o, p, v)
	case formByte:
		if o.A[p.to], f = d.number(v, noWords); f == nil && o.A[p.to] > 0xff {
			f = &fault{d.at(v), clip(v) + " is no byte", "a byte is 0 to 0xff"}
		}
	case formAsync:
		if string(v.withoutComment()) != "ASYNC" {
			return &fault{d.at(v), "unknown word " + clip(v), "only ASYNC may stand here"}
		}
		d.extra(o).Async = true
	case formPath, formName:
		f = d.text(o, p, v)
	case formMask:
		d.extra(o).NodeMask, f = d.numbers(o, v)
	case formNewMask:
		d.extra(o).NewNodeMask, f = d.numbers(o, v)
	case formPages:
		d.extra(o).Pages, f = d.numbers(o, v)
	case formNodes:
		d.extra(o).Nodes, f = d.signed(o, v)
	case formStatus:
		d.extra(o).Status, f = d.signed(o, v)
	case formIovecs:
		d.extra(o).Iovecs, f = d.ranges(o, v, "iov_base", "iov_len")
	}
	return f
}

// number evaluates a number or flags.
func (d *decoder) number(v Value, w *words) (uint64, *fault) {
	if n, m := parseNumber(v); m == len(v) {
		return n, nil
	}
	if n, ok := d.memo[w.id][string(v)]; ok {
		return n, nil
	}
	text := v.withoutComment()
	n, m, unknown := expression(text, w)
	if unknown != nil {
		return 0, &fault{d.at(unknown), "unknown " + w.what + " " + clip(unknown),
			"the call is replayed, so every word of it must be known"}
	}
	if m == 0 || m != len(text) {
		return 0, &fault{d.at(v) + m, "bad " + w.what + " " + clip(v), "a number or names joined by | are expected here"}
	}
	if len(d.memo[w.id]) < maxRemembered && len(v) < 256 {
		d.memo[w.id][string(v)] = n
	}
	return n, nil
}

// descriptor decodes a descriptor or task with what -y shows behind it.
func (d *decoder) descriptor(o *Op, p *param, v Value) (f *fault) {
	number, path := v, []byte(nil)
	if last := v[len(v)-1]; !isDigit(last) {
		var text []byte
		text, path = v.FD()
		number = trimBlanks(text)
	}
	if o.A[p.to], f = d.number(number, p.w); f != nil || path == nil {
		return f
	}
	if pid, ok := bytes.CutPrefix(path, []byte("pid:")); ok {
		if n, ok := smallNumber(onlyDigits(pid)); ok {
			d.extra(o).PID = n
		}
	} else if o.Call == CallMmap {
		d.extra(o).Path = d.intern(unescape(path))
	}
	return nil
}

// text decodes a string. A pointer instead of it (strace -e raw, a bad address) leaves it empty.
func (d *decoder) text(o *Op, p *param, v Value) *fault {
	text, cut, ok := v.Str()
	if !ok {
		if _, f := d.number(v, noWords); f != nil || p.form == formName && o.Call == CallBarrier {
			return &fault{d.at(v), "not a string", "a name in double quotes is expected here"}
		}
		return nil
	}
	x := d.extra(o)
	x.Abbreviated = x.Abbreviated || cut
	if p.form == formName {
		x.Name = d.intern(text)
	} else {
		x.Path = d.intern(text)
	}
	return nil
}

// each calls do for every element of the list v. NULL, a pointer and "..." are allowed where strace prints them.
func (d *decoder) each(o *Op, v Value, do func(a *Arg) *fault) *fault {
	if v[0] != '[' {
		_, f := d.number(v, noWords)
		if f != nil {
			f.what, f.why = "not a list", "[..., ...], NULL or a pointer is expected here"
		}
		return f
	}
	return d.members(o, v, do)
}

// members calls do for every member of the struct or list v.
func (d *decoder) members(o *Op, v Value, do func(a *Arg) *fault) *fault {
	at, bottom := d.at(v), len(d.stack)
	stack, f := d.scan.members(v, d.stack)
	d.stack = stack
	if f != nil {
		d.stack = d.stack[:bottom]
		return &fault{at + f.off, f.what, f.why}
	}
	top := len(d.stack)
	for i := bottom; i < top && f == nil; i++ {
		a := d.stack[i]
		if string(a.Value) == "..." && a.Name == nil {
			d.extra(o).Abbreviated = true
			continue
		}
		f = do(&a)
	}
	d.stack = d.stack[:bottom]
	return f
}

func (d *decoder) numbers(o *Op, v Value) (out []uint64, f *fault) {
	f = d.each(o, v, func(a *Arg) *fault {
		n, f := d.number(a.Value, noWords)
		out = append(out, n)
		return f
	})
	return out, f
}

// signed decodes a list of node numbers, or of the errors that stand in their place.
func (d *decoder) signed(o *Op, v Value) (out []int64, f *fault) {
	f = d.each(o, v, func(a *Arg) *fault {
		if name, is := bytes.CutPrefix(a.Value.withoutComment(), []byte("-E")); is {
			n, ok := ErrnoNumber("E" + string(name))
			if !ok {
				return &fault{d.at(a.Value), "unknown errno E" + clip(name), "Linux on x86-64 has no such error"}
			}
			out = append(out, -int64(n))
			return nil
		}
		n, f := d.number(a.Value, noWords)
		out = append(out, int64(n))
		return f
	})
	return out, f
}

// ranges decodes a list of structs with two members.
func (d *decoder) ranges(o *Op, v Value, start, size string) (out []Range, f *fault) {
	f = d.each(o, v, func(a *Arg) *fault {
		var r Range
		f := d.members(o, a.Value, func(m *Arg) (f *fault) {
			switch string(m.Name) {
			case start:
				r.Start, f = d.number(m.Value, noWords)
			case size:
				r.Size, f = d.number(m.Value, noWords)
			default:
				return &fault{d.at(m.Value), "unknown field " + clip(m.Name), "its fields are " + start + ", " + size}
			}
			return f
		})
		out = append(out, r)
		return f
	})
	return out, f
}
