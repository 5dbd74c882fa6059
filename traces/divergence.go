// SPDX-License-Identifier: MIT

package traces

import (
	"fmt"
	"slices"
	"strings"
)

// Divergence is the first place where two outcomes of a trace do not agree.
type Divergence struct {
	Line int // of the trace
	What string
	// A and B are the steps there; nil where an outcome has none.
	A, B *Step
}

// Diverge compares what two machines showed and returns the first difference, nil if there is none that counts.
//
// Two kinds of steps are compared by a weaker rule, because what happens in them depends on the kernel's version and on where
// pages lie. Where the kernel looks for work by itself (`mm.ksm`, `mm.compact`, `mm.khugepaged`, `mm.reclaim`), only the
// result counts. Where it moves pages of a trace that asks for huge pages (`move_pages`, `migrate_pages`, `mbind`), it counts
// which ranges were hit, not by how many windows, and from there on a fetch need not find the same pages huge. What was
// fetched or read afterwards is compared as always otherwise.
func Diverge(a, b *Outcome) *Divergence {
	if a.Crash != "" || b.Crash != "" {
		return &Divergence{What: fmt.Sprintf("%s: %q, %s: %q", a.By, a.Crash, b.By, b.Crash)}
	}
	huge, moved := a.Huge || b.Huge, false
	for i := range max(len(a.Steps), len(b.Steps)) {
		switch {
		case i >= len(a.Steps):
			return &Divergence{Line: b.Steps[i].Line, What: "only " + b.By + " performs this line", B: &b.Steps[i]}
		case i >= len(b.Steps):
			return &Divergence{Line: a.Steps[i].Line, What: "only " + a.By + " performs this line", A: &a.Steps[i]}
		}
		x, y := &a.Steps[i], &b.Steps[i]
		moved = moved || huge && moves(x.Call)
		if what := differ(x, y, huge, moved); what != "" {
			return &Divergence{Line: x.Line, What: what, A: x, B: y}
		}
	}
	return nil
}

// byItself says whether the kernel looks for work by itself in a call.
func byItself(call string) bool {
	switch call {
	case "mm.ksm", "mm.compact", "mm.khugepaged", "mm.reclaim":
		return true
	}
	return false
}

// moves says whether a call moves pages to other frames.
func moves(call string) bool {
	return call == "move_pages" || call == "migrate_pages" || call == "mbind"
}

// hit returns the ranges that were invalidated, in order.
func (s *Step) hit() (ranges []int) {
	for i := range s.Notes {
		if s.Notes[i].Kind == NoteInvalidated {
			ranges = append(ranges, s.Notes[i].Range)
		}
	}
	slices.Sort(ranges)
	return slices.Compact(ranges)
}

// note prints a note; without the order of what was fetched, where pages have moved.
func note(n *Note, moved bool) string {
	if moved && n.Kind == NoteFetched {
		return strings.ReplaceAll(n.String(), "/9", "")
	}
	return n.String()
}

// differ says how two steps differ, "" if they do not.
func differ(x, y *Step, huge, moved bool) string {
	switch {
	case x.Line != y.Line || x.Call != y.Call || x.TID != y.TID:
		return "another line"
	case x.Result != y.Result:
		return "result"
	case byItself(x.Call), huge && moves(x.Call) && slices.Equal(x.hit(), y.hit()):
		return ""
	case slices.EqualFunc(x.Notes, y.Notes, func(m, n Note) bool { return note(&m, moved) == note(&n, moved) }):
		return ""
	}
	for i := range max(len(x.Notes), len(y.Notes)) {
		switch {
		case i >= len(x.Notes) || i >= len(y.Notes):
			return "what the driver sees"
		case note(&x.Notes[i], moved) == note(&y.Notes[i], moved):
		case x.Notes[i].Kind == NoteFetched && y.Notes[i].Kind == NoteFetched:
			return "what hmm_range_fault returns"
		case x.Notes[i].Kind == NoteInvalidated && y.Notes[i].Kind == NoteInvalidated:
			return "the notifier events"
		default:
			return "what the driver sees"
		}
	}
	return ""
}

// SideBySide prints the steps of two outcomes up to the divergence in two columns, at most n lines before it.
func (d *Divergence) SideBySide(a, b *Outcome, n int) string {
	left, right := historyLines(a, d.Line), historyLines(b, d.Line)
	var out strings.Builder
	type row struct{ l, r string }
	var rows []row
	for i, j := 0, 0; i < len(left) || j < len(right); {
		var r row
		li, rj := i < len(left), j < len(right)
		switch {
		case li && rj && (left[i].line == right[j].line):
			r = row{left[i].text, right[j].text}
			i, j = i+1, j+1
		case li && (!rj || left[i].line < right[j].line):
			r = row{left[i].text, ""}
			i++
		default:
			r = row{"", right[j].text}
			j++
		}
		rows = append(rows, r)
	}
	rows = rows[max(0, len(rows)-n):]
	width := len(a.By)
	for _, r := range rows {
		width = max(width, len(r.l))
	}
	fmt.Fprintf(&out, "  %-*s   %s\n", width, a.By, b.By)
	for _, r := range rows {
		mark := ' '
		if r.l != r.r {
			mark = '|'
		}
		fmt.Fprintf(&out, "  %-*s %c %s\n", width, r.l, mark, r.r)
	}
	return out.String()
}

type historyLine struct {
	line int
	text string
}

// historyLines are the steps of an outcome up to a line of the trace.
func historyLines(o *Outcome, last int) (out []historyLine) {
	for i := range o.Steps {
		s := &o.Steps[i]
		if last > 0 && s.Line > last {
			break
		}
		out = append(out, historyLine{s.Line, s.String()})
		for k := range s.Notes {
			out = append(out, historyLine{s.Line, "  " + s.Notes[k].String()})
		}
	}
	return out
}
