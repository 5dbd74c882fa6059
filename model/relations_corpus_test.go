// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/phys"
)

// oneByOne is a batch driver whose user does not know the batch call: a BO for
// each range.
type oneByOne struct{ kfd.Design }

func (oneByOne) Name() string  { return "onebyone" }
func (oneByOne) Batched() bool { return false }

// withOneByOne makes it selectable for a test.
func withOneByOne(t *testing.T) {
	old := designs
	t.Cleanup(func() { designs = old })
	designs = nil
	one := DesignInfo{Name: "onebyone", Story: "for tests", make: func(...kfd.Defect) kfd.Design { return oneByOne{batch.New()} }}
	for _, d := range old {
		if d.Name > one.Name && (len(designs) == 0 || designs[len(designs)-1].Name < one.Name) {
			designs = append(designs, one)
		}
		designs = append(designs, d)
	}
}

// requireABatchOfOneIsASingle: the same states, the same SMI lines, the same bytes,
// however many BOs there are.
func requireABatchOfOneIsASingle(t require.TestingT, text string) {
	b, s := runText(t, text, "onebyone", nil), runText(t, text, "single", nil)
	require.Equal(t, s.Reads, b.Reads, text)
	require.Equal(t, s.Dumps, b.Dumps, text)
	require.Equal(t, s.SMI, b.SMI, text)
	require.Equal(t, s.VirtualNS, b.VirtualNS, text)
}

func TestManyBatchesOfOneAreManySingles(t *testing.T) {
	withOneByOne(t)
	for _, c := range corpus(t) {
		requireABatchOfOneIsASingle(t, string(c.text))
	}
	rapid.Check(t, func(t *rapid.T) { requireABatchOfOneIsASingle(t, randomTrace(t, 4, "MADV_FREE")) })
}

// TestABatchIsItsRangesOneByOne: n single allocations at consecutive addresses show
// what the batch shows.
func TestABatchIsItsRangesOneByOne(t *testing.T) {
	withOneByOne(t)
	check := func(t require.TestingT, text string) {
		tr := loadText(t, text)
		requireSameReads(t, reads(t, tr, "batch"), reads(t, tr, "onebyone"), text)
	}
	for _, c := range corpus(t) {
		check(t, string(c.text))
	}
	rapid.Check(t, func(t *rapid.T) { check(t, randomTrace(t, 4)) })
}

// TestEveryDesignShowsTheSameBytes: wherever a design comes out ok. What is broken
// on purpose, or stuck, has nothing to compare.
func TestEveryDesignShowsTheSameBytes(t *testing.T) {
	check := func(t require.TestingT, text string) {
		tr := loadText(t, text)
		want := reads(t, tr, "batch")
		for _, d := range designs {
			r, err := Run(tr, Options{Design: d.Name})
			require.NoError(t, err)
			if r.Failure == nil {
				requireSameReads(t, want, untilFault(r.Reads), d.Name+"\n"+text)
			}
		}
	}
	for _, c := range corpus(t) {
		check(t, string(c.text))
	}
	rapid.Check(t, func(t *rapid.T) { check(t, randomTrace(t, 4)) })
}

var (
	rangesOf    = regexp.MustCompile(`va_addr=(\w+), .*ranges=\[(.*?)\].*=> \{handle`)
	rangeSize   = regexp.MustCompile(`\{start=\w+, size=(\w+)\}`)
	gpuAccess   = regexp.MustCompile(`^(\d+) gpu\.(read|write)\((\d+), (\w+), (\w+)(.*?)\)`)
	quietOfTask = regexp.MustCompile(`^1 (?:cpu\.write|cpu\.read|madvise|sleep)\(.*\) = `)
)

