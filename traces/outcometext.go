// SPDX-License-Identifier: MIT

package traces

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// AppendText appends an outcome as text, which is what a guest prints and what testdata/ keeps:
//
//	outcome HASH NAME
//	by Linux 6.12.0
//	12 1 mmap = 0x10000
//	  + 0 [0x10000,0x14000)
//	  ! 0 CLEAR [0x10000,0x11000) x4
//	  = 0 4*#0+rw
//	end
func (o *Outcome) AppendText(dst []byte) []byte {
	dst = fmt.Appendf(dst, "outcome %s %s\nby %s\n", o.Hash, o.Trace, o.By)
	if o.Skipped != "" {
		dst = fmt.Appendf(dst, "skipped %s\n", o.Skipped)
	}
	for i := range o.Steps {
		s := &o.Steps[i]
		dst = fmt.Appendf(dst, "%s\n", s)
		for k := range s.Notes {
			dst = fmt.Appendf(dst, "  %s\n", &s.Notes[k])
		}
	}
	if o.Crash != "" {
		dst = fmt.Appendf(dst, "crash %s\n", o.Crash)
	}
	return append(dst, "end\n"...)
}

// ReadOutcomes reads outcomes from text and hands them to f, until it returns false.
//
// Errors: `NAME:LINE: what`, or the reader's.
func ReadOutcomes(name string, r io.Reader, f func(*Outcome) bool) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<26)
	var o *Outcome
	for line := 1; in.Scan(); line++ {
		text := in.Text()
		var err error
		switch {
		case strings.HasPrefix(text, "outcome "):
			o = &Outcome{}
			o.Hash, o.Trace, _ = strings.Cut(text[len("outcome "):], " ")
		case o == nil:
			err = fmt.Errorf("%q is outside of an outcome", clip([]byte(text)))
		case text == "end":
			if !f(o) {
				return nil
			}
			o = nil
		default:
			err = o.addLine(text)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	if o != nil {
		return fmt.Errorf("%s: the outcome of %s has no end", name, o.Trace)
	}
	return nil
}

// ParseOutcome reads a single outcome.
func ParseOutcome(name string, text []byte) (o *Outcome, err error) {
	err = ReadOutcomes(name, bytes.NewReader(text), func(x *Outcome) bool { o = x; return false })
	if err == nil && o == nil {
		err = fmt.Errorf("%s: no outcome", name)
	}
	return o, err
}

// addLine adds one line of text.
func (o *Outcome) addLine(text string) error {
	if note, ok := strings.CutPrefix(text, "  "); ok {
		if len(o.Steps) == 0 {
			return fmt.Errorf("a note before the first step")
		}
		s := &o.Steps[len(o.Steps)-1]
		n, err := parseNote(note)
		s.Notes = append(s.Notes, n)
		return err
	}
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "by":
		o.By = rest
	case "skipped":
		o.Skipped = rest
	case "crash":
		o.Crash = rest
	default:
		call, result, ok := strings.Cut(rest, " = ")
		tid, call, ok2 := strings.Cut(call, " ")
		line, err := strconv.Atoi(word)
		task, err2 := strconv.Atoi(tid)
		if !ok || !ok2 || err != nil || err2 != nil {
			return fmt.Errorf("%q is no step", clip([]byte(text)))
		}
		o.Steps = append(o.Steps, Step{Line: line, TID: task, Call: call, Result: result})
	}
	return nil
}

// parseNote reads what Note.String prints.
func parseNote(text string) (n Note, err error) {
	bad := func() (Note, error) { return Note{}, fmt.Errorf("%q is no note", clip([]byte(text))) }
	words := strings.Fields(text)
	if len(words) < 2 || len(words[0]) != 1 {
		return bad()
	}
	n.Kind = NoteKind(words[0][0])
	if n.Range, err = strconv.Atoi(words[1]); err != nil {
		return bad()
	}
	words = words[2:]
	switch n.Kind {
	case NoteRegistered:
		if len(words) != 1 || !n.parseSpan(words[0]) {
			return bad()
		}
	case NoteInvalidated:
		if len(words) < 2 || !n.parseSpan(words[1]) {
			return bad()
		}
		n.Event, n.Count = words[0], 1
		for _, w := range words[2:] {
			if w == "nonblock" {
				n.NonBlock = true
			} else if n.Count, err = strconv.ParseUint(strings.TrimPrefix(w, "x"), 10, 64); err != nil {
				return bad()
			}
		}
	case NoteFetched:
		for _, w := range words {
			if w[0] == 'E' {
				n.Errno = w
				continue
			}
			p, ok := parsePageRun(w)
			if !ok {
				return bad()
			}
			n.Pages = append(n.Pages, p)
		}
	default:
		return bad()
	}
	return n, nil
}

// parseSpan reads `[start,end)`.
func (n *Note) parseSpan(s string) bool {
	s, ok := strings.CutPrefix(s, "[")
	lo, hi, ok2 := strings.Cut(strings.TrimSuffix(s, ")"), ",")
	var err, err2 error
	n.Start, err = strconv.ParseUint(lo, 0, 64)
	n.End = EndOfMemory
	if hi != "end" {
		n.End, err2 = strconv.ParseUint(hi, 0, 64)
	}
	return ok && ok2 && err == nil && err2 == nil
}

// parsePageRun reads what PageRun.String prints.
func parsePageRun(s string) (p PageRun, ok bool) {
	count, rest, ok := strings.Cut(s, "*")
	var err error
	if p.N, err = strconv.ParseUint(count, 10, 64); err != nil || !ok {
		return p, false
	}
	if rest == "none" {
		p.Frame = -1
		return p, true
	}
	rest, order, has := strings.Cut(rest, "/")
	if has {
		n, err := strconv.ParseUint(order, 10, 8)
		if err != nil {
			return p, false
		}
		p.Order = uint8(n)
	}
	p.Write = strings.HasSuffix(rest, "rw")
	if !p.Write && !strings.HasSuffix(rest, "ro") {
		return p, false
	}
	frame, counts := strings.CutSuffix(rest[:len(rest)-2], "+")
	p.Same = !counts && p.N > 1
	p.Frame, err = strconv.Atoi(strings.TrimPrefix(frame, "#"))
	return p, err == nil
}
