// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"
)

// Verdicts are the words that judge a design on a trace.
var Verdicts = []string{"ok", "stale", "stuck", "misuse", "leak", "differs", "unproven", "unsupported"}

// Expectation is one `design=verdict` of a result or explore directive.
type Expectation struct{ Design, Verdict string }

// Directives are the `#:` lines of a trace. Sizes are bytes; -1 means that the trace does not say.
type Directives struct {
	Question string
	Needs    []string // in written order

	RAM, Swap, Limit, Memlock int64 // -1: not stated
	GPUs, Nodes               int   // -1: not stated

	Result  []Expectation // in recorded order of lines; sorted by design
	Explore []Expectation // over all interleavings; sorted by design
	Window  []string
	// WindowLine is the first line that names one, 0 if none does.
	WindowLine int
	Attach     bool

	// Of a counterexample: the interleaving that the file is about.
	Counterexample
}

var noDirectives = Directives{RAM: -1, Swap: -1, Limit: -1, Memlock: -1, GPUs: -1, Nodes: -1}

// directiveKeys are all keys, as an error lists them.
const directiveKeys = "question, needs, ram, swap, limit, memlock, gpus, nodes, result, explore, window, attach, " +
	"design, lines, schedule"

// directive decodes a `#: key: value` line. Lists may be continued on further lines; other keys stand once.
func (d *decoder) directive(l *Line) *fault {
	ds := &d.trace.Directives
	key, at := string(l.Key), offset(l.raw, l.Text)
	bad := func(why string) *fault { return &fault{at, "bad value of " + clip(l.Key), why} }
	repeats := key == "needs" || key == "window" || key == "result" || key == "explore" || key == "schedule"
	if !repeats && d.sawDirective[key] {
		return &fault{offset(l.raw, l.Key), "second " + clip(l.Key) + " directive", "it may stand once"}
	}
	if len(l.Text) == 0 {
		at = len(l.raw)
		return bad("there is none")
	}
	size := map[string]*int64{"ram": &ds.RAM, "swap": &ds.Swap, "limit": &ds.Limit, "memlock": &ds.Memlock}[key]
	number := map[string]*int{"gpus": &ds.GPUs, "nodes": &ds.Nodes}[key]
	switch {
	case key == "question":
		ds.Question = string(appendSqueezed(nil, l.Text))
	case key == "needs":
		ds.Needs = append(ds.Needs, listOf(l.Text)...)
	case key == "window":
		if ds.Window == nil {
			ds.WindowLine = l.Num
		}
		ds.Window = append(ds.Window, listOf(l.Text)...)
	case key == "result":
		return d.expectations(l, &ds.Result)
	case key == "explore":
		return d.expectations(l, &ds.Explore)
	case key == "design":
		ds.Design = string(l.Text)
		if strings.ContainsAny(ds.Design, separators) {
			return bad("the name of one design")
		}
	case key == "lines":
		w, err := ParseLineSpan(string(l.Text))
		if err != nil {
			return bad("FIRST-LAST, as 120-140")
		}
		ds.Lines = w
	case key == "schedule":
		if ds.Schedule == nil {
			ds.File, ds.Line = d.trace.Name, l.Num
		}
		ds.Schedule = append(ds.Schedule, string(appendSqueezed(nil, l.Text)))
	case key == "attach":
		if v := string(l.Text); v != "yes" && v != "no" {
			return bad("yes or no")
		}
		ds.Attach = string(l.Text) == "yes"
	case size != nil:
		v, n := parseNumber(l.Text)
		if n == 0 || n != len(l.Text) || v > math.MaxInt64 {
			return bad("a number of bytes, as 64M")
		}
		if v == 0 && (key == "ram" || key == "limit") {
			return bad("at least a byte")
		}
		*size = int64(v)
	case number != nil:
		v, n := parseNumber(l.Text)
		if n == 0 || n != len(l.Text) || v < 1 || v > 1024 {
			return bad("a number from 1 to 1024")
		}
		*number = int(v)
	default:
		return &fault{offset(l.raw, l.Key), "unknown directive " + clip(l.Key), "the keys are " + directiveKeys}
	}
	// A key that is not known never gets here, so that this map stays small.
	d.sawDirective[key] = true
	return nil
}

// separators stand between the elements of a directive's list.
const separators = ", \t\r"

// listOf splits at commas and blanks.
func listOf(text []byte) []string {
	return strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(separators, r) })
}

// expectations decodes `design=verdict ...`.
func (d *decoder) expectations(l *Line, to *[]Expectation) *fault {
	for rest := l.Text; ; {
		rest = bytes.TrimLeft(rest, separators)
		if len(rest) == 0 {
			break
		}
		at, field := offset(l.raw, rest), rest
		if end := bytes.IndexAny(rest, separators); end >= 0 {
			field = rest[:end]
		}
		rest = rest[len(field):]
		eq := bytes.IndexByte(field, '=')
		if eq <= 0 {
			return &fault{at, "bad expectation " + clip(field), "it is written DESIGN=VERDICT"}
		}
		e := Expectation{string(field[:eq]), string(field[eq+1:])}
		if !slices.Contains(Verdicts, e.Verdict) {
			return &fault{at + eq + 1, "unknown verdict " + clip(field[eq+1:]),
				"the verdicts are " + strings.Join(Verdicts, ", ")}
		}
		if seen := string(l.Key) + " " + e.Design; !d.sawDirective[seen] {
			d.sawDirective[seen] = true
		} else {
			return &fault{at, "second verdict for " + clip(field[:eq]), "each design has one"}
		}
		*to = append(*to, e)
	}
	return nil
}

// sortExpectations brings what several lines said into the order of designs.
func (ds *Directives) sortExpectations() {
	for _, list := range [][]Expectation{ds.Result, ds.Explore} {
		slices.SortFunc(list, func(a, b Expectation) int { return cmp.Compare(a.Design, b.Design) })
	}
}
