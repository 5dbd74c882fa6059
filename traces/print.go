// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"strconv"
)

// AppendLine appends l in canonical form, without a newline. The normalisation: a run of blanks is one space, except in
// strings, comments and paths; arguments are separated by ", "; the padding that strace puts before "=" is one space;
// and the pid of a prefix is not padded. Printing a line that was read from this form gives the same bytes.
func AppendLine(dst []byte, l *Line) []byte {
	switch l.Kind {
	case LineBlank:
		return dst
	case LineComment:
		return append(append(dst, '#'), l.Text...)
	case LineDirective:
		dst = append(dst, "#: "...)
		dst = append(dst, l.Key...)
		dst = append(dst, ':')
		if len(l.Text) > 0 {
			dst = append(dst, ' ')
			dst = appendSqueezed(dst, l.Text)
		}
		return dst
	}
	dst = appendHead(dst, l)
	switch l.Kind {
	case LineCall, LineUnfinished:
		dst = append(dst, l.Name...)
		dst = append(dst, '(')
	case LineResumed:
		dst = append(dst, "<... "...)
		dst = append(dst, l.Name...)
		dst = append(dst, " resumed>"...)
	default:
		return append(dst, l.Text...)
	}
	return appendTail(appendArgs(dst, l.Args), l)
}

// appendRead appends what AppendLine does, for a line as it was read: its arguments need no walk if they are canonical.
func appendRead(dst []byte, l *Line) []byte {
	if l.Kind != LineCall || !l.tight || l.Marker != nil || bytes.Contains(l.argText, twoSpaces) ||
		bytes.IndexByte(l.argText, '\t') >= 0 || bytes.IndexByte(l.argText, '\r') >= 0 {
		return AppendLine(dst, l)
	}
	dst = appendHead(dst, l)
	dst = append(dst, l.Name...)
	dst = append(dst, '(')
	return appendTail(append(dst, l.argText...), l)
}

var twoSpaces = []byte("  ")

func appendHead(dst []byte, l *Line) []byte {
	if l.Prefix != PrefixNone {
		if l.Prefix == PrefixBracket {
			dst = append(dst, "[pid "...)
		}
		dst = strconv.AppendInt(dst, int64(l.TID), 10)
		if l.Comm != nil {
			dst = append(dst, '<')
			dst = append(dst, l.Comm...)
			dst = append(dst, '>')
		}
		if l.Prefix == PrefixBracket {
			dst = append(dst, ']')
		}
		dst = append(dst, ' ')
	}
	if len(l.Time) > 0 {
		dst = append(dst, l.Time...)
		dst = append(dst, ' ')
	}
	if len(l.Marks) > 0 {
		dst = appendSqueezed(dst, l.Marks)
		dst = append(dst, ' ')
	}
	return dst
}

func appendArgs(dst []byte, args []Arg) []byte {
	for i := range args {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		a := &args[i]
		if len(a.Name) > 0 {
			dst = append(dst, a.Name...)
			dst = append(dst, '=')
		}
		dst = appendSqueezed(dst, a.Value)
		if a.After != nil {
			dst = append(dst, " => "...)
			dst = appendSqueezed(dst, a.After)
		}
	}
	return dst
}

func appendTail(dst []byte, l *Line) []byte {
	if l.Marker != nil {
		dst = append(dst, ' ')
		dst = appendSqueezed(dst, l.Marker)
	}
	if l.Closed {
		dst = append(dst, ')')
	}
	if l.Result != nil {
		dst = append(dst, " = "...)
		dst = appendSqueezed(dst, l.Result)
		trail := l.Trail
		if len(trail) > 0 && trail[0] == '<' {
			// The path of a descriptor that is the result.
			end := max(0, skipPath(trail, 0))
			dst = append(dst, trail[:end]...)
			trail = trail[end:]
		}
		dst = appendSqueezed(dst, trail)
	}
	return dst
}

// appendSqueezed appends text with every run of blanks made one space, except in strings, comments, characters and paths.
func appendSqueezed(dst, text []byte) []byte {
	if !hasLooseBlank(text) {
		return append(dst, text...)
	}
	var never [256]bool // what begins with this byte does not end, and would not from any later place either
	for i := 0; i < len(text); {
		c := text[i]
		if isBlank(c) {
			for i < len(text) && isBlank(text[i]) {
				i++
			}
			dst = append(dst, ' ')
			continue
		}
		end := i
		if argClass[c] == special && !never[c] {
			end = skipOpaque(text, i)
			never[c] = end < 0
		}
		end = max(end, i+1)
		dst = append(dst, text[i:end]...)
		i = end
	}
	return dst
}

// hasLooseBlank says whether squeezing would change text.
func hasLooseBlank(text []byte) bool {
	for i, c := range text {
		if isBlank(c) && (c != ' ' || i > 0 && text[i-1] == ' ') {
			return true
		}
	}
	return false
}
