// SPDX-License-Identifier: MIT

package main

// compareVerb compares designs.
func compareVerb(c *command, f *flags, args []string) int {
	live := newLivenessFlags(f)
	design := f.String("design", "", "`designs` to compare, separated by commas; all means the correct ones")
	args, status, done := f.parse(args)
	switch {
	case done:
		return status
	case live.on && len(args) > 0:
		return f.misused("-liveness takes no trace")
	case live.on:
		return c.liveness(f, live, *design)
	}
	c.complain("compare: traces: not built yet")
	return exitUnsupported
}
