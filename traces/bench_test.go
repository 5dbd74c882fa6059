// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// simpleTrace is n plain calls of one task.
func simpleTrace(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "1 madvise(0x%x, 4096, MADV_DONTNEED) = 0\n", 0x7f0000000000+i*4096)
	}
	return b.Bytes()
}

func benchmarkLines(b *testing.B, text []byte, do func(io.Reader) error) {
	lines := bytes.Count(text, []byte("\n"))
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		require.NoError(b, do(bytes.NewReader(text)))
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func load(r io.Reader) error  { _, err := Parse("bench", r); return err }
func check(r io.Reader) error { return Check("bench", r) }

func BenchmarkParseSimpleCalls(b *testing.B) { benchmarkLines(b, simpleTrace(100_000), load) }
func BenchmarkCheckSimpleCalls(b *testing.B) { benchmarkLines(b, simpleTrace(100_000), check) }

func BenchmarkParseCaptures(b *testing.B) {
	for _, path := range captures(b) {
		text, err := os.ReadFile(path)
		require.NoError(b, err)
		b.Run(path, func(b *testing.B) { benchmarkLines(b, text, load) })
	}
}

// BenchmarkParseLongCapture repeats a capture, so that what a Parse costs once does not count.
func BenchmarkParseLongCapture(b *testing.B) {
	text, err := os.ReadFile(captures(b)[2])
	require.NoError(b, err)
	benchmarkLines(b, bytes.Repeat(text, 50), load)
}

func BenchmarkPrintCaptures(b *testing.B) {
	text, err := os.ReadFile(captures(b)[2])
	require.NoError(b, err)
	benchmarkLines(b, text, func(r io.Reader) error {
		var buf []byte
		for rd := NewReader("bench", r); ; {
			l, err := rd.Next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			buf = AppendLine(buf[:0], l)
		}
	})
}
