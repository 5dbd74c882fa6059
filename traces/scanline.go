// SPDX-License-Identifier: MIT

package traces

import "bytes"

// parse reads the line b into l. Only l.Args keeps its capacity from the line before.
func (s *scanner) parse(b []byte, l *Line) *fault {
	*l = Line{Num: l.Num, Args: l.Args[:0], raw: b}
	s.b, s.i, s.noPaths = b, 0, false
	s.blanks()
	if s.end() {
		l.Kind = LineBlank
		return nil
	}
	switch b[s.i] {
	case '#':
		return s.hash(l)
	case '>':
		l.Kind, l.Text = LineNote, trimBlanks(s.rest())
		return nil
	}
	if f := s.head(l); f != nil {
		return f
	}
	return s.event(l)
}

func (s *scanner) hash(l *Line) *fault {
	text := trimBlanks(s.b[s.i+1:])
	if len(text) == 0 || s.b[s.i+1] != ':' {
		// A comment keeps its own spacing, except at the end of the line.
		l.Kind, l.Text = LineComment, trimRight(s.b[s.i+1:])
		return nil
	}
	text = trimBlanks(text[1:])
	colon := bytes.IndexByte(text, ':')
	if colon < 0 {
		return &fault{s.i, "directive without a key", "a directive is `#: key: value`"}
	}
	l.Kind, l.Key, l.Text = LineDirective, trimBlanks(text[:colon]), trimBlanks(text[colon+1:])
	return nil
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return trimRight(b)
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// head scans the task, the time and the marks in front of an event.
func (s *scanner) head(l *Line) *fault {
	if isDigit(s.b[s.i]) {
		if f := s.numberHead(l); f != nil {
			return f
		}
	} else if bytes.HasPrefix(s.rest(), []byte("[pid")) {
		if f := s.bracketHead(l); f != nil {
			return f
		}
	}
	s.blanks()
	if len(l.Time) == 0 && !s.end() && isDigit(s.b[s.i]) {
		if l.Time = s.time(); l.Time == nil {
			return &fault{s.i, "not a time", "strace prints SECONDS.FRACTION or HH:MM:SS here"}
		}
		s.blanks()
	}
	s.marks(l)
	if s.end() {
		return &fault{s.i, "the line ends before its event", cutWhy}
	}
	return nil
}

// cutWhy explains every error at the end of a line.
const cutWhy = "a capture that was cut in the middle ends like this"

// numberHead scans `12 `, `12<comm> ` or a time without a task.
func (s *scanner) numberHead(l *Line) *fault {
	start := s.i
	digits := s.digits()
	if s.end() {
		return &fault{s.i, "the line ends before its event", cutWhy}
	}
	switch c := s.b[s.i]; {
	case c == '.' || c == ':':
		s.i = start
		if l.Time = s.time(); l.Time == nil {
			return &fault{start, "not a time", "strace prints SECONDS.FRACTION or HH:MM:SS here"}
		}
		return nil
	case c == '<':
		if f := s.comm(l); f != nil {
			return f
		}
	case !isBlank(c):
		return &fault{start, "not a line of strace", "a line begins with a task's number, a time or a call"}
	}
	tid, ok := smallNumber(digits)
	if !ok {
		return &fault{start, "task number too large", "a pid fits in 31 bits"}
	}
	l.Prefix, l.TID = PrefixNumber, tid
	return nil
}

// bracketHead scans `[pid 12] ` or `[pid 12<comm>] `.
func (s *scanner) bracketHead(l *Line) *fault {
	start := s.i
	s.i += len("[pid")
	s.blanks()
	tid, ok := smallNumber(s.digits())
	if !ok {
		return &fault{start, "bad task prefix", "strace writes [pid NUMBER]"}
	}
	if !s.end() && s.b[s.i] == '<' {
		if f := s.comm(l); f != nil {
			return f
		}
	}
	if s.end() || s.b[s.i] != ']' {
		return &fault{s.i, "bad task prefix", "strace writes [pid NUMBER]"}
	}
	s.i++
	l.Prefix, l.TID = PrefixBracket, tid
	return nil
}

func (s *scanner) comm(l *Line) *fault {
	end := skipPath(s.b, s.i)
	if end < 0 {
		return &fault{s.i, "the line ends inside the name of its task", cutWhy}
	}
	l.Comm = s.b[s.i+1 : end-1]
	s.i = end
	return nil
}

// time scans SECONDS, SECONDS.FRACTION or HH:MM:SS[.FRACTION], with a blank behind; nil if it is none of them.
func (s *scanner) time() []byte {
	start := s.i
	for s.i < len(s.b) && (isDigit(s.b[s.i]) || s.b[s.i] == '.' || s.b[s.i] == ':') {
		s.i++
	}
	if !s.end() && !isBlank(s.b[s.i]) {
		s.i = start
		return nil
	}
	return s.b[start:s.i]
}

// marks scans what -i, -n and -r with -t print: `[00007f0000001000] `, `[   9] `, `(+     0.000012) `.
func (s *scanner) marks(l *Line) {
	start, end := s.i, s.i
	for {
		rest := s.rest()
		var closer byte
		switch {
		case len(rest) > 1 && rest[0] == '[' && wordsLen(rest, modeNote) == 0:
			closer = ']'
		case bytes.HasPrefix(rest, []byte("(+")):
			closer = ')'
		default:
			l.Marks = s.b[start:end]
			return
		}
		n := bytes.IndexByte(rest, closer)
		if n < 0 {
			l.Marks = s.b[start:end]
			return
		}
		s.i += n + 1
		end = s.i
		s.blanks()
	}
}
