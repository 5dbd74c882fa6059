// SPDX-License-Identifier: MIT

package traces

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// captures returns the captures as strace wrote them, without the overlays.
func captures(t testing.TB) []string {
	files, err := filepath.Glob("captured/*.trace")
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "-batch.trace") })
	require.Len(t, files, 3)
	return files
}

func TestEveryCaptureLoads(t *testing.T) {
	for _, path := range captures(t) {
		f, err := os.Open(path)
		require.NoError(t, err)
		defer f.Close()
		tr, err := Parse(path, f)
		require.NoError(t, err)
		t.Log(path, len(tr.Ops), tr.Skipped, tr.FirstTID, tr.HashString())
	}
}
