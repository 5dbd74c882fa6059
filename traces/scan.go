// SPDX-License-Identifier: MIT

package traces

import "bytes"

// fault is an error inside one line, before file and line number are known.
type fault struct {
	off       int // bytes from the start of the line
	what, why string
}

// scanner walks over the text of one line. It never goes back further than the start of the token it is at, so that
// the time for a line is linear in its length.
type scanner struct {
	b []byte
	i int
	// noPaths is set once a "<" turned out to begin no fd decoration: every later one would run to the line's end too.
	noPaths bool
	trimmed int    // blanks that were left out behind the last value
	tight   bool   // the last arguments are spaced as AppendLine does it, as far as their own insides are
	open    []byte // the brackets that are open, reused from line to line
}

// Classes of bytes that end a run of plain text in an argument.
const (
	plain = iota
	special
)

var argClass = func() (t [256]uint8) {
	for _, c := range []byte("\"()[]{},<=/'") {
		t[c] = special
	}
	return
}()

const (
	charName  = 1 << iota // may be in a name
	charDigit             // 0-9
	charBlank
)

var charClass = func() (t [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= charName
		t[c-'a'+'A'] |= charName
	}
	for c := '0'; c <= '9'; c++ {
		t[c] |= charName | charDigit
	}
	t['_'] |= charName
	t[' '] |= charBlank
	t['\t'] |= charBlank
	t['\r'] |= charBlank
	return
}()

func isBlank(c byte) bool    { return charClass[c]&charBlank != 0 }
func isDigit(c byte) bool    { return charClass[c]&charDigit != 0 }
func isNameChar(c byte) bool { return charClass[c]&charName != 0 }

func (s *scanner) blanks() {
	for s.i < len(s.b) && isBlank(s.b[s.i]) {
		s.i++
	}
}

func (s *scanner) end() bool { return s.i >= len(s.b) }

// rest returns what has not been scanned.
func (s *scanner) rest() []byte { return s.b[s.i:] }

// digits returns the run of digits here, and moves behind it.
func (s *scanner) digits() []byte {
	start := s.i
	for s.i < len(s.b) && isDigit(s.b[s.i]) {
		s.i++
	}
	return s.b[start:s.i]
}

// smallNumber parses a label. ok is false if it is empty or does not fit in an int32, as no pid does.
func smallNumber(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 10 {
		return 0, false
	}
	for _, c := range b {
		n = n*10 + int(c-'0')
	}
	return n, n <= 1<<31-1
}

// skipString returns the index behind the string that begins at b[i], or -1 if it does not end.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// skipComment returns the index behind the /* comment */ that begins at b[i], or -1 if it does not end.
func skipComment(b []byte, i int) int {
	end := bytes.Index(b[i+2:], []byte("*/"))
	if end < 0 {
		return -1
	}
	return i + 2 + end + 2
}

// endsComment says whether b ends in a comment, as the number of a descriptor may: `-100 /* AT_FDCWD */</tmp>`.
func endsComment(b []byte) bool { return len(b) > 3 && b[len(b)-1] == '/' && b[len(b)-2] == '*' }

// skipPath returns the index behind the <decoration> of a descriptor or pid that begins at b[i], or -1 if it does not
// end. strace escapes "<" and ">" in paths; what is left are devices, `</dev/null<char 1:3>>`, and the arrows of
// sockets, `<TCP:[127.0.0.1:1->127.0.0.1:2]>`, which an address follows.
func skipPath(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			if end := skipString(b, i); end > 0 {
				i = end - 1
			}
		case '<':
			depth++
		case '>':
			if b[i-1] == '-' && i+1 < len(b) && isAddressStart(b[i+1]) {
				continue
			}
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

func isAddressStart(c byte) bool { return isNameChar(c) || c == '[' || c == '"' || c == '@' }

// skipChar returns the index behind the 'c' that begins at b[i], or i+1 if the quote is just a quote. Blanks are no
// characters: they hide nothing, and printing may change their number.
func skipChar(b []byte, i int) int {
	if i+2 < len(b) && b[i+1] != '\\' && !isBlank(b[i+1]) && b[i+2] == '\'' {
		return i + 3
	}
	if i+1 < len(b) && b[i+1] == '\\' {
		for j := i + 3; j < len(b) && j < i+7 && !isBlank(b[j-1]); j++ {
			if b[j] == '\'' {
				return j + 1
			}
		}
	}
	return i + 1
}

// skipOpaque returns the index behind what begins at b[i] and hides brackets and blanks: a string, comment, character
// or path. It returns i if nothing does, and -1 if it does not end.
func skipOpaque(b []byte, i int) int {
	end := i
	switch b[i] {
	case '"':
		end = skipString(b, i)
	case '/':
		if i+1 < len(b) && b[i+1] == '*' {
			end = skipComment(b, i)
		}
	case '\'':
		if end = skipChar(b, i); end == i+1 {
			end = i
		}
	case '<':
		if i > 0 && (isNameChar(b[i-1]) || endsComment(b[:i])) && (i+1 == len(b) || b[i+1] != '<') {
			end = skipPath(b, i)
		}
	}
	return end
}
