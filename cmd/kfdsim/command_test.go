// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model"
)

var update = flag.Bool("update", false, "write the golden files")

// said is what one invocation printed and returned.
type said struct {
	stdout, stderr string
	status         int
}

// kfdsim performs one invocation; the working directory is the repository.
func kfdsim(stdin string, args ...string) said {
	var out, errs bytes.Buffer
	c := &command{self: "kfdsim", stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs}
	status := c.main(args)
	return said{out.String(), errs.String(), status}
}

func TestMain(m *testing.M) {
	flag.Parse()
	if err := os.Chdir(filepath.Join("..", "..")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

const (
	replaced  = "traces/middle-range-replaced.trace"
	different = "cmd/kfdsim/testdata/different.trace"
	noQueue   = "cmd/kfdsim/testdata/no-queue.trace"
	cut       = "cmd/kfdsim/testdata/cut.trace"
)

func TestGoldenOutputs(t *testing.T) {
	for name, args := range map[string][]string{
		"help":           {"help"},
		"run-help":       {"run", "-h"},
		"explore-help":   {"explore", "-h"},
		"explore":        {"explore", "traces/seq-after-fault.trace"},
		"compare":        {"compare", "-design", "single,batch,wide", "traces/fork-cow.trace", replaced},
		"compare-tsv":    {"compare", "-explore", "-tsv", "-design", "batch,batch+seq-after-fault", "traces/seq-after-fault.trace"},
		"shrink":         {"shrink", "-design", "batch+seq-after-fault", "traces/seq-after-fault.trace"},
		"explore-stale":  {"explore", "-bound", "2", "-design", "batch+last-seq-only", "traces/last-seq-only.trace"},
		"list-windows":   {"list", "windows"},
		"overlay-help":   {"help", "overlay"},
		"run":            {"run", replaced},
		"run-all":        {"run", "-design", "all", replaced},
		"run-differs":    {"run", "-seed", "7", different},
		"run-json":       {"run", "-json", replaced, different},
		"list-designs":   {"list", "designs"},
		"list-defects":   {"list", "defects", "-json"},
		"list-bad-table": {"list", "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			s := kfdsim("", args...)
			s.stdout = strings.ReplaceAll(s.stdout, os.TempDir(), "$TMPDIR")
			got := "$ kfdsim " + strings.Join(args, " ") + "\n" + s.stdout + s.stderr
			path := filepath.Join("cmd", "kfdsim", "testdata", name+".golden")
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got, "go test ./cmd/kfdsim -update, and look at the difference")
		})
	}
}

