// SPDX-License-Identifier: MIT

package traces

import "bytes"

// ValueKind is what the text of a Value looks like.
type ValueKind uint8

const (
	ValueOpaque ValueKind = iota // balanced text without meaning here
	ValueNumber                  // 4096, 0x1000, 0666, -1, 16K; a comment may follow
	ValueFlags                   // O_RDWR|O_CLOEXEC, MAP_HUGETLB|21<<MAP_HUGE_SHIFT
	ValueNull                    // NULL
	ValueString                  // "...", perhaps shortened by ...
	ValueStruct                  // {NAME=..., ...}
	ValueList                    // [..., ...]
	ValueBytes                   // {0xa1*4096, 0x0*4096}
	ValueFD                      // 3</dev/kfd>, AT_FDCWD</tmp>
)

// Kind finds the kind of v from its text.
func (v Value) Kind() ValueKind {
	text := v.withoutComment()
	if len(text) == 0 {
		return ValueOpaque
	}
	last := text[len(text)-1]
	switch c := text[0]; {
	case c == '"' && (last == '"' || last == '.'):
		return ValueString
	case c == '{' && last == '}':
		if _, ok := Value(text).Runs(nil); ok && len(text) > 2 {
			return ValueBytes
		}
		return ValueStruct
	case c == '[' && last == ']':
		return ValueList
	case string(text) == "NULL":
		return ValueNull
	}
	if _, path := v.FD(); path != nil {
		return ValueFD
	}
	if _, n := parseNumber(text); n == len(text) {
		return ValueNumber
	}
	for i, c := range text {
		if !isNameChar(c) && c != '|' && !(c == '<' && i+1 < len(text) && text[i+1] != '.') {
			return ValueOpaque
		}
	}
	return ValueFlags
}

// withoutComment returns v without the /* comments */ behind it.
func (v Value) withoutComment() []byte {
	for len(v) > 3 && v[len(v)-1] == '/' && v[len(v)-2] == '*' {
		i := bytes.LastIndex(v[:len(v)-2], []byte("/*"))
		if i < 0 {
			break
		}
		v = trimRight(v[:i])
	}
	return v
}

// FD splits a descriptor into its number and the path in angle brackets; path is nil if there is none. A device that -yy
// names behind the path is left out: `3</dev/kfd<char 511:0>>` is /dev/kfd.
func (v Value) FD() (number, path []byte) {
	from := 0
	if c := bytes.Index(v, []byte("/*")); c > 0 && c < bytes.IndexByte(v, '<') {
		from = max(0, skipComment(v, c))
	}
	i := bytes.IndexByte(v[from:], '<')
	if i < 0 {
		return v, nil
	}
	if i += from; i == 0 || !isNameChar(v[i-1]) && !endsComment(v[:i]) || i+1 < len(v) && v[i+1] == '<' {
		return v, nil
	}
	end := skipPath(v, i)
	if end < 0 {
		return v, nil
	}
	return v[:i], withoutDevice(v[i+1 : end-1])
}

// withoutDevice returns the path in front of `<char 1:3>`.
func withoutDevice(path []byte) []byte {
	if n := len(path); n > 0 && path[n-1] == '>' {
		for _, device := range []string{"<char ", "<block "} {
			if at := bytes.LastIndex(path, []byte(device)); at > 0 {
				return path[:at]
			}
		}
	}
	return path
}

// Str returns the text of a string with its escapes undone; ok is false if v is not one. cut says that strace
// shortened it.
func (v Value) Str() (text []byte, cut, ok bool) {
	if len(v) < 2 || v[0] != '"' {
		return nil, false, false
	}
	end := skipString(v, 0)
	if end < 0 {
		return nil, false, false
	}
	return unescape(v[1 : end-1]), bytes.HasPrefix(v[end:], []byte("...")), true
}

// unescape undoes C's escapes. Without any it returns b itself.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		switch c := b[i]; c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'v':
			out = append(out, '\v')
		case 'f':
			out = append(out, '\f')
		case 'x':
			var v, n int
			for n < 2 && i+1 < len(b) && hexDigit[b[i+1]] != 0xff {
				v = v<<4 | int(hexDigit[b[i+1]])
				i++
				n++
			}
			out = append(out, byte(v))
		case '0', '1', '2', '3', '4', '5', '6', '7':
			v := int(c - '0')
			for n := 1; n < 3 && i+1 < len(b) && b[i+1] >= '0' && b[i+1] <= '7'; n++ {
				v = v<<3 | int(b[i+1]-'0')
				i++
			}
			out = append(out, byte(v))
		default:
			out = append(out, c)
		}
	}
	return out
}

// Runs parses {byte*count, ...} and appends to dst, equal neighbours joined and empty runs dropped; ok is false if v
// is something else.
func (v Value) Runs(dst []ByteRun) (runs []ByteRun, ok bool) {
	if len(v) < 2 || v[0] != '{' || v[len(v)-1] != '}' {
		return dst, false
	}
	first := len(dst)
	rest := trimBlanks(v[1 : len(v)-1])
	for len(rest) > 0 {
		c, n := parseNumber(rest)
		if n == 0 || c > 0xff || n >= len(rest) || rest[n] != '*' {
			return dst[:first], false
		}
		count, m := parseNumber(rest[n+1:])
		if m == 0 || rest[n+1] == '-' || rest[0] == '-' {
			return dst[:first], false
		}
		if k := len(dst); k > first && dst[k-1].Byte == byte(c) && dst[k-1].N+count >= count {
			dst[k-1].N += count
		} else if count > 0 {
			dst = append(dst, ByteRun{byte(c), count})
		}
		if rest = trimBlanks(rest[n+1+m:]); len(rest) == 0 {
			break
		}
		if rest[0] != ',' {
			return dst[:first], false
		}
		if rest = trimBlanks(rest[1:]); len(rest) == 0 {
			return dst[:first], false
		}
	}
	return dst, true
}

// Members appends the members of a struct or the elements of a list to dst; ok is false if v is neither.
func (v Value) Members(dst []Arg) (members []Arg, ok bool) {
	var s scanner
	members, f := s.members(v, dst)
	return members, f == nil
}

// members is Members with a scanner to reuse; fault offsets count from the start of v.
func (s *scanner) members(v Value, dst []Arg) ([]Arg, *fault) {
	closer := byte('}')
	if len(v) > 0 && v[0] == '[' {
		closer = ']'
	}
	if len(v) < 2 || v[0] != '{' && v[0] != '[' {
		return dst, &fault{0, "not a struct or list", "{...} or [...] is expected here"}
	}
	s.b, s.i, s.noPaths = v, 1, false
	first := len(dst)
	dst, how, f := s.args(dst, closer, false)
	if f != nil {
		return dst, f
	}
	if how != endBracket {
		return dst, &fault{s.i, "unbalanced struct or list", "its closing bracket is missing"}
	}
	if tail := trimBlanks(v[s.i+1:]); len(tail) > 0 && !bytes.HasPrefix(tail, []byte("/*")) {
		return dst, &fault{s.i + 1, "text after a struct or list", "only a comment may follow"}
	}
	for i := first; i < len(dst); i++ {
		if at := dst[i].missing(); at != nil {
			return dst, &fault{offset(v, at), "empty member", "a value is missing here"}
		}
	}
	return dst, nil
}
