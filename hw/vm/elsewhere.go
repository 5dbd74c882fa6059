// SPDX-License-Identifier: MIT

//go:build !(linux && amd64)

package vm

import (
	"context"
	"io"

	"github.com/kfdsim/kfdsim/traces"
)

// Perform cannot be done here: the guest is this very program.
func Perform(context.Context, Options, []Trace, func(*traces.Outcome)) (*Report, error) {
	return nil, missing("virtual machines need Linux on x86-64", "run kfdsim there")
}

// BuildObserver cannot be done here.
func BuildObserver(Options, io.Writer) error {
	return missing("the module is built on Linux on x86-64", "run kfdsim there")
}
