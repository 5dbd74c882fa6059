// SPDX-License-Identifier: MIT

package vm

import (
	"fmt"
	"time"
)

// Trace is a trace to perform. The text must be a trace.
type Trace struct {
	Name string
	Text []byte
}

// Options say on what to perform traces.
type Options struct {
	// Series is the kernel, e.g. 6.12: the newest of it that is at hand.
	Series string
	// Fetch asks for the newest that there is.
	Fetch bool
	// Limit is how long one machine may run; 0: ten minutes.
	Limit time.Duration
	// Executable is put into the guest; empty: this program.
	Executable string
}

// Report says what performing took.
type Report struct {
	Kernel   string
	Boots    int
	Boot     time.Duration // of the first machine, until it was ready
	Took     time.Duration
	Console  []byte // of the last machine
	Messages []string
}

// Unsupported says what this machine lacks.
type Unsupported struct{ What, Do string }

// Error is what to print: what is missing, and what would help.
func (u *Unsupported) Error() string { return u.What + ": " + u.Do }

func missing(what, do string, args ...any) error {
	return &Unsupported{what, fmt.Sprintf(do, args...)}
}
