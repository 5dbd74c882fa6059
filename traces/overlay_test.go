// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// overlaid returns Overlay's output for a trace given as text.
func overlaid(t require.TestingT, name, text string, o OverlayOptions) (string, OverlayStats) {
	var out bytes.Buffer
	st, err := Overlay(&out, name, reopen(text), o)
	require.NoError(t, err)
	return out.String(), st
}

func reopen(text string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

// judged loads an overlaid trace and replays it the dull way.
func judged(t require.TestingT, text string, least uint64) (*Trace, *dullReplay) {
	tr, err := Parse("overlaid", strings.NewReader(text))
	require.NoError(t, err)
	r, err := judge(tr, least)
	require.NoError(t, err)
	return tr, r
}

// ours says whether Overlay has put the line in, as far as our tests' captures do not use KFD themselves.
func ours(line string) bool {
	for _, mark := range []string{" gpu.", " cpu.", " sleep(", "(900</dev/kfd>, ", "= 900</dev/kfd>", "= 901</dev/dri"} {
		if strings.Contains(" "+line, mark) {
			return true
		}
	}
	return strings.HasPrefix(line, "# The capture ") || strings.HasPrefix(line, "# Made by ") || strings.HasPrefix(line, "#: ")
}

func TestOverlaidCapturesOnlyAccessWhatIsStillThere(t *testing.T) {
	for _, path := range captures(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for seed := range uint64(3) {
			out, st := overlaid(t, path, string(text), OverlayOptions{Every: 8, Seed: seed})
			tr, r := judged(t, out, 4096)
			require.Equal(t, []Expectation{{"batch", "ok"}, {"mirror", "ok"}, {"single", "ok"}}, tr.Directives.Result)
			require.Equal(t, []string{"gpu"}, tr.Directives.Needs)
			require.GreaterOrEqual(t, st.Batches, 20, path)
			require.GreaterOrEqual(t, r.access, 200, path)
			require.Equal(t, st.GPUReads+st.GPUWrites, r.access)
			require.Equal(t, st.Left, len(r.batches))
			require.Positive(t, st.Lost, "a program that never takes memory away is no test")
		}
	}
}

func TestOverlaidCaptureKeepsEveryLineInOrder(t *testing.T) {
	for _, path := range captures(t) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		out, st := overlaid(t, path, string(text), OverlayOptions{Every: 10})
		var want, got []byte
		r := NewReader(path, bytes.NewReader(text))
		for l, err := r.Next(); err == nil; l, err = r.Next() {
			want = append(AppendLine(want, l), '\n')
		}
		for line := range strings.Lines(out) {
			if !ours(line) {
				got = append(got, line...)
			}
		}
		require.Equal(t, string(want), string(got))
		require.Equal(t, st.CaptureLines, bytes.Count(want, []byte("\n")))
		require.Equal(t, out, canonical(t, out), "the output is canonical")
	}
}

// canonical returns text in canonical form.
func canonical(t *testing.T, text string) string {
	var b []byte
	r := NewReader("", strings.NewReader(text))
	for {
		l, err := r.Next()
		if err == io.EOF {
			return string(b)
		}
		require.NoError(t, err)
		b = append(AppendLine(b, l), '\n')
	}
}

func TestSameOverlayOptionsGiveTheSameBytes(t *testing.T) {
	text, err := os.ReadFile("captured/python-threads-fork.trace")
	require.NoError(t, err)
	one, st := overlaid(t, "python-threads-fork.trace", string(text), OverlayOptions{Seed: 7})
	two, again := overlaid(t, "some/folder/python-threads-fork.trace", string(text), OverlayOptions{
		Seed: 7, Min: 4096, Max: 4 << 20, Ranges: 16, Every: 50, MaxBatches: 8,
	})
	require.Equal(t, one, two)
	require.Equal(t, st, again)
	other, _ := overlaid(t, "python-threads-fork.trace", string(text), OverlayOptions{Seed: 8})
	require.NotEqual(t, one, other)
}

func TestOverlayLimitsAreKept(t *testing.T) {
	text, err := os.ReadFile("captured/qemu-guest-boot.trace")
	require.NoError(t, err)
	out, _ := overlaid(t, "", string(text), OverlayOptions{Every: 5, Min: 10000, Max: 40000, Ranges: 3, MaxBatches: 2})
	tr, _ := judged(t, out, 12288)
	live := 0
	for _, o := range tr.Ops {
		if o.Call != CallIoctl {
			continue
		}
		switch k := o.X.KFD; k.NR {
		case 0x28:
			live++
			require.LessOrEqual(t, live, 2)
			require.LessOrEqual(t, len(k.Ranges), 3)
			for _, r := range k.Ranges {
				require.LessOrEqual(t, r.Size, uint64(40960))
			}
		case 0x17:
			live--
		}
	}
}

const smallCapture = `7  10.1 execve("/bin/a", ["a"], 0x7ffe /* 1 var */) = 0
7  10.2 mmap(NULL, 64K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x10000
7  10.3 brk(NULL)                       = 0x50000
7  10.4 close(3)                        = 0
7  10.5 exit_group(0)                   = ?
7  10.6 +++ exited with 0 +++
`

