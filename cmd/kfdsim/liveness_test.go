// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model"
)

// small is a comparison that takes no time.
var small = []string{"compare", "-liveness", "-ranges", "2,64", "-design", "multi,wide,v4-D2,v4,batch+D1"}

func TestLivenessAsTablesTSVAndJSON(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	for name, args := range map[string][]string{"compare-liveness": nil, "compare-liveness-tsv": {"-tsv"}} {
		s := kfdsim("", append(append([]string{}, small...), args...)...)
		require.Equal(t, exitOK, s.status, s.stderr)
		path := filepath.Join("cmd", "kfdsim", "testdata", name+".golden")
		if *update {
			require.NoError(t, os.WriteFile(path, []byte(s.stdout), 0o644))
		}
		require.Equal(t, textOf(t, path), s.stdout)
	}
	s := kfdsim("", append(append([]string{}, small...), "-json")...)
	var rows []model.LivenessRow
	require.NoError(t, json.Unmarshal([]byte(s.stdout), &rows))
	require.Len(t, rows, 5*2*5)
}

func TestLivenessRefusesBadUsage(t *testing.T) {
	for why, args := range map[string][]string{
		"takes no trace":      {"x.trace"},
		`"1" is no number`:    {"-ranges", "2,1"},
		`"many" is no number`: {"-ranges", "many"},
		"not known":           {"-design", "nonsense"},
	} {
		s := kfdsim("", append([]string{"compare", "-liveness"}, args...)...)
		require.Equal(t, exitUsage, s.status, why)
		require.Contains(t, s.stderr, why)
		require.Empty(t, s.stdout)
	}
}

// livenessPage is the document about the numbers.
const livenessPage = "docs/liveness.md"

// TestLivenessPageShowsWhatTheCommandPrints compares the rows of small numbers of
// ranges in the document with new ones; the others would take a minute.
func TestLivenessPageShowsWhatTheCommandPrints(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	row := regexp.MustCompile(`(?m)^ *(2|16|64|256) +.*$`)
	rows := func(text string) []string {
		var out []string
		for _, line := range row.FindAllString(text, -1) {
			out = append(out, strings.Join(strings.Fields(line), " "))
		}
		return out
	}
	s := kfdsim("", "compare", "-liveness", "-ranges", "2,16,64,256")
	require.Equal(t, exitOK, s.status, s.stderr)
	page := rows(textOf(t, livenessPage))
	require.Len(t, page, 4*5)
	require.Equal(t, rows(s.stdout), page)
}
