// SPDX-License-Identifier: MIT

package model

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/traces"
)

// The outcomes that a real kernel showed, as `kfdsim vm run` printed them: the model
// is compared with them where there is no virtual machine.
const recordedOutcomes = "../testdata/kernel/*/*.outcomes"

// recordedTrace returns the trace of an outcome: one of the corpus, or a random one by
// its number.
func recordedTrace(t *testing.T, o *traces.Outcome) *traces.Trace {
	var seed uint64
	var text []byte
	if n, _ := fmt.Sscanf(o.Trace, "random-%d.trace", &seed); n == 1 {
		text = traces.Random(seed)
	} else {
		f, err := traces.Corpus().Open(filepath.Base(o.Trace))
		require.NoError(t, err)
		defer f.Close()
		var b bytes.Buffer
		_, err = b.ReadFrom(f)
		require.NoError(t, err)
		text = b.Bytes()
	}
	tr, err := traces.Parse(o.Trace, bytes.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, o.Hash, tr.HashString(), "%s has changed since it was recorded: `kfdsim vm run` records it again", o.Trace)
	return tr
}

func TestModelShowsWhatTheKernelShowed(t *testing.T) {
	files, err := filepath.Glob(recordedOutcomes)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		agree, steps := 0, 0
		err = traces.ReadOutcomes(path, bytes.NewReader(text), func(o *traces.Outcome) bool {
			tr := recordedTrace(t, o)
			if o.Skipped != "" {
				return true
			}
			m, res, err := Observe(tr)
			require.NoError(t, err)
			require.Nil(t, res.Failure, o.Trace)
			if m.Skipped != "" {
				return true
			}
			if d := traces.Diverge(m, o); d != nil {
				require.Fail(t, "the model diverges from the kernel", "%s:%d: %s\n%s", o.Trace, d.Line, d.What, d.SideBySide(m, o, 30))
			}
			agree, steps = agree+1, steps+len(o.Steps)
			return true
		})
		require.NoError(t, err)
		require.NotZero(t, agree)
		t.Logf("%s: %d traces, %d lines", path, agree, steps)
	}
}

// TestADefectOfMemoryManagementDiverges: the comparison can fail.
func TestADefectOfMemoryManagementDiverges(t *testing.T) {
	text, err := os.ReadFile("../testdata/kernel/6.12/corpus.outcomes")
	require.NoError(t, err)
	for name, spoil := range map[string]func(o *traces.Outcome) bool{
		"an event less": func(o *traces.Outcome) bool {
			for i := range o.Steps {
				if s := &o.Steps[i]; s.Call == "mmap" && len(s.Notes) > 0 {
					s.Notes = s.Notes[1:]
					return true
				}
			}
			return false
		},
		"another errno": func(o *traces.Outcome) bool {
			o.Steps[len(o.Steps)-1].Result = "-1 EFAULT"
			return true
		},
		"a page that is read-only": func(o *traces.Outcome) bool {
			for i := range o.Steps {
				for k := range o.Steps[i].Notes {
					if p := o.Steps[i].Notes[k].Pages; len(p) > 0 {
						p[0].Write = !p[0].Write
						return true
					}
				}
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			found := false
			err := traces.ReadOutcomes(name, bytes.NewReader(text), func(o *traces.Outcome) bool {
				if o.Skipped != "" || !spoil(o) {
					return true
				}
				m, _, err := Observe(recordedTrace(t, o))
				require.NoError(t, err)
				require.NotNil(t, traces.Diverge(m, o), o.Trace)
				found = true
				return false
			})
			require.NoError(t, err)
			require.True(t, found)
		})
	}
}
