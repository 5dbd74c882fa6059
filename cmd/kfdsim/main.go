// SPDX-License-Identifier: MIT

// Command kfdsim runs traces of amdkfd user memory on designs of the driver and
// says what breaks.
//
//	main.go    which verb, exit codes       run.go explore.go shrink.go overlay.go check.go list.go  one verb each
//	judge.go   what the verbs that judge share
//	flags.go   flags of every verb          input.go   traces that were named: spooled and checked
//	report.go  what run prints for people   document.go  what -json prints
//
// It holds no logic of its own: it reads flags, calls package model or traces,
// and prints. Data goes to standard output, everything else to standard error.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/kfdsim/kfdsim/traces"
)

// Exit statuses.
const (
	exitOK          = 0   // everything came out ok, or as its trace says
	exitFailed      = 1   // a property broke, or an expectation differs
	exitUsage       = 2   // bad usage or bad input
	exitUnsupported = 3   // this design, machine or build cannot do it
	exitInterrupted = 130 // Ctrl-C
)

// command is one invocation.
type command struct {
	self   string // what a shell runs to get this command again
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	// interrupt is closed at the first Ctrl-C.
	interrupt <-chan struct{}
}

// verb is one of the words that may follow kfdsim.
type verb struct {
	name, args, story string
	run               func(c *command, f *flags, args []string) int
}

var verbs = []verb{
	{"run", "[-design D[,D...]|all] [-seed N [-pct D] | -schedule FILE] [-lines A-B] [-o FILE] [-json] TRACE...", "run traces on designs, one interleaving each, and judge", runVerb},
	{"explore", "[-design D[,D...]|all] [-bound N] [-budget 30s] [-workers N] [-faults N] [-lines A-B] [-o FILE] [-json] TRACE...", "go through all interleavings that matter, or say why not", exploreVerb},
	{"shrink", "[-design D] [-seed N [-pct D] | -schedule FILE] [-faults N] [-lines A-B] [-o FILE] TRACE", "make a failing trace and its interleaving small: one file that run replays", shrinkVerb},
	{"check", "TRACE...", "check that traces are traces", checkVerb},
	{"overlay", "[-min N] [-max N] [-ranges N] [-every N] [-seed N] [-batches N] [-o FILE] TRACE", "put GPU registrations over a capture", overlayVerb},
	{"compare", "-liveness [-design D[,D...]|all] [-ranges N[,N...]] [-seed N] [-tsv|-json]", "how long restores take while memory goes on being invalidated", compareVerb},
	{"list", "[-json] designs|defects|properties|windows|traces", "what there is", listVerb},
}

// planned are the verbs whose names are taken already.
var planned = []string{"score", "fuzz", "capture", "hw", "vm"}

func main() {
	interrupt := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	go func() {
		<-signals
		signal.Stop(signals) // a second Ctrl-C ends the process at once
		close(interrupt)
	}()
	c := &command{self: selfName(os.Args[0]), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, interrupt: interrupt}
	os.Exit(c.main(os.Args[1:]))
}

// selfName returns what to paste into a shell: a binary of `go run` is in the
// build cache, where nobody looks for it.
func selfName(argv0 string) string {
	if strings.Contains(filepath.ToSlash(argv0), "/go-build") {
		return "go run github.com/kfdsim/kfdsim/cmd/kfdsim"
	}
	return shellWord(argv0)
}

// main performs one invocation and returns its exit status.
func (c *command) main(args []string) int {
	traces.Stdin = c.stdin
	if len(args) == 0 {
		c.help(c.stderr)
		return exitUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return c.helpVerb(args)
	}
	for _, v := range verbs {
		if v.name == name {
			return v.run(c, newFlags(c, v), args)
		}
	}
	for _, p := range planned {
		if p == name {
			c.complain("%s: not built yet", name)
			return exitUnsupported
		}
	}
	c.complain("%s: not a verb: see %s help", name, c.self)
	return exitUsage
}

// helpVerb prints what there is, or the help of one verb.
func (c *command) helpVerb(args []string) int {
	if len(args) == 0 {
		c.help(c.stdout)
		return exitOK
	}
	return c.main([]string{args[0], "-h"})
}

// help prints one line per verb.
func (c *command) help(w io.Writer) {
	fmt.Fprintf(w, "kfdsim runs traces of amdkfd user memory on designs of the driver and says what breaks.\n\n")
	for _, v := range verbs {
		fmt.Fprintf(w, "  kfdsim %s %s\n        %s\n", v.name, v.args, v.story)
	}
	fmt.Fprintf(w, "\nkfdsim VERB -h says more. A trace called - is standard input.\n"+
		"Exit status: 0 all ok; 1 a property failed or an expectation differs;\n"+
		"2 bad usage or bad input; 3 unsupported here; 130 interrupted.\n")
}

// complain prints a message of the command itself.
func (c *command) complain(format string, a ...any) {
	fmt.Fprintf(c.stderr, "kfdsim: "+format+"\n", a...)
}

// badInput prints why a trace cannot be used.
func (c *command) badInput(verb string, err error) {
	var e *traces.Error
	if errors.As(err, &e) {
		fmt.Fprintln(c.stderr, err) // file:line:col: what: why
		return
	}
	c.complain("%s: %s", verb, strings.TrimPrefix(err.Error(), verb+": "))
}

// interrupted says that a verb did not get to its end.
func (c *command) interrupted(verb string) int {
	c.complain("%s: interrupted", verb)
	return exitInterrupted
}

// await runs f and returns true, or false at Ctrl-C: then f was abandoned or not
// begun, and nothing that it writes may be read.
func (c *command) await(f func()) bool {
	select {
	case <-c.interrupt:
		return false
	default:
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return true
	case <-c.interrupt:
		return false
	}
}
