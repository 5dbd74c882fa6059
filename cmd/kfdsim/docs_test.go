// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/traces"
)

// Documents that a newcomer follows; what they say is performed here.
const (
	frontPage  = "README.md"
	traceGuide = "traces/README.md"
	fidelity   = "model/FIDELITY.md"
)

func textOf(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// examples returns the blocks of a Markdown text that are fenced as traces.
func examples(text string) []string {
	var out []string
	for _, block := range strings.Split(text, "\n```trace\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		out = append(out, block)
	}
	return out
}

// codeSpans returns what a Markdown text has between backquotes.
func codeSpans(text string) []string {
	var out []string
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			out = append(out, part)
		}
	}
	return out
}

// run performs a trace on a design.
func run(t *testing.T, name, text, design string) *model.Result {
	tr, err := traces.Parse(name, strings.NewReader(text))
	require.NoError(t, err)
	res, err := model.Run(tr, model.Options{Design: design})
	require.NoError(t, err)
	return res
}

func TestExamplesOfTheGuideAreOKOnEveryDesign(t *testing.T) {
	blocks := examples(textOf(t, traceGuide))
	require.Len(t, blocks, 2)
	for i, text := range blocks {
		for _, d := range model.Designs() {
			res := run(t, traceGuide, text, d.Name)
			require.Equal(t, "ok", res.Verdict, "example %d on %s: %s", i+1, d.Name, res.Reason)
			require.Zero(t, res.Report.Ambient+uint64(len(res.Report.Skipped)), "it shows all that it needs")
		}
	}
}

func TestFirstExampleShowsAWholeTrace(t *testing.T) {
	text := examples(textOf(t, traceGuide))[0]
	lines := regexp.MustCompile(`(?m)^\d`).FindAllString(text, -1)
	require.True(t, len(lines) >= 15 && len(lines) <= 20, "%d lines", len(lines))
	res := run(t, traceGuide, text, "batch")
	require.NotZero(t, res.Counts.Evictions, "its fork replaces a page that the GPU has")
	wrong := strings.Replace(text, "{0x33*4096, ", "{0x11*4096, ", 1)
	require.Equal(t, "differs", run(t, traceGuide, wrong, "batch").Verdict, "the GPU's last read is judged")
}

