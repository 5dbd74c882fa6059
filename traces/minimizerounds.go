// SPDX-License-Identifier: MIT

package traces

import "bytes"

// MinimizeInRounds makes a trace smaller for which something is the case, as long as it stays so. Judge says of each candidate
// whether it is; it gets many at a time, because a judge may have to boot a machine. What it returns is a trace of lines of
// text, from which no single line can be left out.
//
// The text itself is not asked about. The error is judge's.
func MinimizeInRounds(text []byte, judge func(candidates [][]byte) ([]bool, error)) ([]byte, error) {
	lines := bytes.SplitAfter(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	for size := max(1, len(lines)/2); size >= 1; {
		var chunks [][2]int
		for at := 0; at < len(lines); at += size {
			chunks = append(chunks, [2]int{at, min(at+size, len(lines))})
		}
		good, err := removable(lines, chunks, judge)
		if err != nil {
			return nil, err
		}
		if len(good) > 1 {
			if good, err = together(lines, good, judge); err != nil {
				return nil, err
			}
		}
		lines = without(lines, good...)
		if len(good) == 0 || size > 1 {
			size /= 2
		}
	}
	return bytes.Join(lines, nil), nil
}

// removable returns the chunks that can be left out, each by itself.
func removable(lines [][]byte, chunks [][2]int, judge func([][]byte) ([]bool, error)) (good [][2]int, err error) {
	var candidates [][]byte
	for _, c := range chunks {
		candidates = append(candidates, bytes.Join(without(lines, c), nil))
	}
	ok, err := judge(candidates)
	for i, yes := range ok {
		if yes {
			good = append(good, chunks[i])
		}
	}
	return good, err
}

// together returns as many of the chunks, the last ones first, as can be left out at once. Any one can.
func together(lines [][]byte, good [][2]int, judge func([][]byte) ([]bool, error)) ([][2]int, error) {
	var candidates [][]byte
	for k := range good {
		candidates = append(candidates, bytes.Join(without(lines, good[k:]...), nil))
	}
	ok, err := judge(candidates)
	for k, yes := range ok {
		if yes {
			return good[k:], err
		}
	}
	return good[len(good)-1:], err
}

// without returns the lines that are in none of the chunks, which are in order.
func without(lines [][]byte, chunks ...[2]int) (out [][]byte) {
	at := 0
	for _, c := range chunks {
		out = append(out, lines[at:c[0]]...)
		at = c[1]
	}
	return append(out, lines[at:]...)
}
