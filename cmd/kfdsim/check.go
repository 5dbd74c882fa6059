// SPDX-License-Identifier: MIT

package main

import "fmt"

// checkVerb checks traces, in memory that does not grow with their length.
func checkVerb(c *command, f *flags, args []string) int {
	args, status, done := f.parse(args)
	switch {
	case done:
		return status
	case len(args) == 0:
		return f.misused("no trace")
	}
	status = exitOK
	for _, name := range args {
		in := input{name: name, path: name}
		var err error
		if !c.await(func() { err = in.check() }) {
			return c.interrupted("check")
		}
		if err != nil {
			c.badInput("check", err)
			status = exitUsage
			continue
		}
		fmt.Fprintf(c.stdout, "ok\t%s\n", name)
	}
	return status
}
