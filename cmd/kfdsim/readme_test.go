// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rowsOf returns the cells of the table in a Markdown text whose head begins with
// a word, head first.
func rowsOf(text, head string) [][]string {
	var rows [][]string
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			if rows != nil {
				return rows
			}
		case rows == nil && cells[0] != head || strings.HasPrefix(cells[0], "---"):
		default:
			rows = append(rows, cells)
		}
	}
	return rows
}

func TestReadmeTableIsWhatRunsSay(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	rows := rowsOf(string(readme), "trace")
	require.Greater(t, len(rows), 1)
	designs := rows[0][1:]
	for _, row := range rows[1:] {
		s := kfdsim("", "run", "-design", strings.Join(designs, ","), row[0])
		for i, d := range designs {
			require.Contains(t, s.stdout, "\n"+row[i+1]+"\t"+d+"\t"+row[0]+"\n")
		}
	}
}
