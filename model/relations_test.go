// SPDX-License-Identifier: MIT

package model

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/traces"
)

// Relations between runs that need no oracle: another way to say the same thing
// shows the GPU the same bytes. A VM fault ends the comparison: it is for ever,
// and how much of a batch it takes depends on how the batch was cut.

// rewritten returns the trace with f applied to a copy of every batch call.
func rewritten(tr *traces.Trace, f func(k *traces.KFDArgs)) *traces.Trace {
	out := *tr
	out.Ops = append([]traces.Op(nil), tr.Ops...)
	for i := range out.Ops {
		op := &out.Ops[i]
		if op.X == nil || op.X.KFD == nil || op.X.KFD.NR != nrBatch {
			continue
		}
		x, k := *op.X, *op.X.KFD
		k.Ranges = append([]traces.Range(nil), k.Ranges...)
		f(&k)
		x.KFD, op.X = &k, &x
	}
	return &out
}

// loadText loads a trace that a test wrote.
func loadText(t require.TestingT, text string) *traces.Trace {
	tr, err := traces.Parse("random.trace", strings.NewReader(text))
	require.NoError(t, err, text)
	return tr
}

// reads runs the trace and returns what was read until the first fault.
func reads(t require.TestingT, tr *traces.Trace, design string) []Read {
	r, err := Run(tr, Options{Design: design})
	require.NoError(t, err)
	if r.Failure != nil {
		require.Fail(t, r.Failure.Title, "%s on %s: %s", r.Verdict, design, r.Failure.Detail)
	}
	return untilFault(r.Reads)
}

// untilFault cuts off what comes after the first VM fault.
func untilFault(all []Read) []Read {
	for i := range all {
		if all[i].GPU != 0 && all[i].Errno != "" {
			return all[:i]
		}
	}
	return all
}

// requireSameReads compares two runs as far as neither faulted.
func requireSameReads(t require.TestingT, want, got []Read, text string) {
	n := min(len(want), len(got))
	require.Equal(t, want[:n], got[:n], text)
}

// split cuts every range of at least two pages in two.
func split(k *traces.KFDArgs) {
	var out []traces.Range
	for _, r := range k.Ranges {
		if r.Size >= 2*page && r.Size%page == 0 {
			half := r.Size / page / 2 * page
			out = append(out, traces.Range{Start: r.Start, Size: half}, traces.Range{Start: r.Start + half, Size: r.Size - half})
		} else {
			out = append(out, r)
		}
	}
	if int(k.NumRanges) == len(k.Ranges) {
		k.Ranges, k.NumRanges = out, uint32(len(out))
	}
}

// join makes one range of neighbours that follow each other on the CPU.
func join(k *traces.KFDArgs) {
	var out []traces.Range
	for _, r := range k.Ranges {
		if n := len(out); n > 0 && out[n-1].Start+out[n-1].Size == r.Start {
			out[n-1].Size += r.Size
		} else {
			out = append(out, r)
		}
	}
	if int(k.NumRanges) == len(k.Ranges) {
		k.Ranges, k.NumRanges = out, uint32(len(out))
	}
}

func TestSplittingAndJoiningRangesChangesNoContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := randomTrace(t, 4)
		tr := loadText(t, text)
		for _, d := range designNamesOfTests {
			want := reads(t, tr, d)
			requireSameReads(t, want, reads(t, rewritten(tr, split), d), text)
			requireSameReads(t, want, reads(t, rewritten(rewritten(tr, split), join), d), text)
		}
	})
}

func TestSplittingAndJoiningRangesOfTheCorpusChangesNoContent(t *testing.T) {
	for _, c := range corpus(t) {
		for _, d := range designNamesOfTests {
			want := reads(t, c.Trace, d)
			requireSameReads(t, want, reads(t, rewritten(c.Trace, split), d), c.name)
			requireSameReads(t, want, reads(t, rewritten(c.Trace, join), d), c.name)
		}
	}
}

// permuteBytes returns what a read of a whole BO shows when the ranges stand in
// another order: order[i] is the old place of the range that comes i-th.
func permuteBytes(b []phys.ByteRun, ranges []traces.Range, order []int) []phys.ByteRun {
	var flat []byte
	for _, r := range b {
		for n := uint64(0); n < r.N; n++ {
			flat = append(flat, r.Byte)
		}
	}
	var out []phys.ByteRun
	for _, old := range order {
		at := uint64(0)
		for _, r := range ranges[:old] {
			at += r.Size
		}
		for _, c := range flat[at : at+ranges[old].Size] {
			if n := len(out); n > 0 && out[n-1].Byte == c {
				out[n-1].N++
			} else {
				out = append(out, phys.ByteRun{Byte: c, N: 1})
			}
		}
	}
	return out
}

// TestPermutingRangesPermutesTheSlicesAndNothingElse: the random traces read and
// write whole BOs, so a read of the permuted BO is the permuted read.
func TestPermutingRangesPermutesTheSlicesAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := randomTrace(t, 3)
		tr := loadText(t, text)
		order := rapid.Permutation([]int{0, 1, 2}).Draw(t, "order")
		byVA := map[uint64][]traces.Range{}
		permuted := rewritten(tr, func(k *traces.KFDArgs) {
			if len(k.Ranges) != 3 {
				return
			}
			byVA[k.VAAddr] = k.Ranges
			k.Ranges = []traces.Range{k.Ranges[order[0]], k.Ranges[order[1]], k.Ranges[order[2]]}
		})
		at := map[int]uint64{}
		for i := range tr.Ops {
			if tr.Ops[i].Call == traces.CallGPURead {
				at[tr.Ops[i].Line] = tr.Ops[i].A[1]
			}
		}
		for _, d := range designNamesOfTests {
			want, got := reads(t, tr, d), reads(t, permuted, d)
			for i := 0; i < min(len(want), len(got)); i++ {
				w := want[i]
				if ranges := byVA[at[w.Line]]; w.GPU != 0 && ranges != nil {
					w.Bytes = permuteBytes(w.Bytes, ranges, order)
				}
				require.Equal(t, w, got[i], text)
			}
		}
	})
}

// TestWhatDoesNotConcernTheGPUChangesNoContent: an idle process, and memory that
// comes and goes beside the registered ranges.
func TestWhatDoesNotConcernTheGPUChangesNoContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := randomTrace(t, 3)
		var noisy strings.Builder
		opening := true
		for i, line := range strings.SplitAfter(text, "\n") {
			noisy.WriteString(line)
			if opening = opening && !strings.Contains(line, "cpu.write"); opening || line == "" {
				continue
			}
			switch i % 5 {
			case 0:
				noisy.WriteString("1 mmap(0x30000000, 65536, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n")
			case 1:
				noisy.WriteString("1 madvise(0x30000000, 4096, MADV_DONTNEED)\n")
			case 3:
				noisy.WriteString("1 munmap(0x30000000, 65536)\n")
			}
		}
		for _, d := range designNamesOfTests {
			want, got := reads(t, loadText(t, text), d), reads(t, loadText(t, noisy.String()), d)
			n := min(len(want), len(got))
			for i := 0; i < n; i++ {
				want[i].Line, got[i].Line = 0, 0
			}
			require.Equal(t, want[:n], got[:n], noisy.String())
		}
	})
}
