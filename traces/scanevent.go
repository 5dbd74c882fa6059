// SPDX-License-Identifier: MIT

package traces

import "bytes"

// event scans what stands behind the head.
func (s *scanner) event(l *Line) *fault {
	b := s.b
	switch b[s.i] {
	case '+':
		return s.plus(l)
	case '-':
		l.Text = trimBlanks(s.rest())
		if !bytes.HasPrefix(l.Text, []byte("--- ")) {
			return &fault{s.i, "not a line of strace", "a signal is written --- SIGNAME {...} ---"}
		}
		if len(l.Text) < 8 || !bytes.HasSuffix(l.Text, []byte(" ---")) {
			return &fault{len(b), "the line ends inside a signal", cutWhy}
		}
		l.Kind = LineSignal
		return nil
	case '<':
		return s.resumed(l)
	}
	return s.call(l)
}

// modeNote begins what strace says about a task of another word size: `[ Process PID=7 runs in 32 bit mode. ]`.
var modeNote = []string{"[", "Process"}

// isNote recognises what strace says about itself.
func isNote(rest []byte) bool {
	if wordsLen(rest, modeNote) > 0 {
		return true
	}
	word, _, found := bytes.Cut(rest, []byte(" "))
	if !found {
		return false
	}
	return bytes.HasSuffix(word, []byte("strace:")) || string(word) == "Process"
}

var (
	exitedWith   = []byte("+++ exited with ")
	killedBy     = []byte("+++ killed by ")
	supersededBy = []byte("+++ superseded by execve in pid ")
	plusEnd      = []byte(" +++")
)

func (s *scanner) plus(l *Line) *fault {
	l.Text = trimBlanks(s.rest())
	if !bytes.HasPrefix(l.Text, []byte("+++ ")) {
		return &fault{s.i, "not a line of strace", "the end of a task is written +++ exited with N +++"}
	}
	if len(l.Text) < 8 || !bytes.HasSuffix(l.Text, plusEnd) {
		return &fault{len(s.b), "the line ends inside the end of a task", cutWhy}
	}
	switch text := bytes.TrimSuffix(l.Text, plusEnd); {
	case bytes.HasPrefix(text, exitedWith):
		l.Kind = LineExited
	case bytes.HasPrefix(text, killedBy):
		l.Kind = LineKilled
	case bytes.HasPrefix(text, supersededBy):
		l.Kind = LineSuperseded
	default:
		l.Kind = LineNote
	}
	return nil
}

// resumed scans `<... name resumed>args) = result`.
func (s *scanner) resumed(l *Line) *fault {
	start := s.i
	if !bytes.HasPrefix(s.rest(), []byte("<...")) {
		if end := bytes.IndexByte(s.rest(), '>'); end > 0 && bytes.HasPrefix(s.rest(), []byte("<ptrace(")) {
			l.Kind, l.Text = LineNote, trimBlanks(s.rest())
			return nil
		}
		return &fault{start, "not a line of strace", "the second half of a call is written <... NAME resumed>"}
	}
	s.i += len("<...")
	s.blanks()
	name := s.name()
	s.blanks()
	if len(name) == 0 || !bytes.HasPrefix(s.rest(), []byte("resumed>")) {
		return &fault{start, "bad second half of a call", "it is written <... NAME resumed>"}
	}
	s.i += len("resumed>")
	l.Kind, l.Name = LineResumed, name
	return s.callRest(l)
}

func (s *scanner) call(l *Line) *fault {
	start := s.i
	name := s.name()
	if (s.end() || s.b[s.i] != '(') && isNote(s.b[start:]) {
		l.Kind, l.Text = LineNote, trimBlanks(s.b[start:])
		return nil
	}
	if len(name) == 0 {
		return &fault{start, "not a line of strace", "a call begins with its name"}
	}
	if s.end() {
		return &fault{s.i, "the line ends inside the name of a call", cutWhy}
	}
	if s.b[s.i] != '(' {
		return &fault{start, "not a line of strace", "a call is written NAME(ARGUMENTS)"}
	}
	s.i++
	l.Kind, l.Name = LineCall, name
	return s.callRest(l)
}

