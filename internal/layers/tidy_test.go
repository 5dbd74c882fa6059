// SPDX-License-Identifier: MIT

package layers

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// eachFile calls f with every file of the repository whose name ends in ext, by
// its path in the repository.
func eachFile(t *testing.T, ext string, f func(path, text string)) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ext {
			return nil
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		f(filepath.ToSlash(rel), string(text))
		return err
	})
	require.NoError(t, err)
}

func TestGoFilesBeginWithTheirLicence(t *testing.T) {
	eachFile(t, ".go", func(path, text string) {
		want := "// SPDX-License-Identifier: MIT\n"
		if strings.HasPrefix(path, "kernel/") {
			want = "// SPDX-License-Identifier: GPL-2.0 OR MIT\n"
		}
		require.True(t, strings.HasPrefix(text, want), "%s: the first line is not %s", path, want)
	})
}

func TestNamesSayWhatIsInside(t *testing.T) {
	vague := regexp.MustCompile(`(^|[/_])(util|utils|common|helper|helpers|types|misc)([/_.]|$)`)
	eachFile(t, ".go", func(path, _ string) {
		require.False(t, vague.MatchString(path), "%s: a name that fits everything", path)
	})
}

// cited finds `model/FIDELITY.md X`, also where a comment breaks the line.
var cited = regexp.MustCompile(`FIDELITY\.md[\s/]+([A-Z][A-Z0-9-]*[A-Z0-9])`)

// simplification finds a row with an id: its class and the id.
var simplification = regexp.MustCompile(`(?m)^\|.*\| (simplified|stub|none) \|.*\| ([A-Z][A-Z0-9-]*) \|$`)

func TestCodeCitesEverySimplificationAndNoOther(t *testing.T) {
	table, err := os.ReadFile(filepath.Join(root, "model", "FIDELITY.md"))
	require.NoError(t, err)
	cites := map[string]string{} // by id: a file that has it, or why none need
	for _, m := range simplification.FindAllStringSubmatch(string(table), -1) {
		require.NotContains(t, cites, m[2], "it stands twice")
		cites[m[2]] = ""
		if m[1] == "none" {
			cites[m[2]] = "there is no code"
		}
	}
	require.NotEmpty(t, cites)
	eachFile(t, ".go", func(path, text string) {
		for _, m := range cited.FindAllStringSubmatch(text, -1) {
			require.Contains(t, cites, m[1], "%s cites it", path)
			cites[m[1]] = path
		}
	})
	for id, by := range cites {
		require.NotEmpty(t, by, "no code cites %s of model/FIDELITY.md", id)
	}
}
