// SPDX-License-Identifier: GPL-2.0 OR MIT

// Package kernel holds the sources of what is built against a kernel, for those who
// build it.
package kernel

import (
	"embed"
	"io/fs"
)

//go:embed observer/Kbuild observer/*.c observer/*.h
var sources embed.FS

// Observer returns the sources of the observer module, kfdsim_observer.
func Observer() fs.FS {
	f, err := fs.Sub(sources, "observer")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return f
}