// fieldsIn returns the names that the code spans of a table cell begin with.
func fieldsIn(cells ...string) []string {
	name := regexp.MustCompile(`^[a-z][a-z_]*`)
	var out []string
	for _, cell := range cells {
		for _, span := range codeSpans(cell) {
			if f := name.FindString(span); f != "" && !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	slices.Sort(out)
	return out
}

// fieldsOf asks the language for the fields of an ioctl: an error lists them. Other
// names of the same member, which the kernel gives to its pointer, are left out.
func fieldsOf(ioctl string) []string {
	line := "ioctl(3, AMDKFD_IOC_" + ioctl + ", {nonsense=0})\n"
	err := traces.Check("x", strings.NewReader(line))
	if err == nil {
		return nil
	}
	_, list, found := strings.Cut(err.Error(), "AMDKFD_IOC_"+ioctl+" has ")
	if !found {
		return []string{err.Error()}
	}
	pointers := []string{"device_ids_array_ptr", "ranges_ptr", "events_ptr"}
	fields := slices.DeleteFunc(strings.Split(list, ", "), func(f string) bool {
		return f == "" || slices.Contains(pointers, f)
	})
	slices.Sort(fields)
	return fields
}

func TestTableOfIoctlsHasTheFieldsOfTheLanguage(t *testing.T) {
	rows := rowsOf(textOf(t, traceGuide), "ioctl")
	require.Greater(t, len(rows), 1)
	listed := map[string]bool{}
	for _, row := range rows[1:] {
		for _, ioctl := range codeSpans(row[0]) {
			listed[ioctl] = true
			require.ElementsMatch(t, fieldsOf(ioctl), fieldsIn(row[1], row[2]), ioctl)
		}
	}
	for nr := range 256 {
		name, known := strings.CutPrefix(traces.IoctlName(uint8(nr)), "AMDKFD_IOC_")
		if known && !listed[name] {
			require.Contains(t, fieldsOf(name)[0], "its struct is not part of the language", "%s is not in the table", name)
		}
	}
}

func TestTableOfPseudoCallsIsWhole(t *testing.T) {
	rows := rowsOf(textOf(t, traceGuide), "call")
	require.Greater(t, len(rows), 1)
	var names []string
	for _, row := range rows[1:] {
		name, _, _ := strings.Cut(codeSpans(row[0])[0], "(")
		names = append(names, name)
	}
	var want []string
	for c := traces.CallCPURead; c <= traces.CallDump; c++ {
		want = append(want, c.String())
	}
	require.ElementsMatch(t, want, names)
}

// TestPseudoCallsToComeAreThoseThatAreUnsupported fails when the model has learnt a
// call that the guide still promises, or the other way round.
func TestPseudoCallsToComeAreThoseThatAreUnsupported(t *testing.T) {
	device := regexp.MustCompile(`(?m)^1 (openat|ioctl\(3, AMDKFD_IOC_(ACQUIRE_VM|CREATE_QUEUE)|mmap\(0x10000).*\n`)
	prelude := strings.Join(device.FindAllString(examples(textOf(t, traceGuide))[0], -1), "")
	values := strings.NewReplacer("gpu_id", "1", "va", "0x400000000", "addr", "0x10000", "len", "4K", "byte", "0x11",
		"npages", "1", "pid", "1", "ms", "1", "[, ASYNC]", "")
	for _, row := range rowsOf(textOf(t, traceGuide), "call")[1:] {
		name, args, _ := strings.Cut(codeSpans(row[0])[0], "(")
		for _, d := range model.Designs() {
			res := run(t, "x", prelude+"1 "+name+"("+values.Replace(args)+"\n", d.Name)
			require.Equal(t, strings.Contains(row[3], "to come"), res.Verdict == "unsupported", "%s on %s: %s", name, d.Name, res.Verdict)
		}
	}
}

func TestDirectivesOfTheGuideAreDirectives(t *testing.T) {
	rows := rowsOf(textOf(t, traceGuide), "directive")
	var text strings.Builder
	var keys []string
	for _, row := range rows[1:] {
		line := codeSpans(row[0])[0]
		text.WriteString(line + "\n")
		key, _, _ := strings.Cut(strings.TrimPrefix(line, "#: "), ":")
		keys = append(keys, key)
	}
	require.NoError(t, traces.Check("x", strings.NewReader(text.String())))
	err := traces.Check("x", strings.NewReader("#: nonsense: 1\n"))
	require.Error(t, err)
	_, known, _ := strings.Cut(err.Error(), "the keys are ")
	require.ElementsMatch(t, strings.Split(known, ", "), keys)
}

func TestVerdictsAreExplained(t *testing.T) {
	var words []string
	for _, row := range rowsOf(textOf(t, frontPage), "word")[1:] {
		words = append(words, strings.Trim(row[0], "`"))
	}
	require.ElementsMatch(t, traces.Verdicts, words)
}

// TestCountersThatAreExplainedAreInTheReport: the names are those that a report
// prints or JSON has.
func TestCountersThatAreExplainedAreInTheReport(t *testing.T) {
	report := kfdsim("", "run", replaced).stdout + kfdsim("", "run", "-json", replaced).stdout
	for _, row := range rowsOf(textOf(t, frontPage), "counter")[1:] {
		for _, name := range codeSpans(row[0]) {
			require.Regexp(t, `(?m)^(`+name+` | +"`+name+`":)`, report)
		}
	}
}

func TestOverlaysAreMadeAsTheGuideSays(t *testing.T) {
	rows := rowsOf(textOf(t, traceGuide), "overlay")
	require.Len(t, rows, 4)
	for _, row := range rows[1:] {
		overlay, capture := codeSpans(row[0])[0], codeSpans(row[1])[0]
		args := append([]string{"overlay"}, strings.Fields(codeSpans(row[2])[0])...)
		s := kfdsim("", append(args, filepath.Join("traces", "captured", capture))...)
		require.Equal(t, exitOK, s.status, s.stderr)
		shipped, err := os.ReadFile(filepath.Join("traces", "captured", overlay))
		require.NoError(t, err)
		require.True(t, bytes.Equal(shipped, []byte(s.stdout)), "%s is not what `%s` makes", overlay, strings.Join(args, " "))
	}
}

// TestFilesThatDocumentsNameAreThere looks at links, and at code spans and commands
// that can only be paths.
func TestFilesThatDocumentsNameAreThere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)\)`)
	path := regexp.MustCompile(`(?:traces|model|cmd|sim|internal|kernel|hw|testdata)/[\w./-]*\w`)
	for _, doc := range []string{frontPage, traceGuide, fidelity} {
		text := textOf(t, doc)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			require.FileExists(t, filepath.Join(filepath.Dir(doc), m[1]), doc)
		}
		if doc == fidelity {
			continue // its paths are the kernel's
		}
		for _, p := range path.FindAllString(text, -1) {
			_, err := os.Stat(p)
			require.NoError(t, err, doc)
		}
	}
}
