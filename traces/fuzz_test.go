// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// printed reads text and prints it again, leaving out the lines that do not fit.
func printed(t require.TestingT, text []byte) []byte {
	var out []byte
	for r := NewReader("in", bytes.NewReader(text)); ; {
		l, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			require.IsType(t, &Error{}, err)
			continue
		}
		start := len(out)
		out = AppendLine(out, l)
		require.Equal(t, string(out[start:]), string(appendRead(nil, l)), "both ways to print agree")
		require.Equal(t, string(out[start:]), string(AppendLine(nil, l.Clone())), "a clone prints the same")
		out = append(out, '\n')
	}
}

// withoutLines returns the Ops with their line numbers and what hangs on them made equal: printing may move lines.
func withoutLines(ops []Op) []Op {
	out := append([]Op(nil), ops...)
	for i := range out {
		out[i].Line = 0
	}
	return out
}

// requireSound checks everything that must hold for any input.
func requireSound(t require.TestingT, text []byte) {
	once := printed(t, text)
	twice := printed(t, once)
	require.Equal(t, string(once), string(twice), "printing twice is printing once")

	tr, err := Parse("in", bytes.NewReader(text))
	checked := Check("in", bytes.NewReader(text))
	if err != nil {
		require.IsType(t, Errors{}, err)
		require.EqualError(t, checked, err.Error(), "Check finds what Parse finds")
		return
	}
	require.NoError(t, checked, "Check finds what Parse finds")
	again, err := Parse("in", bytes.NewReader(once))
	require.NoError(t, err, "a printed trace is a trace")
	require.Equal(t, tr.Hash, again.Hash, "printing keeps the hash")
	require.Equal(t, withoutLines(tr.Ops), withoutLines(again.Ops), "printing keeps the meaning")
	require.Equal(t, tr.Directives, again.Directives)
	require.Equal(t, tr.Skipped, again.Skipped)
	for i := range tr.Ops {
		if o := &tr.Ops[i]; o.Call == CallResume {
			require.Equal(t, int32(i), tr.Ops[o.Ref].Ref)
			require.Equal(t, Unfinished, tr.Ops[o.Ref].Phase)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) { requireSound(t, text) })
}
