// SPDX-License-Identifier: MIT

package model

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/traces"
)

var update = flag.Bool("update", false, "write the corpus's part of traces/README.md")

// corpusTrace is a hand-written trace that is shipped.
type corpusTrace struct {
	name string // without .trace
	text []byte
	*traces.Trace
}

// corpus returns the hand-written traces in order of their names.
func corpus(t testing.TB) []corpusTrace {
	names, err := fs.Glob(traces.Corpus(), "*.trace")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	var out []corpusTrace
	for _, name := range names {
		text, err := fs.ReadFile(traces.Corpus(), name)
		require.NoError(t, err)
		tr, err := traces.Parse(name, bytes.NewReader(text))
		require.NoError(t, err)
		out = append(out, corpusTrace{strings.TrimSuffix(name, ".trace"), text, tr})
	}
	return out
}

// runCorpus runs a trace, which must be possible.
func runCorpus(t testing.TB, c corpusTrace, o Options) *Result {
	r, err := Run(c.Trace, o)
	require.NoError(t, err)
	return r
}

func TestCorpusGivesTheVerdictsThatItNames(t *testing.T) {
	for _, c := range corpus(t) {
		require.NotEmpty(t, c.Directives.Result, c.name)
		for _, e := range c.Directives.Result {
			t.Run(c.name+"/"+e.Design, func(t *testing.T) {
				r := runCorpus(t, c, Options{Design: e.Design})
				if r.Failure != nil {
					require.Equal(t, e.Verdict, r.Verdict, "%s: %s\n%s", r.Failure.Property, r.Reason, r.Failure.Detail)
				}
				require.Equal(t, e.Verdict, r.Verdict, "%s\n%+v", r.Reason, r.Differs)
				require.Zero(t, r.Report.MadeRoom, "an address is used twice; unmap it first")
				require.Zero(t, r.Report.TakenOver, "a failure that is not performed asks nothing")
			})
		}
	}
}

// okDesigns returns the designs that a trace says come out ok, and every correct
// design that it does not name.
func okDesigns(c corpusTrace) []string {
	names := slices.Clone(designNamesOfTests)
	for _, e := range c.Directives.Result {
		names = slices.DeleteFunc(names, func(n string) bool { return n == e.Design })
		if e.Verdict == "ok" {
			names = append(names, e.Design)
		}
	}
	return names
}

// TestCorpusReadsTheSameOnEveryDesign compares every read and dump of every
// design that comes out ok with those of the first: the correct designs, and those
// whose defects a trace does not show.
func TestCorpusReadsTheSameOnEveryDesign(t *testing.T) {
	for _, c := range corpus(t) {
		var want *Result
		for _, name := range okDesigns(c) {
			r := runCorpus(t, c, Options{Design: name})
			require.Equal(t, "ok", r.Verdict, "%s on %s: %s", c.name, name, r.Reason)
			if want == nil {
				want = r
			}
			require.Equal(t, want.Reads, r.Reads, "%s: %s and %s", c.name, want.Design, r.Design)
			require.Equal(t, want.Dumps, r.Dumps, "%s: %s and %s", c.name, want.Design, r.Design)
			for _, line := range r.Dumps {
				require.NotContains(t, line, "gpu=other", "%s on %s", c.name, r.Design)
			}
		}
	}
}

func TestCorpusRunsTheSameTwice(t *testing.T) {
	for _, c := range corpus(t) {
		for _, d := range designs {
			first := runCorpus(t, c, Options{Design: d.Name})
			again := runCorpus(t, c, Options{Design: d.Name})
			require.Equal(t, first.Fingerprint, again.Fingerprint, "%s on %s", c.name, d.Name)
		}
	}
}

// TestCorpusWithoutOneLineIsRefusedOrRun leaves out each line in turn. What is
// left need make no sense; it must end, with an error or a result.
func TestCorpusWithoutOneLineIsRefusedOrRun(t *testing.T) {
	for _, c := range corpus(t) {
		lines := bytes.SplitAfter(c.text, []byte("\n"))
		for i, line := range lines {
			if len(line) < 2 || line[0] == '#' || testing.Short() && i%5 != 0 {
				continue
			}
			less := append(bytes.Join(lines[:i], nil), bytes.Join(lines[i+1:], nil)...)
			tr, err := traces.Parse(c.name, bytes.NewReader(less))
			if err != nil {
				continue
			}
			for _, d := range designs {
				r, err := Run(tr, Options{Design: d.Name})
				if err != nil {
					continue // it asks for what cannot be performed
				}
				if r.Failure != nil {
					require.Fail(t, r.Failure.Title, "%s without line %d on %s: %s: %s", c.name, i+1, d.Name, r.Verdict, r.Failure.Detail)
				}
			}
		}
	}
}

// TestCorpusBreaksNoPropertyInAnyOrder runs every trace in random interleavings.
// What the lines see may differ from the record then.
func TestCorpusBreaksNoPropertyInAnyOrder(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 4
	}
	for _, c := range corpus(t) {
		t.Run(c.name, func(t *testing.T) {
			for seed := range seeds {
				// Each order on another design, the reference every other time.
				d := designNamesOfTests[0]
				if seed%2 == 1 {
					d = designNamesOfTests[int(seed/2)%len(designNamesOfTests)]
				}
				r := runCorpus(t, c, Options{Design: d, Seed: &seed})
				if r.Failure != nil {
					require.Fail(t, r.Failure.Title, "%s, seed %d: %s: %s", d, seed, r.Verdict, r.Failure.Detail)
				}
			}
		})
	}
}