func TestExitStatusSaysHowItWent(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		status int
		stderr string // part of it; empty: nothing at all
	}{
		"everything ok":                       {[]string{"run", replaced}, exitOK, ""},
		"a recorded result differs":           {[]string{"run", different}, exitFailed, ""},
		"one of two differs":                  {[]string{"run", different, replaced}, exitFailed, ""},
		"no verb":                             {nil, exitUsage, "kfdsim run"},
		"unknown verb":                        {[]string{"dance"}, exitUsage, "kfdsim: dance: not a verb"},
		"help":                                {[]string{"help"}, exitOK, ""},
		"help of a verb":                      {[]string{"help", "run"}, exitOK, ""},
		"help by flag":                        {[]string{"list", "-h"}, exitOK, ""},
		"a verb that is not built":            {[]string{"score", "-ranges", "2", replaced}, exitUnsupported, "kfdsim: score: not built yet"},
		"help of a verb that is not built":    {[]string{"help", "hw"}, exitUnsupported, "kfdsim: hw: not built yet"},
		"a schedule that is not there":        {[]string{"run", "-schedule", "none.trace", replaced}, exitUsage, "open none.trace"},
		"a schedule that is none":             {[]string{"run", "-schedule", replaced, replaced}, exitUsage, replaced + ":1:1: no schedule: "},
		"a schedule and a seed":               {[]string{"run", "-seed", "1", "-schedule", replaced, replaced}, exitUsage, "two interleavings"},
		"a depth without a seed":              {[]string{"run", "-pct", "3", replaced}, exitUsage, "for -seed"},
		"a depth that is too deep":            {[]string{"run", "-seed", "1", "-pct", "1001", replaced}, exitUsage, "from 1 to 1000"},
		"shrink at a depth that is too deep":  {[]string{"shrink", "-seed", "1", "-pct", "1001", replaced}, exitUsage, "from 1 to 1000"},
		"shrink at a depth without a seed":    {[]string{"shrink", "-pct", "3", replaced}, exitUsage, "for -seed"},
		"shrink at a depth below nothing":     {[]string{"shrink", "-seed", "1", "-pct", "-1", replaced}, exitUsage, "from 1 to 1000"},
		"shrink of a schedule and a seed":     {[]string{"shrink", "-seed", "1", "-schedule", replaced, replaced}, exitUsage, "two interleavings"},
		"one file for two results":            {[]string{"run", "-design", "all", "-o", "x", replaced}, exitUsage, "one trace on one design"},
		"lines that are none":                 {[]string{"run", "-lines", "7", replaced}, exitUsage, "FIRST-LAST"},
		"run of lines past the end":           {[]string{"run", "-lines", "500-600", replaced}, exitUsage, "the trace has "},
		"explore of lines past the end":       {[]string{"explore", "-lines", "500-600", replaced}, exitUsage, "the trace has "},
		"shrink of lines past the end":        {[]string{"shrink", "-lines", "500-600", replaced}, exitUsage, "the trace has "},
		"shrink with fewer faults than none":  {[]string{"shrink", "-faults", "-1", replaced}, exitUsage, "at least 0"},
		"nothing to shrink":                   {[]string{"shrink", "-seed", "3", replaced}, exitFailed, "nothing fails"},
		"shrink of two traces":                {[]string{"shrink", replaced, different}, exitUsage, "one trace and one design"},
		"a bound without exploring":           {[]string{"compare", "-bound", "2", replaced}, exitUsage, "are for -explore"},
		"ranges of a table of traces":         {[]string{"compare", "-ranges", "2", replaced}, exitUsage, "are for -liveness"},
		"a seed of a table of traces":         {[]string{"compare", "-seed", "1", replaced}, exitUsage, "are for -liveness"},
		"a table that differs":                {[]string{"compare", "-design", "batch", different}, exitFailed, ""},
		"explore without a trace":             {[]string{"explore"}, exitUsage, "no trace"},
		"explore with no workers":             {[]string{"explore", "-workers", "-1", replaced}, exitUsage, "at least 0"},
		"more workers than there is memory":   {[]string{"explore", "-workers", "1000000000000000000", replaced}, exitOK, ""},
		"a trace that cannot be explored":     {[]string{"explore", noQueue}, exitUsage, noQueue + ":1:1: gpu.read: "},
		"explored and as the trace says":      {[]string{"explore", "-design", "batch+last-seq-only", "traces/last-seq-only.trace"}, exitOK, ""},
		"unknown flag":                        {[]string{"run", "-dance", replaced}, exitUsage, "-dance"},
		"a seed that is no number":            {[]string{"run", "-seed", "x", replaced}, exitUsage, `"x" is no number`},
		"unknown design":                      {[]string{"run", "-design", "v9", replaced}, exitUsage, `design "v9": not known: have batch`},
		"a defect of a design without any":    {[]string{"run", "-design", "mirror+D3", replaced}, exitUsage, "mirror has no defects to switch on: see"},
		"a flag behind the trace":             {[]string{"run", replaced, "-design", "v9"}, exitUsage, "v9"},
		"a trace with the name of a flag":     {[]string{"run", "--", "-design"}, exitUsage, "open -design"},
		"run without a trace":                 {[]string{"run"}, exitUsage, "no trace"},
		"a file that is not there":            {[]string{"run", "none.trace"}, exitUsage, "kfdsim: run: open none.trace"},
		"a trace that is cut":                 {[]string{"run", cut}, exitUsage, cut + ":1:15: "},
		"a trace that cannot be performed":    {[]string{"run", noQueue}, exitUsage, noQueue + ":1:1: gpu.read: "},
		"check of a good trace":               {[]string{"check", replaced}, exitOK, ""},
		"check of a bad trace":                {[]string{"check", cut, replaced}, exitUsage, cut + ":1:15: "},
		"check without a trace":               {[]string{"check"}, exitUsage, "no trace"},
		"list without a name":                 {[]string{"list"}, exitUsage, "name one list"},
		"overlay of two traces":               {[]string{"overlay", replaced, different}, exitUsage, "it takes one"},
		"overlay with a size that is none":    {[]string{"overlay", "-min", "4X", replaced}, exitUsage, `"4X" is no size`},
		"overlay without room for a range":    {[]string{"overlay", "-ranges", "0", replaced}, exitUsage, "at least 1"},
		"overlay that leaves no length":       {[]string{"overlay", "-min", "8K", "-max", "4K", replaced}, exitUsage, "kfdsim: overlay: the longest range"},
		"standard input that is named twice":  {[]string{"run", "-", "-"}, exitUsage, "can be read once"},
		"a directory in place of a trace":     {[]string{"run", "traces"}, exitUsage, "traces"},
		"the same design twice is one design": {[]string{"run", "-design", "batch,all,batch", replaced}, exitOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := kfdsim("", c.args...)
			require.Equal(t, c.status, s.status, s.stderr)
			if c.stderr == "" {
				require.Empty(t, s.stderr)
			} else {
				require.Contains(t, s.stderr, c.stderr)
			}
			if c.status == exitUsage && c.args != nil && c.args[0] == "run" {
				require.Empty(t, s.stdout)
			}
		})
	}
}