func TestOverlayNeedsSomethingToRegister(t *testing.T) {
	const exec = "7 execve(\"/bin/a\", [\"a\"], NULL) = 0\n"
	const mmap = "7 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x10000\n"
	for name, c := range map[string]struct{ text string }{
		"an empty file":              {""},
		"no memory at all":           {exec + "7 close(3) = 0\n"},
		"memory that was never seen": {exec + "7 mprotect(0x1000, 4096, PROT_READ|PROT_WRITE) = 0\n7 close(3) = 0\n"},
		"a file":                     {"7 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE, 3, 0) = 0x10000\n7 close(3) = 0\n"},
		"shared memory":              {"7 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1, 0) = 0x10000\n7 close(3) = 0\n"},
		"huge pages":                 {"7 mmap(NULL, 2M, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB, -1, 0) = 0x200000\n7 close(3) = 0\n"},
		"read-only memory":           {"7 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x10000\n7 close(3) = 0\n"},
		"memory only before execve":  {mmap + exec + "7 close(3) = 0\n"},
		"nothing behind the memory":  {mmap},
		"a program that uses KFD":    {"7 openat(AT_FDCWD, \"/dev/kfd\", O_RDWR) = 3</dev/kfd>\n" + mmap + "7 close(9) = 0\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Overlay(io.Discard, "x.trace", reopen(c.text), OverlayOptions{Every: 1})
			require.ErrorContains(t, err, "x.trace: nothing to register")
		})
	}
	_, err := Overlay(io.Discard, "x.trace", reopen(mmap+strings.Repeat("7 close(3) = 0\n", 9)), OverlayOptions{Every: 1, Min: 8193})
	require.ErrorContains(t, err, "12288 bytes")
}

func TestOverlayRefusesBadInput(t *testing.T) {
	for name, o := range map[string]OverlayOptions{
		"negative ranges":       {Ranges: -1},
		"negative lines":        {Every: -1},
		"negative batches":      {MaxBatches: -1},
		"longest below least":   {Min: 8192, Max: 4096},
		"more than addressable": {Min: ^uint64(0)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Overlay(io.Discard, "x", reopen(smallCapture), o)
			require.ErrorContains(t, err, "overlay: ")
		})
	}
	_, err := Overlay(io.Discard, "x", reopen("7 mmap(\n"), OverlayOptions{})
	require.ErrorContains(t, err, "x:1:")
	reads := 0
	_, err = Overlay(io.Discard, "x", func() (io.ReadCloser, error) {
		reads++
		return io.NopCloser(strings.NewReader(smallCapture[:len(smallCapture)-len("7  10.6 +++ exited with 0 +++\n")*(reads-1)])), nil
	}, OverlayOptions{Every: 1})
	require.ErrorContains(t, err, "changed between")
}

func TestOverlayLeavesTheDirectivesOfACaptureAlone(t *testing.T) {
	out, _ := overlaid(t, "x", "#: question: mine?\n#: result: batch=stale v2=ok\n#: needs: gpu, fork\n"+smallCapture, OverlayOptions{Every: 1})
	tr, _ := judged(t, out, 4096)
	require.Equal(t, "mine?", tr.Directives.Question)
	require.Equal(t, []string{"gpu", "fork"}, tr.Directives.Needs)
	require.Equal(t, []Expectation{{"batch", "stale"}, {"mirror", "ok"}, {"single", "ok"}, {"v2", "ok"}}, tr.Directives.Result)
}

func TestOverlayTakesDescriptorsThatTheCaptureNeverUses(t *testing.T) {
	text := strings.Replace(smallCapture, "close(3)", "close(1203)", 1)
	out, _ := overlaid(t, "x", text, OverlayOptions{Every: 1})
	require.Contains(t, out, "= 1204</dev/kfd>")
	require.Contains(t, out, "{drm_fd=1205, gpu_id=1}")
}

// body returns what happens in an overlaid trace, by task, with what is not ours as "-".
func body(out string) []string {
	var tasks []string
	for line := range strings.Lines(out) {
		tid, _, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "#"):
		case ours(line):
			tasks = append(tasks, tid)
		default:
			tasks = append(tasks, "-"+tid)
		}
	}
	return tasks
}

func lines(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// overlaidOrNothing returns "" for a trace in which nothing can be registered.
func overlaidOrNothing(text string, o OverlayOptions) (string, error) {
	var out bytes.Buffer
	_, err := Overlay(&out, "x", reopen(text), o)
	if err != nil && strings.Contains(err.Error(), "nothing to register") {
		return "", nil
	}
	return out.String(), err
}

func BenchmarkOverlay(b *testing.B) {
	text, err := os.ReadFile("captured/qemu-guest-boot.trace")
	require.NoError(b, err)
	n := bytes.Count(text, []byte("\n"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Overlay(io.Discard, "x", reopen(string(text)), OverlayOptions{Every: 20}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "lines/s")
}