func TestATraceThatAsksForTheImpossibleIsAnError(t *testing.T) {
	const prelude = `openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = 3</dev/kfd>
openat(AT_FDCWD, "/dev/dri/renderD128", O_RDWR|O_CLOEXEC) = 4</dev/dri/renderD128>
ioctl(3, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=4, gpu_id=1}) = 0
ioctl(3, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0}) = 0
`
	for name, c := range map[string]struct{ text, want string }{
		"no memory":                       {"#: ram: 1\n", "x:1:1: 0 pages of memory on 2 nodes: "},
		"less memory than nodes":          {"#: ram: 32K\n#: nodes: 9\n", "x:1:1: 8 pages of memory on 9 nodes: "},
		"more nodes needed than memory":   {"#: needs: numa=4611686018427387904\n", "x:1:1: 33554432 pages of memory on 4611686018427387904 nodes: "},
		"more memory than a machine has":  {"#: ram: 0x7fffffffffffffff\n", "x:1:1: 2251799813685247 pages of memory on 2 nodes: "},
		"more swap than a machine has":    {"#: swap: 0x7fffffffffffffff\n", "x:1:1: 2251799813685247 pages of swap: "},
		"a GPU access without a queue":    {"gpu.read(1, 0x10000, 1)\n", "x:1:1: gpu.read: the process has no queue on this GPU: "},
		"a GPU that is not there":         {prelude + "gpu.read(2, 0x10000, 1)\n", "x:5:1: gpu.read: the process has no queue"},
		"a GPU of more than 32 bits":      {prelude + "gpu.read(0x100000001, 0x10000, 1)\n", "x:5:1: gpu.read: the process has no queue"},
		"a wait for a GPU without queues": {prelude + "gpu.wait(2)\n", "x:5:1: gpu.wait: the process has no queue"},
		"a sleep that time cannot hold":   {"sleep(18446744073709551615)\n", "x:1:1: sleep of 18446744073709551615 ms: "},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := traces.Parse("x", strings.NewReader(c.text))
			require.NoError(t, err)
			_, err = Run(tr, Options{})
			require.ErrorContains(t, err, c.want)
		})
	}
}

// Where the list of the corpus is.
const (
	readme     = "../traces/README.md"
	listBegins = "## The corpus\n"
)

// listed is the part of the README that this test writes.
func listed(t testing.TB) string {
	var b strings.Builder
	b.WriteString(listBegins + `
Written by hand, without times, and small. Each asks one question, names it in its first line, and is answered ` + "`ok`" + ` by every
correct design (` + "`kfdsim list designs`" + `), with the same bytes seen. What ` + "`#: result:`" + ` expects of designs with defects (` + "`kfdsim list defects`" + `), and
` + "`#: explore:`" + ` in all orders of the lines, is what those traces are for.
` + "`go test ./model -run Corpus`" + ` performs them; with ` + "`-update`" + ` it also writes this list.

`)
	for _, c := range corpus(t) {
		b.WriteString("- `" + c.name + "`: " + c.Directives.Question + "\n")
	}
	return b.String()
}

func TestCorpusAsksOneQuestionInEachFirstLine(t *testing.T) {
	asked := map[string]string{}
	for _, c := range corpus(t) {
		q := c.Directives.Question
		require.True(t, bytes.HasPrefix(c.text, []byte("#: question: ")), c.name)
		require.True(t, strings.HasSuffix(q, "?") && strings.Count(q, "?") == 1, "%s: %q is not one question", c.name, q)
		require.Empty(t, asked[q], "%s asks what %s asks", c.name, asked[q])
		require.NotEmpty(t, c.Directives.Needs, c.name)
		require.False(t, c.Timed, "%s: times are for what strace recorded", c.name)
		asked[q] = c.name
	}
}

// TestREADMECoversWithTracesThatThereAre reads the table of what the corpus covers.
func TestREADMECoversWithTracesThatThereAre(t *testing.T) {
	text, err := os.ReadFile(readme)
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(text), "## What the corpus covers\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n## ")
	named := map[string]bool{}
	for i, name := range strings.Split(table, "`") {
		if i%2 == 1 {
			named[name] = true
		}
	}
	require.Greater(t, len(named), 50)
	for _, c := range corpus(t) {
		delete(named, c.name)
	}
	require.Empty(t, named, "no such traces")
}

func TestREADMEListsTheCorpus(t *testing.T) {
	text, err := os.ReadFile(readme)
	require.NoError(t, err)
	at := strings.Index(string(text), listBegins)
	require.GreaterOrEqual(t, at, 0, "%s has no section %q", readme, listBegins)
	end := len(text)
	if next := strings.Index(string(text[at+len(listBegins):]), "\n## "); next >= 0 {
		end = at + len(listBegins) + next + 1
	}
	want := listed(t)
	if *update {
		all := string(text[:at]) + want + string(text[end:])
		require.NoError(t, os.WriteFile(readme, []byte(all), 0o644))
		return
	}
	require.Equal(t, strings.Split(want, "\n"), strings.Split(string(text[at:end]), "\n"), "go test ./model -run README -update")
}
