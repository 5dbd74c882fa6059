// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"fmt"
	"strconv"
)

// Minimize makes a trace smaller as long as fails says that what is left still shows
// what the trace was about: fewer lines, fewer ranges in a batch, fewer pages. The
// lines that act are what counts; comments and directives that ask or expect go first.
//
// It is deterministic and calls fails often, for texts that need not be traces. The
// result is text as it stands if fails is never true.
//
// It is delta debugging (Zeller and Hildebrandt, Simplifying and Isolating
// Failure-Inducing Input, 2002), repeated until a pass finds nothing.
func Minimize(text []byte, fails func(text []byte) bool) []byte {
	m := &minimizer{lines: bytes.SplitAfter(text, []byte("\n")), fails: fails}
	m.whatSaysNothing()
	for again := true; again; {
		before := m.left
		m.ranges()
		m.actions()
		m.sizes()
		again = m.left != before
	}
	return bytes.Join(m.lines, nil)
}

// MinimizeRanges is Minimize for the ranges of batches alone.
func MinimizeRanges(text []byte, fails func(text []byte) bool) []byte {
	m := &minimizer{lines: bytes.SplitAfter(text, []byte("\n")), fails: fails}
	m.ranges()
	return bytes.Join(m.lines, nil)
}

// minimizer is a minimisation under way.
type minimizer struct {
	lines [][]byte // what is left, with their ends
	fails func(text []byte) bool
	left  int // successful reductions
}

// try takes lines if what they say still fails.
func (m *minimizer) try(lines [][]byte) bool {
	if !m.fails(bytes.Join(lines, nil)) {
		return false
	}
	m.lines = lines
	m.left++
	return true
}

// machineKeys are the directives that a run depends on.
var machineKeys = []string{"needs", "ram", "swap", "limit", "memlock", "gpus", "nodes", "attach"}

// saysNothing says whether a line can change no run.
func saysNothing(line []byte) bool {
	t := bytes.TrimLeft(line, " \t")
	if len(bytes.TrimSpace(t)) == 0 {
		return true
	}
	if t[0] != '#' {
		return false
	}
	for _, k := range machineKeys {
		if isDirective(t, k) {
			return false
		}
	}
	return true
}

// whatSaysNothing drops comments and expectations.
func (m *minimizer) whatSaysNothing() {
	var keep [][]byte
	for _, l := range m.lines {
		if !saysNothing(l) {
			keep = append(keep, l)
		}
	}
	if len(keep) < len(m.lines) {
		m.try(keep)
	}
}

// actions drops lines.
func (m *minimizer) actions() {
	reduce(len(m.lines), func(keep []int) bool {
		lines := make([][]byte, len(keep))
		for i, k := range keep {
			lines[i] = m.lines[k]
		}
		return m.try(lines)
	})
}

// reduce looks for a small part of n elements that good accepts: it takes out ever
// smaller runs, the last ones first. good keeps what it accepts, so that indices count
// in what was kept last.
func reduce(n int, good func(keep []int) bool) {
	for size := max(n/2, 1); n > 0; size /= 2 {
		for end := n; end > 0; {
			from := max(end-size, 0)
			keep := make([]int, 0, n-(end-from))
			for i := range n {
				if i < from || i >= end {
					keep = append(keep, i)
				}
			}
			if good(keep) {
				n = len(keep)
			}
			end = from
		}
		if size <= 1 {
			return
		}
	}
}

// batch is a line that registers several ranges.
type batch struct {
	before, after []byte // around the list
	ranges        [][]byte
}

// batchOf takes a line apart; ok is false for another line.
func batchOf(line []byte) (b batch, ok bool) {
	const head = "ranges=["
	at := bytes.Index(line, []byte(head))
	if at < 0 {
		return b, false
	}
	at += len(head)
	end := bytes.IndexByte(line[at:], ']')
	if end <= 0 {
		return b, false
	}
	b.before, b.after = line[:at], line[at+end:]
	for _, r := range bytes.SplitAfter(line[at:at+end], []byte("}")) {
		if r = bytes.TrimLeft(r, ", \t"); len(r) > 0 {
			b.ranges = append(b.ranges, r)
		}
	}
	return b, true
}