func amount(t require.TestingT, s string) uint64 {
	unit := map[byte]uint64{'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}[s[len(s)-1]]
	if unit > 0 {
		s = s[:len(s)-1]
	}
	v, err := strconv.ParseUint(s, 0, 64)
	require.NoError(t, err)
	return v * max(unit, 1)
}

// layout is a BO of which the ranges were reversed: sizes in the old order.
type layout struct {
	va    uint64
	sizes []uint64
}

// move returns where byte va lies after the reversal, and how far the same range
// goes on from there.
func (l *layout) move(va uint64) (to, n uint64) {
	at := l.va
	for i, size := range l.sizes {
		if va < at+size {
			to = l.va + va - at
			for _, behind := range l.sizes[i+1:] {
				to += behind
			}
			return to, at + size - va
		}
		at += size
	}
	return va, ^uint64(0)
}

func (l *layout) end() uint64 {
	end := l.va
	for _, s := range l.sizes {
		end += s
	}
	return end
}

// reversed turns the ranges of every batch around and makes every GPU access once
// for each range that it touches, where that is now. origin[i] is the old line of
// the new line i. False: two BOs share addresses, or nothing has two ranges.
func reversed(t require.TestingT, text string) (out string, origin []int, ok bool) {
	var bos []layout
	var b strings.Builder
	lines := strings.SplitAfter(text, "\n")
	emit := func(i int, line string) {
		b.WriteString(line)
		origin = append(origin, i+1)
	}
	for i, line := range lines {
		if m := rangesOf.FindStringSubmatch(line); m != nil && strings.Contains(line, "BATCH") {
			l := layout{va: amount(t, m[1])}
			parts := rangeSize.FindAllStringSubmatch(m[2], -1)
			turned := make([]string, len(parts))
			for k, p := range parts {
				l.sizes = append(l.sizes, amount(t, p[1]))
				turned[len(parts)-1-k] = p[0]
			}
			for k := range bos {
				if l.va < bos[k].end() && bos[k].va < l.end() {
					return "", nil, false
				}
			}
			bos, ok = append(bos, l), ok || len(parts) > 1
			line = strings.Replace(line, m[2], strings.Join(turned, ", "), 1)
		}
		m := gpuAccess.FindStringSubmatch(line)
		if m == nil {
			emit(i, line)
			continue
		}
		for at, n := amount(t, m[4]), amount(t, m[5]); n > 0; {
			to, k := at, n
			for j := range bos {
				if l := &bos[j]; l.va <= at && at < l.end() {
					var within uint64
					to, within = l.move(at)
					k = min(k, within)
				} else if at < l.va {
					k = min(k, l.va-at)
				}
			}
			emit(i, fmt.Sprintf("%s gpu.%s(%s, %#x, %d%s)\n", m[1], m[2], m[3], to, k, m[6]))
			at, n = at+k, n-k
		}
	}
	return b.String(), origin, ok
}

// joined puts together what the parts of each read saw, until the first fault.
func joined(parts []Read, origin []int) []Read {
	var out []Read
	for _, p := range parts {
		p.Line = origin[p.Line-1]
		k := len(out)
		if k == 0 || out[k-1].Line != p.Line || out[k-1].Errno != "" {
			p.Bytes = append([]phys.ByteRun(nil), p.Bytes...)
			out = append(out, p)
			continue
		}
		for _, r := range p.Bytes {
			if b := out[k-1].Bytes; len(b) > 0 && b[len(b)-1].Byte == r.Byte {
				b[len(b)-1].N += r.N
			} else {
				out[k-1].Bytes = append(b, r)
			}
		}
	}
	return out
}

func TestReversingTheRangesOfTheCorpusMovesThemAndNothingElse(t *testing.T) {
	compared := 0
	for _, c := range corpus(t) {
		text, origin, ok := reversed(t, string(c.text))
		if !ok {
			continue
		}
		compared++
		for _, d := range []string{"batch", "single", "mirror"} {
			want := reads(t, c.Trace, d)
			got := joined(reads(t, loadText(t, text), d), origin)
			if len(got) > 0 && len(got) < len(want) {
				got = got[:len(got)-1] // a part of it may be missing: the rest faulted
			}
			for i := range want {
				want[i].Addr = 0
			}
			for i := range got {
				got[i].Addr = 0
			}
			requireSameReads(t, want, got, c.name)
		}
	}
	require.Greater(t, compared, 80)
}

// noisy adds an idle process, and memory of task 1 that comes and goes far from
// everything that the trace uses.
func noisy(text string) string {
	var b strings.Builder
	begun := false
	for _, line := range strings.SplitAfter(text, "\n") {
		if !begun && strings.HasPrefix(line, "1 ") {
			b.WriteString("1 vfork() = 900\n900 execve(\"/bin/idle\", [\"idle\"], 0x0) = 0\n")
			begun = true
		}
		b.WriteString(line)
		if quietOfTask.MatchString(line) {
			b.WriteString("1 mmap(0x600000000000, 65536, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n" +
				"1 cpu.write(0x600000000000, 8192, 0x1)\n1 madvise(0x600000000000, 4096, MADV_DONTNEED)\n1 munmap(0x600000000000, 65536)\n")
		}
	}
	return b.String()
}

// TestWhatDoesNotConcernTheGPUChangesNoContentOfTheCorpus, nor of random traces.
func TestWhatDoesNotConcernTheGPUChangesNoContentOfTheCorpus(t *testing.T) {
	check := func(t require.TestingT, text string) {
		for _, d := range []string{"batch", "single", "mirror"} {
			want, got := reads(t, loadText(t, text), d), reads(t, loadText(t, noisy(text)), d)
			n := min(len(want), len(got))
			for i := range n {
				want[i].Line, got[i].Line = 0, 0
			}
			require.Equal(t, want[:n], got[:n], "%s\n%s", d, text)
		}
	}
	for _, c := range corpus(t) {
		check(t, string(c.text))
	}
	rapid.Check(t, func(t *rapid.T) { check(t, randomTrace(t, 3)) })
}
