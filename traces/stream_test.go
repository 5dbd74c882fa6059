// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// generator is an endless capture: what it returns is made as it is read.
type generator struct {
	left int // bytes still to come
	line int
	buf  []byte
}

func (g *generator) Read(p []byte) (int, error) {
	if len(g.buf) == 0 && g.left <= 0 {
		return 0, io.EOF
	}
	for len(g.buf) < len(p) && g.left > 0 {
		start := len(g.buf)
		i := g.line
		g.line++
		switch tid := 100 + i/64%50; i % 8 {
		case 0:
			g.buf = fmt.Appendf(g.buf, "%d  1.%06d openat(AT_FDCWD, \"/tmp/%d\", O_RDONLY|O_CLOEXEC) = 3</tmp/%d>\n", tid, i, i, i)
		case 1:
			g.buf = fmt.Appendf(g.buf, "%d  1.%06d mmap(NULL, %d, PROT_READ, MAP_PRIVATE|%#x, 3</tmp/%d>, 0) = %#x\n", tid, i, i, i%(1<<20), i, i<<12)
		case 2:
			g.buf = fmt.Appendf(g.buf, "%d  1.%06d unknown_%d(%d) = 0\n", tid, i, i, i)
		case 3:
			g.buf = fmt.Appendf(g.buf, "%d  1.%06d madvise(%#x, 4096, MADV_DONTNEED <unfinished ...>\n", tid, i, i)
		case 4:
			g.buf = fmt.Appendf(g.buf, "%d  1.%06d <... madvise resumed>)    = 0\n", tid, i)
		case 5:
			g.buf = fmt.Appendf(g.buf, "%d  1.%06d ioctl(3, AMDKFD_IOC_FREE_MEMORY_OF_GPU, {handle=%#x}) = 0\n", tid, i, i)
		case 6:
			g.buf = fmt.Appendf(g.buf, "%d  1.%06d cpu.read(%#x, 8) = {0x1*4, 0x2*4}\n", tid, i, i)
		default:
			g.buf = fmt.Appendf(g.buf, "%d  1.%06d fork() = %d\n", tid, i, 100+(i+1)/64%50)
		}
		g.left -= len(g.buf) - start
	}
	n := copy(p, g.buf)
	g.buf = append(g.buf[:0], g.buf[n:]...)
	return n, nil
}

// heapNow is what is alive after a collection.
func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// watched samples the live heap while it is read.
type watched struct {
	io.Reader
	every, next, read int
	most              uint64
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if w.read += n; w.read >= w.next {
		w.next += w.every
		w.most = max(w.most, heapNow())
	}
	return n, err
}

func TestCheckingALongTraceTakesConstantMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 100 MB")
	}
	before := heapNow()
	w := &watched{Reader: &generator{left: 100 << 20}, every: 10 << 20}
	require.NoError(t, Check("long", w))
	require.Less(t, w.most-min(before, w.most), uint64(4<<20), "the heap grows with the trace")
}

func TestALineOfAMegabyteIsALine(t *testing.T) {
	long := strings.Repeat("[{x, \\\"(<", 120_000)
	text := "1 write(1, \"" + long + "\", 5) = 5\n1 brk(NULL) = 0x1000\n"
	tr := mustLoad(t, text)
	require.Len(t, tr.Ops, 1)
	requireSound(t, []byte(text))
}

// TestNothingMakesTheScannerRunTwiceOverALine reads lines that would cost far too much if anything were quadratic: a
// quarter of a megabyte squared is a minute, for each of them.
func TestNothingMakesTheScannerRunTwiceOverALine(t *testing.T) {
	for _, unit := range []string{"(", "[", "{", "<", "a<", "1<2", "\"", "\\", "'", "/*", "/", ",", "=", "=>", " ", " => ", "a=", "<... ", "[pid ", "+", "-", "1", "9<a", "x(1<", "\"<", "strace: Process 1 attached"} {
		for _, form := range []string{"%s\n", "1 x(%s\n", "1 x(%s)\n", "1 mmap(%s) = 0\n", "1 clone3({%s}) = 0\n", "1 cpu.read(1, 1) = {%s}\n", "#: result: %s\n", "1 <... x resumed>%s) = 0\n", "1 x(1) = 3 %s\n", "1 x(1) = 3<%s\n", "1 [%s] x(1)\n", "%s brk(1)\n", "1 close(%s <unfinished ...>\n1 <... close resumed>%[1]s) = 0\n"} {
			text := fmt.Sprintf(form, strings.Repeat(unit, 1<<18/len(unit)))
			_ = Check("evil", strings.NewReader(text))
			printed(t, []byte(text+"  \n"))
		}
	}
}

func TestALineThatNeverEndsIsAnError(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 64 MB")
	}
	err := Check("t", io.LimitReader(endless{}, maxLine+100))
	require.EqualError(t, err, fmt.Sprintf("t:1:%d: line too long: no line of strace has 64 MiB", maxLine+1))
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestAReadersErrorIsNotTheTraces(t *testing.T) {
	broken := errors.New("the disk is on fire")
	_, err := Parse("t", io.MultiReader(strings.NewReader("1 brk(NULL)\n"), &failing{broken}))
	require.ErrorIs(t, err, broken)
	var bad Errors
	require.False(t, errors.As(err, &bad))
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestOpenReadsPlainAndCompressedTraces(t *testing.T) {
	want := []byte(handwritten)
	var z, g bytes.Buffer
	zw, err := zstd.NewWriter(&z)
	require.NoError(t, err)
	gw := gzip.NewWriter(&g)
	for _, w := range []io.WriteCloser{zw, gw} {
		_, err := w.Write(want)
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"a.trace": want, "a.trace.zst": z.Bytes(), "zstd-by-content": z.Bytes(), "a.gz": g.Bytes(), "empty": {}} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		r, err := Open(path)
		require.NoError(t, err, name)
		got, err := io.ReadAll(r)
		require.NoError(t, err, name)
		require.NoError(t, r.Close())
		if name == "empty" {
			require.Empty(t, got)
		} else {
			require.Equal(t, string(want), string(got), name)
		}

		// The same bytes on standard input.
		old := Stdin
		Stdin = bytes.NewReader(text)
		r, err = Open("-")
		Stdin = old
		require.NoError(t, err)
		again, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, string(got), string(again), name)
	}
	_, err = Open(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "plain.zst"), want, 0o600))
	r, err := Open(filepath.Join(dir, "plain.zst"))
	require.NoError(t, err)
	defer r.Close()
	_, err = Parse("plain.zst", r)
	require.Error(t, err, "a .zst that is none")
}

func TestCapturesSurviveARoundTrip(t *testing.T) {
	for _, path := range captures(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		requireSound(t, text)
	}
}

func TestCheckingAPlainCallAllocatesNothing(t *testing.T) {
	short, long := simpleTrace(1000), simpleTrace(11_000)
	run := func(text []byte) float64 {
		return testing.AllocsPerRun(5, func() { _ = Check("t", bytes.NewReader(text)) })
	}
	require.Less(t, run(long)-run(short), 10.0, "allocations for 10000 more calls")
}