func TestVerdictsAreTheLastLines(t *testing.T) {
	s := kfdsim("", "run", "-design", "single,batch", replaced, different)
	lines := strings.Split(strings.TrimRight(s.stdout, "\n"), "\n")
	require.Equal(t, []string{
		"ok\tsingle\t" + replaced,
		"ok\tbatch\t" + replaced,
		"differs\tsingle\t" + different,
		"differs\tbatch\t" + different,
	}, lines[len(lines)-4:])
	require.Equal(t, 4, strings.Count(s.stdout, "\t"+replaced)+strings.Count(s.stdout, "\t"+different))
}

func TestNothingRunsWhenOneInputIsBad(t *testing.T) {
	s := kfdsim("", "run", replaced, cut)
	require.Equal(t, exitUsage, s.status)
	require.Empty(t, s.stdout)
}

func TestTheSmallestBudgetIsOneExecution(t *testing.T) {
	s := kfdsim("", "explore", "-budget", "1ns", "-design", "batch", "traces/seq-after-fault.trace")
	require.Contains(t, s.stdout, "\nexecutions         1\n")
	require.True(t, strings.HasSuffix(s.stdout, "\tstopped (budget)\n"), s.stdout)
}

func TestStandardInputIsATraceForEveryDesign(t *testing.T) {
	data, err := os.ReadFile(replaced)
	require.NoError(t, err)
	s := kfdsim(string(data), "run", "-design", "all", "-")
	require.Equal(t, exitOK, s.status, s.stderr)
	var verdicts strings.Builder
	for _, d := range model.Designs() {
		verdicts.WriteString("ok\t" + d.Name + "\t-\n")
	}
	require.True(t, strings.HasSuffix(s.stdout, verdicts.String()), s.stdout)
}

func TestReplayCommandMakesTheSameRunAgain(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	data, err := os.ReadFile(different)
	require.NoError(t, err)
	for name, args := range map[string][]string{
		"a file":         {"run", "-design", "single", different},
		"standard input": {"run", "-design", "single", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			first := kfdsim(string(data), args...)
			_, command, found := strings.Cut(first.stdout, "\nTo replay: kfdsim ")
			require.True(t, found, first.stdout)
			command, _, _ = strings.Cut(command, "\n")
			again := kfdsim("", strings.Fields(command)...)
			require.Equal(t, exitFailed, again.status, again.stderr)
			fingerprint := func(s said) string {
				_, rest, _ := strings.Cut(s.stdout, "fingerprint")
				line, _, _ := strings.Cut(rest, "\n")
				return line
			}
			require.Equal(t, fingerprint(first), fingerprint(again))
		})
	}
}

