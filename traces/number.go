// SPDX-License-Identifier: MIT

package traces

import "math/bits"

// parseNumber parses the number at the start of b: decimal, 0x hexadecimal or 0 octal, with a minus or a suffix K, M or
// G. n is its length, 0 if b does not begin with a number or it does not fit in 64 bits.
func parseNumber(b []byte) (v uint64, n int) {
	i, negative := 0, false
	if len(b) > 0 && b[0] == '-' {
		negative = true
		i++
	}
	start := i
	switch {
	case i+1 < len(b) && b[i] == '0' && b[i+1]|0x20 == 'x':
		i += 2
		start = i
		for ; i < len(b); i++ {
			d := hexDigit[b[i]]
			if d == 0xff {
				break
			}
			if v>>60 != 0 {
				return 0, 0
			}
			v = v<<4 | uint64(d)
		}
	case i+1 < len(b) && b[i] == '0' && isDigit(b[i+1]):
		for ; i < len(b) && isDigit(b[i]); i++ {
			if b[i] > '7' || v>>61 != 0 {
				return 0, 0
			}
			v = v<<3 | uint64(b[i]-'0')
		}
	default:
		for ; i < len(b) && isDigit(b[i]); i++ {
			hi, lo := bits.Mul64(v, 10)
			sum, carry := bits.Add64(lo, uint64(b[i]-'0'), 0)
			if hi|carry != 0 {
				return 0, 0
			}
			v = sum
		}
	}
	if i == start {
		return 0, 0
	}
	if i < len(b) {
		if shift := suffixShift(b[i]); shift > 0 {
			if bits.LeadingZeros64(v) < shift && v != 0 {
				return 0, 0
			}
			v <<= shift
			i++
		}
	}
	if negative {
		if v > 1<<63 {
			return 0, 0
		}
		v = -v
	}
	return v, i
}

func suffixShift(c byte) int {
	switch c {
	case 'K':
		return 10
	case 'M':
		return 20
	case 'G':
		return 30
	case 'T':
		return 40
	}
	return 0
}

var hexDigit = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = uint8(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = uint8(10+i), uint8(10+i)
	}
	return
}()

// expression evaluates flags and numbers: terms joined by "|", each a number, a name of w, or one shifted left by
// another (`21<<MAP_HUGE_SHIFT`). It returns where the expression ends, and the first word that it does not know.
func expression(b []byte, w *words) (v uint64, n int, unknown []byte) {
	for {
		t, m, bad := term(b[n:], w)
		if bad != nil || m == 0 {
			return v, n, bad
		}
		n += m
		if n+1 < len(b) && b[n] == '<' && b[n+1] == '<' {
			by, m, bad := term(b[n+2:], w)
			if bad != nil || m == 0 {
				return v, n, bad
			}
			n += 2 + m
			t <<= by & 63
		}
		v |= t
		n = behindComment(b, n)
		if n >= len(b) || b[n] != '|' {
			return v, n, nil
		}
		n++
	}
}

// behindComment returns the index behind the comment that follows b[:n], if one does: `0x1200000 /* ... */|0x11`.
func behindComment(b []byte, n int) int {
	i := n
	for i < len(b) && isBlank(b[i]) {
		i++
	}
	if i+1 < len(b) && b[i] == '/' && b[i+1] == '*' {
		if end := skipComment(b, i); end > 0 {
			return end
		}
	}
	return n
}

func term(b []byte, w *words) (v uint64, n int, unknown []byte) {
	if len(b) == 0 {
		return 0, 0, nil
	}
	if isDigit(b[0]) || b[0] == '-' {
		v, n = parseNumber(b)
		return v, n, nil
	}
	for n < len(b) && isNameChar(b[n]) {
		n++
	}
	if n == 0 {
		return 0, 0, nil
	}
	v, ok := w.names[string(b[:n])]
	if !ok {
		if string(b[:n]) == "NULL" {
			return 0, n, nil
		}
		return 0, 0, b[:n]
	}
	return v, n, nil
}
