// SPDX-License-Identifier: MIT

package traces

import (
	"embed"
	"io/fs"
)

//go:embed *.trace captured/*.trace
var corpus embed.FS

// Corpus returns the traces that are shipped, under their paths in this directory: hand-written ones, each with its
// question, and captured/, recorded from programs.
func Corpus() fs.FS { return corpus }