func TestJSONIsOneDocumentAndTheSameEveryTime(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for name, args := range map[string][]string{
		"recorded order": {"run", "-json", "-design", "all", replaced},
		"a seed":         {"run", "-json", "-design", "all", "-seed", "11", replaced},
	} {
		t.Run(name, func(t *testing.T) {
			first := kfdsim("", args...)
			var docs []map[string]any
			require.NoError(t, json.Unmarshal([]byte(first.stdout), &docs))
			require.Len(t, docs, len(model.Designs()))
			for i := range 100 {
				runtime.GOMAXPROCS(1 + i%2*7)
				require.Equal(t, first, kfdsim("", args...))
			}
		})
	}
}

func TestOverlayIsATraceOnStandardOutputOrInAFile(t *testing.T) {
	const capture = "traces/captured/onnxruntime-inference.trace"
	s := kfdsim("", "overlay", "-every", "100", "-seed", "2", capture)
	require.Equal(t, exitOK, s.status, s.stderr)
	require.Contains(t, s.stderr, "kfdsim: overlay: "+capture+": ")
	path := filepath.Join(t.TempDir(), "overlaid.trace")
	quiet := kfdsim("", "overlay", "-every", "100", "-seed", "2", "-o", path, capture)
	require.Equal(t, said{"", s.stderr, exitOK}, quiet)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, s.stdout, string(data))
	require.Equal(t, said{"ok\t" + path + "\n", "", exitOK}, kfdsim("", "check", path))
}

func TestOverlayOfNothingLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	s := kfdsim("", "overlay", "-o", filepath.Join(dir, "x.trace"), cut)
	require.Equal(t, exitUsage, s.status)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestResultsAreRefusedWhereTheyCannotGo(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.trace")
	text, err := os.ReadFile(different)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(own, text, 0o644))
	link := own + ".link"
	require.NoError(t, os.Symlink(own, link))
	for name, c := range map[string]struct{ file, stderr string }{
		"over the trace":                    {own, "it is the trace itself"},
		"over the trace, by another name":   {link, "it is the trace itself"},
		"in a directory that is not there":  {filepath.Join(own+".none", "x"), "no such file"},
		"in a directory that is a file":     {filepath.Join(own, "x"), "is no directory"},
		"in place of a directory":           {filepath.Dir(own), "it is a directory"},
		"on standard output, by its letter": {"-", "- is none"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"run", "explore", "shrink"} {
				s := kfdsim("", verb, "-o", c.file, own)
				require.Equal(t, exitUsage, s.status)
				require.Empty(t, s.stdout)
				require.Contains(t, s.stderr, "kfdsim: "+verb+": -o")
				require.Contains(t, s.stderr, c.stderr)
			}
			left, err := os.ReadFile(own)
			require.NoError(t, err)
			require.Equal(t, string(text), string(left))
		})
	}
}

func TestInterruptPrintsWhatIsKnown(t *testing.T) {
	interrupt := make(chan struct{})
	var errs bytes.Buffer
	out := &stopAtFirstWrite{interrupt: interrupt}
	c := &command{self: "kfdsim", stdin: strings.NewReader(""), stdout: out, stderr: &errs, interrupt: interrupt}
	require.Equal(t, exitInterrupted, c.main([]string{"run", "-design", "all", replaced}))
	require.True(t, strings.HasSuffix(out.String(), "ok\tbatch\t"+replaced+"\n"), out.String())
	require.Equal(t, fmt.Sprintf("kfdsim: run: interrupted: 1 of %d runs were done\n", len(model.Designs())), errs.String())
	for _, verb := range []string{"run", "check", "overlay", "shrink"} {
		errs.Reset()
		require.Equal(t, exitInterrupted, c.main([]string{verb, replaced}))
		require.Contains(t, errs.String(), "kfdsim: "+verb+": interrupted")
	}
}

// stopAtFirstWrite is a user who has read enough.
type stopAtFirstWrite struct {
	bytes.Buffer
	interrupt chan struct{}
}

func (s *stopAtFirstWrite) Write(p []byte) (int, error) {
	if s.interrupt != nil {
		close(s.interrupt)
		s.interrupt = nil
	}
	return s.Buffer.Write(p)
}

var _ io.Writer = (*stopAtFirstWrite)(nil)
