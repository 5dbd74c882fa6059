// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"fmt"
)

// LineSpan is a part of a trace, in line numbers counted from 1, both ends included.
// The zero value is no part.
type LineSpan struct{ First, Last int }

// String prints the span as the directive writes it.
func (w LineSpan) String() string { return fmt.Sprintf("%d-%d", w.First, w.Last) }

// Holds says whether a line is in the span.
func (w LineSpan) Holds(line int) bool { return w.First <= line && line <= w.Last }

// ParseLineSpan reads FIRST-LAST.
func ParseLineSpan(s string) (LineSpan, error) {
	first, rest := parseNumber([]byte(s))
	if rest > 0 && rest < len(s) && s[rest] == '-' {
		last, n := parseNumber([]byte(s[rest+1:]))
		if n > 0 && rest+1+n == len(s) && 1 <= first && first <= last && last <= 1<<31 {
			return LineSpan{int(first), int(last)}, nil
		}
	}
	return LineSpan{}, fmt.Errorf("%q is not written FIRST-LAST, as 120-140", s)
}

// Counterexample is one interleaving of a trace on a design: what makes a trace a
// file that replays by itself.
type Counterexample struct {
	Design string
	// Lines are the lines that interleave; the zero value stands for all of them.
	Lines LineSpan
	// Schedule is the text of the schedule, in lines; none stands for recorded order.
	Schedule []string
	// File and Line are where the schedule begins, if it was read.
	File string
	Line int
}

// counterexampleKeys are the directives that a counterexample consists of.
var counterexampleKeys = []string{"design", "lines", "schedule"}

// AppendCounterexample appends a trace's text with c behind its last line, so that
// its lines keep their numbers. What the text said of another interleaving is
// blanked.
func AppendCounterexample(dst, text []byte, c *Counterexample) []byte {
	for line := range bytes.Lines(text) {
		if isCounterexampleLine(line) {
			line = []byte("#\n")
		}
		dst = append(dst, line...)
	}
	// Lines at the end that only an earlier interleaving has left go.
	for bytes.HasSuffix(dst, []byte("\n#\n")) {
		dst = dst[:len(dst)-2]
	}
	if len(dst) > 0 && dst[len(dst)-1] != '\n' {
		dst = append(dst, '\n')
	}
	dst = fmt.Appendf(dst, "#: design: %s\n", c.Design)
	if c.Lines != (LineSpan{}) {
		dst = fmt.Appendf(dst, "#: lines: %s\n", c.Lines)
	}
	for _, l := range c.Schedule {
		dst = fmt.Appendf(dst, "#: schedule: %s\n", l)
	}
	return dst
}

func isCounterexampleLine(line []byte) bool {
	for _, key := range counterexampleKeys {
		if isDirective(line, key) {
			return true
		}
	}
	return false
}

// isDirective says whether a line is the directive with a key.
func isDirective(line []byte, key string) bool {
	rest, ok := bytes.CutPrefix(line, []byte("#:"))
	if !ok {
		return false
	}
	rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " \t"), []byte(key))
	return ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte(":"))
}
