// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/kfdsim/kfdsim/traces"
)

// flags are the flags of one verb. Unlike the flag package's own, they may stand
// among the arguments.
type flags struct {
	*flag.FlagSet
	c *command
	v verb
}

func newFlags(c *command, v verb) *flags {
	f := &flags{flag.NewFlagSet(v.name, flag.ContinueOnError), c, v}
	f.SetOutput(io.Discard) // messages and help are printed here
	return f
}

// parse returns the arguments that are no flags. When done is true the verb ends
// with status: help was asked for, or the flags are wrong.
func (f *flags) parse(args []string) (rest []string, status int, done bool) {
	for {
		err := f.Parse(args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			f.usage(f.c.stdout)
			return nil, exitOK, true
		case err != nil:
			return nil, f.misused("%v", err), true
		case f.NArg() == 0:
			return rest, 0, false
		}
		if ended := len(args) - f.NArg(); ended > 0 && args[ended-1] == "--" {
			return append(rest, f.Args()...), 0, false
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
}

// given says whether a flag was on the command line.
func (f *flags) given(name string) bool {
	found := false
	f.Visit(func(x *flag.Flag) { found = found || x.Name == name })
	return found
}

// misused says what is wrong with the invocation.
func (f *flags) misused(format string, a ...any) int {
	f.c.complain("%s: %s: see %s %s -h", f.v.name, fmt.Sprintf(format, a...), f.c.self, f.v.name)
	return exitUsage
}

// usage prints the help of the verb.
func (f *flags) usage(w io.Writer) {
	fmt.Fprintf(w, "kfdsim %s %s\n    %s\n", f.v.name, f.v.args, f.v.story)
	f.VisitAll(func(x *flag.Flag) {
		name, story := flag.UnquoteUsage(x)
		if name != "" {
			name = " " + name
		}
		def := ""
		if x.DefValue != "" && x.DefValue != "false" {
			def = " (default " + x.DefValue + ")"
		}
		fmt.Fprintf(w, "\n  -%s%s\n        %s%s\n", x.Name, name, story, def)
	})
}

// optionalUint is a number that may be left out.
type optionalUint struct{ n *uint64 }

// String prints the number; the flag package asks zero values too.
func (o *optionalUint) String() string {
	if o.n == nil {
		return ""
	}
	return strconv.FormatUint(*o.n, 10)
}

// Set parses the number.
func (o *optionalUint) Set(s string) error {
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return fmt.Errorf("%q is no number", s)
	}
	o.n = &n
	return nil
}

// size is a number of bytes, with K, M or G behind it as in traces.
type size uint64

// String prints plain bytes.
func (z *size) String() string { return strconv.FormatUint(uint64(*z), 10) }

// Set parses what String prints, and suffixes.
func (z *size) Set(s string) error {
	digits, shift := s, 0
	if s != "" {
		if i := strings.IndexByte("KMG", s[len(s)-1]); i >= 0 {
			digits, shift = s[:len(s)-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 0, 64)
	if err != nil || n<<shift>>shift != n {
		return fmt.Errorf("%q is no size", s)
	}
	*z = size(n << shift)
	return nil
}

// lineSpan is a part of a trace, FIRST-LAST.
type lineSpan traces.LineSpan

// String prints the span, nothing for all lines.
func (l *lineSpan) String() string {
	if *l == (lineSpan{}) {
		return ""
	}
	return traces.LineSpan(*l).String()
}

// Set parses the span.
func (l *lineSpan) Set(s string) error {
	w, err := traces.ParseLineSpan(s)
	*l = lineSpan(w)
	return err
}

// shellWord quotes a word for a shell if it needs that.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-+./:,@%=", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
