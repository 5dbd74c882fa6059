// SPDX-License-Identifier: MIT

// Package docs_test keeps what the documents quote true.
package docs_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "quote the files anew")

// quoted finds a block that quotes a file, or one function of a Go file:
//
//	<!-- path[: Function] -->
//	```
//	text
//	```
var quoted = regexp.MustCompile("(?s)<!-- (\\S+?)(?:: (\\w+))? -->\n```\\w*\n(.*?)```\n")

// quote returns what a block says that it quotes.
func quote(t *testing.T, path, function string) string {
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(path)))
	require.NoError(t, err)
	if function == "" {
		return string(text)
	}
	f := regexp.MustCompile(`(?ms)^func (\([^)]*\) )?` + function + `\(.*?\n}\n`).FindString(string(text))
	require.NotEmpty(t, f, "%s has no function %s", path, function)
	return f
}

func TestDocumentsQuoteTheFilesThatTheyName(t *testing.T) {
	docs, err := filepath.Glob("*.md")
	require.NoError(t, err)
	require.NotEmpty(t, docs)
	for _, doc := range docs {
		text, err := os.ReadFile(doc)
		require.NoError(t, err)
		fresh := quoted.ReplaceAllStringFunc(string(text), func(block string) string {
			m := quoted.FindStringSubmatch(block)
			head, _, _ := strings.Cut(block, "```")
			lang := ""
			if strings.HasSuffix(m[1], ".go") {
				lang = "go"
			}
			return head + "```" + lang + "\n" + quote(t, m[1], m[2]) + "```\n"
		})
		if *update {
			require.NoError(t, os.WriteFile(doc, []byte(fresh), 0o644))
			continue
		}
		require.Equal(t, strings.Split(fresh, "\n"), strings.Split(string(text), "\n"), "go test ./docs -update")
	}
}

// TestLinksOfDocumentsLeadSomewhere looks at links to files of the repository.
func TestLinksOfDocumentsLeadSomewhere(t *testing.T) {
	docs, err := filepath.Glob("*.md")
	require.NoError(t, err)
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, doc := range docs {
		text, err := os.ReadFile(doc)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.FromSlash(m[1]))
			require.NoError(t, err, "%s: %s", doc, m[1])
		}
	}
}
