// SPDX-License-Identifier: MIT

package traces

import (
	"strconv"
	"strings"
)

// maxErrors is how many errors one trace reports before it gives up.
const maxErrors = 10

// Error is one place where a trace does not fit the language.
type Error struct {
	File      string
	Line, Col int    // 1-based; Col counts bytes
	What      string // what is wrong there
	Why       string // which rule it breaks, or what to write instead
}

// Error prints `file:line:col: what: why`.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	b.WriteByte(':')
	b.WriteString(strconv.Itoa(e.Line))
	b.WriteByte(':')
	b.WriteString(strconv.Itoa(e.Col))
	b.WriteString(": ")
	b.WriteString(e.What)
	if e.Why != "" {
		b.WriteString(": ")
		b.WriteString(e.Why)
	}
	return b.String()
}

// Errors is what is wrong with a trace, at least one Error, in line order.
type Errors []*Error

// Error prints one error per line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find an *Error.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}