// name scans the name of a call: a system call's, syscall_0x1b7, mm.reclaim, or the ???? of a task that vanished.
func (s *scanner) name() []byte {
	start := s.i
	for s.i < len(s.b) && (isNameChar(s.b[s.i]) || s.b[s.i] == '.' || s.b[s.i] == '?') {
		s.i++
	}
	return s.b[start:s.i]
}

// callRest scans arguments, marker, result and trail.
func (s *scanner) callRest(l *Line) (f *fault) {
	start := s.i
	var how ending
	if l.Args, how, f = s.args(l.Args, ')', l.Kind == LineResumed); f != nil {
		return f
	}
	l.argText, l.tight = s.b[start:s.i], s.tight
	if how == endMarker {
		l.Marker = s.b[s.i : s.i+markerLen(s.rest())]
	}
	if at := emptyArg(l); at != nil && how != endLine {
		return &fault{offset(s.b, at), "empty argument", "a value is missing here"}
	}
	if how == endMarker {
		s.i += len(l.Marker)
		if len(trimBlanks(s.rest())) == 0 {
			if l.Kind == LineCall {
				l.Kind = LineUnfinished
			}
			return nil
		}
		how = endBracket
	}
	if how == endLine || s.b[s.i] != ')' {
		return &fault{len(s.b), "the line ends inside the arguments of " + string(l.Name), cutWhy}
	}
	s.i++
	l.Closed = true
	return s.result(l)
}

// emptyArg finds a value without text. Where strace split a call, the first or last argument may be empty.
func emptyArg(l *Line) []byte {
	for i := range l.Args {
		a := &l.Args[i]
		split := i == 0 && l.Kind == LineResumed || i == len(l.Args)-1 && l.Marker != nil
		if at := a.missing(); at != nil && (!split || a.After != nil && len(a.After) == 0) {
			return at
		}
	}
	return nil
}

// missing returns the place of a's value, or of what follows "=>", if it is empty.
func (a *Arg) missing() []byte {
	if len(a.Value) == 0 {
		return a.Value
	}
	if a.After != nil && len(a.After) == 0 {
		return a.After
	}
	return nil
}

// result scans what stands behind the closing parenthesis.
func (s *scanner) result(l *Line) *fault {
	s.blanks()
	if s.end() {
		return nil
	}
	if s.b[s.i] != '=' {
		return &fault{s.i, "text after the call", "only `= RESULT` may follow the closing parenthesis"}
	}
	s.i++
	s.blanks()
	if s.end() {
		return &fault{s.i, "the line ends before the result", cutWhy}
	}
	start, b := s.i, s.b
	switch c := b[start]; {
	case c == '{':
		end := bytes.IndexByte(b[start:], '}')
		if end < 0 {
			return &fault{len(b), "the line ends inside the bytes of the result", cutWhy}
		}
		s.i += end + 1
	case isDigit(c) || c == '-' || c == '?' || c == 'N':
		for s.i < len(b) && !isBlank(b[s.i]) && b[s.i] != '<' && b[s.i] != '(' {
			s.i++
		}
		if string(b[start:s.i]) == "-1" {
			s.errno()
		}
	default:
		return &fault{start, "not a result", "a result is a number, ?, -1 ERRNO or the bytes of a read"}
	}
	l.Result, l.Trail = b[start:s.i], trimRight(b[s.i:])
	return nil
}

// errno extends a result of -1 by the name that follows.
func (s *scanner) errno() {
	i := s.i
	for i < len(s.b) && isBlank(s.b[i]) {
		i++
	}
	if i < len(s.b) && s.b[i] == 'E' {
		for i < len(s.b) && isNameChar(s.b[i]) {
			i++
		}
		s.i = i
	}
}