// line puts the batch together again, with the sum of its sizes.
func (b *batch) line() []byte {
	total, sum := uint64(0), true
	for _, r := range b.ranges {
		n, ok := field(r, "size=")
		sum = sum && ok
		total += n
	}
	line := append([]byte{}, b.before...)
	if at, end, ok := span(line, "total_size="); ok && sum {
		line = append(append(append([]byte{}, line[:at]...), fmt.Sprintf("%#x", total)...), line[end:]...)
	}
	line = append(line, bytes.Join(b.ranges, []byte(", "))...)
	return append(line, b.after...)
}

// span returns where the number behind a name stands.
func span(text []byte, name string) (at, end int, ok bool) {
	at = bytes.Index(text, []byte(name))
	if at < 0 {
		return 0, 0, false
	}
	at += len(name)
	_, n := parseNumber(text[at:])
	return at, at + n, n > 0
}

func field(text []byte, name string) (uint64, bool) {
	at, end, ok := span(text, name)
	if !ok {
		return 0, false
	}
	v, _ := parseNumber(text[at:end])
	return v, true
}

// with returns the lines with another one at i.
func (m *minimizer) with(i int, line []byte) [][]byte {
	lines := append([][]byte{}, m.lines...)
	lines[i] = line
	return lines
}

// ranges drops ranges of batches.
func (m *minimizer) ranges() {
	for i := range m.lines {
		b, ok := batchOf(m.lines[i])
		if !ok {
			continue
		}
		reduce(len(b.ranges), func(keep []int) bool {
			less := b
			less.ranges = nil
			for _, k := range keep {
				less.ranges = append(less.ranges, b.ranges[k])
			}
			if len(keep) == 0 || !m.try(m.with(i, less.line())) {
				return false
			}
			b = less
			return true
		})
	}
}

// sizes makes ranges and what else counts bytes smaller.
func (m *minimizer) sizes() {
	for i := range m.lines {
		if b, ok := batchOf(m.lines[i]); ok {
			for k := range b.ranges {
				m.size(i, b.ranges[k], "size=", func(r []byte) []byte {
					less := b
					less.ranges = append([][]byte{}, b.ranges...)
					less.ranges[k] = r
					return less.line()
				}, func(r []byte) { b.ranges[k] = r })
			}
			continue
		}
		m.lengths(i)
	}
}

// size tries a smaller number behind a name in part, which is a part of line i.
func (m *minimizer) size(i int, part []byte, name string, whole func(part []byte) []byte, took func(part []byte)) {
	at, end, ok := span(part, name)
	if !ok {
		return
	}
	v, _ := parseNumber(part[at:end])
	for _, less := range []uint64{pageSize, v / 2 / pageSize * pageSize} {
		if less == 0 || less >= v {
			continue
		}
		smaller := append(append(append([]byte{}, part[:at]...), "0x"+strconv.FormatUint(less, 16)...), part[end:]...)
		if m.try(m.with(i, whole(smaller))) {
			took(smaller)
			return
		}
	}
}

// lengthCalls are the calls whose second or third argument is a length.
var lengthCalls = map[string]int{"mmap(": 1, "munmap(": 1, "madvise(": 1, "mprotect(": 1, "cpu.read(": 1, "cpu.write(": 1,
	"gpu.read(": 2, "gpu.write(": 2, "mlock(": 1, "munlock(": 1, "mm.numa_balance(": 1}

// lengths makes the length of a call smaller.
func (m *minimizer) lengths(i int) {
	line := m.lines[i]
	open := bytes.IndexByte(line, '(')
	if open < 0 {
		return
	}
	name := line[bytes.LastIndexByte(line[:open], ' ')+1 : open+1]
	arg, ok := lengthCalls[string(name)]
	if !ok {
		return
	}
	at := open + 1
	for range arg {
		comma := bytes.IndexByte(line[at:], ',')
		if comma < 0 {
			return
		}
		at += comma + 1
	}
	for at < len(line) && line[at] == ' ' {
		at++
	}
	m.size(i, line[at:], "", func(rest []byte) []byte { return append(append([]byte{}, line[:at]...), rest...) }, func([]byte) {})
}
