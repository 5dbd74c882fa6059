// SPDX-License-Identifier: MIT

package traces

import "bytes"

// ending is what stopped a list of arguments.
type ending uint8

const (
	endBracket ending = iota // the closing bracket, at s.i
	endMarker                // <unfinished ...> or a sibling, at s.i
	endLine                  // the end of the line
)

// args scans a list of arguments up to the bracket that closes it and appends them to dst. With loose, brackets that
// were opened on another line may close here (the second half of a call that strace split inside a struct).
// Precondition: s.i is behind the opening bracket.
func (s *scanner) args(dst []Arg, close byte, loose bool) ([]Arg, ending, *fault) {
	s.tight = true
	s.gap(0)
	if !s.end() && s.b[s.i] == close {
		return dst, endBracket, nil
	}
	for {
		var a Arg
		a.Name = s.argName()
		stop, f := s.value(&a.Value, close, loose)
		if f == nil && stop == '>' {
			s.tight = s.tight && s.trimmed == 1
			s.i += len("=>")
			s.gap(1)
			stop, f = s.value(&a.After, close, loose)
		}
		if f != nil {
			return dst, endLine, f
		}
		dst = append(dst, a)
		s.tight = s.tight && s.trimmed == 0
		switch stop {
		case ',':
			s.i++
			s.gap(1)
		case '<':
			return dst, endMarker, nil
		case 0:
			return dst, endLine, nil
		default:
			return dst, endBracket, nil
		}
	}
}

// gap moves over blanks. The canonical form has n spaces here.
func (s *scanner) gap(n int) {
	start := s.i
	s.blanks()
	s.tight = s.tight && s.i-start == n
}

// argName scans `NAME=` if it is here.
func (s *scanner) argName() []byte {
	if s.end() || !isNameChar(s.b[s.i]) || isDigit(s.b[s.i]) {
		return nil
	}
	j := s.i + 1
	for j < len(s.b) && isNameChar(s.b[j]) {
		j++
	}
	if j >= len(s.b) || s.b[j] != '=' || j+1 < len(s.b) && (s.b[j+1] == '>' || s.b[j+1] == '=') {
		return nil
	}
	name := s.b[s.i:j]
	s.i = j + 1
	return name
}

// value scans balanced text up to what ends it at this depth, and returns what that is: ',', the bracket close, '>'
// for "=>", '<' for a marker, 0 for the end of the line. s.i is left there; blanks before it are not part of the value.
func (s *scanner) value(v *Value, close byte, loose bool) (stop byte, f *fault) {
	b, start := s.b, s.i
	i := start
	s.open = s.open[:0]
scan:
	for {
		for i < len(b) && argClass[b[i]] == plain {
			i++
		}
		if i >= len(b) {
			break
		}
		c := b[i]
		switch c {
		case '"', '/', '\'', '<':
			var marker bool
			if i, marker, f = s.quoted(i, start); f != nil {
				return 0, f
			}
			if marker {
				stop = '<'
				break scan
			}
			continue
		case '(', '[', '{':
			s.open = append(s.open, c)
		case ',':
			if len(s.open) == 0 {
				stop = c
				break scan
			}
		case '=':
			if len(s.open) == 0 && i+1 < len(b) && b[i+1] == '>' {
				stop = '>'
				break scan
			}
		default:
			if len(s.open) > 0 && s.open[len(s.open)-1] == opener(c) {
				s.open = s.open[:len(s.open)-1]
				break
			}
			if len(s.open) == 0 && c == close {
				stop = c
				break scan
			}
			if !loose || len(s.open) > 0 || c == ')' {
				return 0, &fault{i, "unbalanced \"" + string(c) + "\"", "no \"" + string(opener(c)) + "\" is open here"}
			}
		}
		i++
	}
	end := i
	for end > start && isBlank(b[end-1]) {
		end--
	}
	*v, s.i, s.trimmed = b[start:end], i, i-end
	return stop, nil
}

// quoted moves over what may hide brackets: strings, comments, characters and the paths of descriptors. marker says
// that the value ends here, at <unfinished ...>. start is where the value began.
func (s *scanner) quoted(i, start int) (next int, marker bool, f *fault) {
	b := s.b
	switch b[i] {
	case '"':
		if next = skipString(b, i); next < 0 {
			return 0, false, &fault{i, "unterminated string", "the line ends before its closing quote"}
		}
		return next, false, nil
	case '/':
		if i+1 >= len(b) || b[i+1] != '*' {
			return i + 1, false, nil
		}
		if next = skipComment(b, i); next < 0 {
			return 0, false, &fault{i, "unterminated comment", "the line ends before its */"}
		}
		return next, false, nil
	case '\'':
		return skipChar(b, i), false, nil
	}
	if i == 0 || isBlank(b[i-1]) || i == start {
		if markerLen(b[i:]) > 0 {
			return i, true, nil
		}
		return i + 1, false, nil
	}
	if i+1 < len(b) && b[i+1] == '<' {
		return i + 2, false, nil
	}
	if !s.noPaths && (isNameChar(b[i-1]) || endsComment(b[start:i])) {
		if next = skipPath(b, i); next > 0 {
			return next, false, nil
		}
		s.noPaths = true
	}
	return i + 1, false, nil
}

func opener(c byte) byte {
	switch c {
	case ')':
		return '('
	case ']':
		return '['
	}
	return '{'
}

// markers are the words of the notes that end a call's line; "" stands for a number.
var markers = [][]string{{"<unfinished", "...>"}, {"<detached", "...>"}, {"<pid", "changed", "to", "", "...>"}}

// markerLen returns the length of the marker of a call that ends on another line, or 0 if b does not begin with one.
func markerLen(b []byte) int {
	for _, words := range markers {
		if n := wordsLen(b, words); n > 0 {
			return n
		}
	}
	return 0
}

// wordsLen returns the length of words at the start of b, with blanks between them, or 0.
func wordsLen(b []byte, words []string) int {
	s := scanner{b: b}
	for i, word := range words {
		if start := s.i; i > 0 {
			if s.blanks(); s.i == start {
				return 0
			}
		}
		if word == "" {
			if len(s.digits()) == 0 {
				return 0
			}
			continue
		}
		if !bytes.HasPrefix(s.rest(), []byte(word)) {
			return 0
		}
		s.i += len(word)
	}
	return s.i
}
