// SPDX-License-Identifier: MIT

package traces

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// maxLine is the longest line that a Reader accepts, bytes. strace's own are a few KiB; -s and -v make them longer.
const maxLine = 64 << 20

// Reader reads a trace line by line, in memory that only the longest line bounds.
type Reader struct {
	name string
	br   *bufio.Reader
	scan scanner
	line Line
	num  int // lines read so far

	long []byte // a line that did not fit in br's buffer
	// held is the first part of a line that a message of strace broke: `clone(...strace: Process 7 attached`. The
	// next line continues it. The message itself was given out as a line of its own.
	held    []byte
	heldNum int
	dead    bool // nothing more is read
	noEOL   bool // the last line of the input has no newline
}

// NewReader returns a Reader of r; name is what errors call it.
func NewReader(name string, r io.Reader) *Reader {
	return &Reader{name: name, br: bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next line, which is valid until the following call, or io.EOF. An *Error says that the line does not
// fit the language; reading can go on behind it.
func (r *Reader) Next() (*Line, error) {
	raw, err := r.rawLine()
	if err != nil {
		if err == io.EOF && r.held != nil {
			r.line.Num, r.held = r.heldNum, nil
			return nil, r.fault(&fault{0, "the line ends inside its event", cutWhy})
		}
		return nil, err
	}
	r.line.Num = r.num
	if note := r.brokenBy(raw); note >= 0 {
		return r.broken(raw, note)
	}
	if r.held != nil {
		r.held = append(r.held, raw...)
		raw, r.held = r.held, nil
		r.line.Num = r.heldNum
	}
	if f := r.scan.parse(raw, &r.line); f != nil {
		return nil, r.fault(f)
	}
	if r.noEOL && len(r.line.Time) > 0 {
		return nil, r.fault(&fault{len(raw), "the last line has no newline", cutWhy})
	}
	return &r.line, nil
}

// fault places f in the file.
func (r *Reader) fault(f *fault) *Error {
	return &Error{File: r.name, Line: r.line.Num, Col: f.off + 1, What: f.what, Why: f.why}
}

// rawLine returns the next line without its end.
func (r *Reader) rawLine() ([]byte, error) {
	if r.dead {
		return nil, io.EOF
	}
	raw, err := r.br.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		r.long = append(r.long[:0], raw...)
		for err == bufio.ErrBufferFull {
			raw, err = r.br.ReadSlice('\n')
			r.long = append(r.long, raw...)
			if len(r.long) > maxLine {
				return nil, r.tooLong()
			}
		}
		raw = r.long
	}
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	if len(raw) == 0 {
		return nil, io.EOF
	}
	r.num++
	r.noEOL = raw[len(raw)-1] != '\n'
	if !r.noEOL {
		raw = raw[:len(raw)-1]
	}
	return trimRight(raw), nil
}

// tooLong ends reading: where the next line begins is not worth looking for.
func (r *Reader) tooLong() *Error {
	r.dead, r.held = true, nil
	r.line.Num = r.num + 1
	return r.fault(&fault{maxLine, "line too long", "no line of strace has 64 MiB"})
}

var straceProcess = []byte("strace: Process ")

// brokenBy returns where a message of strace begins that breaks a call and runs to the end of raw, or -1. While a
// call is broken, a further message may have a line of its own.
func (r *Reader) brokenBy(raw []byte) int {
	if n := len(raw); n == 0 || raw[n-1] != 'd' {
		return -1
	}
	head := raw[:max(0, len(raw)-len(" attached"))]
	if tail := string(raw[len(head):]); tail != " attached" && tail != " detached" {
		return -1
	}
	at := bytes.LastIndex(head, straceProcess)
	if at < 0 || r.held == nil && (bytes.IndexByte(head[:at], '(') < 0 || trimBlanks(head)[0] == '#') {
		return -1
	}
	if _, ok := smallNumber(onlyDigits(head[at+len(straceProcess):])); !ok {
		return -1
	}
	return at
}

// broken keeps the first part of a line for the next one, and gives out the message that broke it.
func (r *Reader) broken(raw []byte, note int) (*Line, error) {
	if r.held == nil {
		r.heldNum = r.num
		r.held = []byte{}
	}
	r.held = append(r.held, raw[:note]...)
	if len(r.held) > maxLine {
		return nil, r.tooLong()
	}
	r.line = Line{Num: r.num, Kind: LineNote, Args: r.line.Args[:0], raw: raw, Text: raw[note:]}
	return &r.line, nil
}
