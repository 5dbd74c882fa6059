// SPDX-License-Identifier: MIT

package traces

import (
	"fmt"
	"slices"
	"strings"
)

// Outcome is what performing a trace in recorded order showed, on the model or on a kernel: the result of every call,
// the bytes of every read, and what a driver saw that watches ranges of the memory. Nothing in it depends on the
// machine: frames are named in order of their appearance, registrations and tasks by the trace.
type Outcome struct {
	Trace string // its name
	Hash  string // its hash, in hexadecimal
	// By is who performed it: "model", or a kernel's release.
	By string
	// Skipped says why the trace was not performed; there are no steps then.
	Skipped string
	// Crash says what ended the machine while it performed the trace; the steps are those before.
	Crash string
	// Huge says that the trace asks for huge pages. Not part of the text.
	Huge  bool
	Steps []Step // by line; several of one line in order of their ends
}

// Step is one performed line.
type Step struct {
	Line   int
	TID    int
	Call   string
	Result string // as a trace writes it; labels that a call returns are 0
	Notes  []Note // what a driver saw since the step before, in order
}

// NoteKind says what a driver saw.
type NoteKind byte

const (
	NoteRegistered  NoteKind = '+' // a notifier was inserted for [Start,End)
	NoteInvalidated NoteKind = '!' // a callback: Event, [Start,End) as the caller gave it
	NoteFetched     NoteKind = '=' // one attempt of hmm_range_fault on the whole range: Errno, or Pages
)

// Note is one thing that a driver saw of one of its ranges.
type Note struct {
	Kind  NoteKind
	Range int    // registrations are counted from 0, in order
	Event string // MMU_NOTIFY_… without that, e.g. UNMAP
	// Start and End are bytes; End is EndOfMemory for a window over everything.
	Start, End uint64
	// Count is how many equal windows this stands for, each right behind the one before.
	Count    uint64
	NonBlock bool // the callback must not sleep
	Errno    string
	Pages    []PageRun
}

// EndOfMemory is the end of a window over the whole address space.
const EndOfMemory = ^uint64(0)

// PageRun is what hmm_range_fault returned for N pages.
type PageRun struct {
	N uint64
	// Frame names the first one's frame: two pages that are valid at the same time, in any range of any process, have
	// the same number if and only if they have the same frame. -1: the page is not there.
	Frame int
	Same  bool // all N have that frame, else they count up
	Write bool
	Order uint8 // of the CPU's mapping
}

// String prints a note as Outcome.AppendText does, without indentation.
func (n *Note) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%c %d", n.Kind, n.Range)
	switch n.Kind {
	case NoteRegistered:
		fmt.Fprintf(&b, " [%#x,%#x)", n.Start, n.End)
	case NoteInvalidated:
		if n.End == EndOfMemory {
			fmt.Fprintf(&b, " %s [%#x,end)", n.Event, n.Start)
		} else {
			fmt.Fprintf(&b, " %s [%#x,%#x)", n.Event, n.Start, n.End)
		}
		if n.Count > 1 {
			fmt.Fprintf(&b, " x%d", n.Count)
		}
		if n.NonBlock {
			b.WriteString(" nonblock")
		}
	case NoteFetched:
		if n.Errno != "" {
			b.WriteString(" " + n.Errno)
		}
		for i := range n.Pages {
			b.WriteString(" " + n.Pages[i].String())
		}
	}
	return b.String()
}

// String prints a run: `4*#7+rw` are four frames from number 7 on, `4*#7rw` is one frame four times.
func (p *PageRun) String() string {
	if p.Frame < 0 {
		return fmt.Sprintf("%d*none", p.N)
	}
	s := fmt.Sprintf("%d*#%d", p.N, p.Frame)
	if !p.Same && p.N > 1 {
		s += "+"
	}
	if p.Write {
		s += "rw"
	} else {
		s += "ro"
	}
	if p.Order > 0 {
		s += fmt.Sprintf("/%d", p.Order)
	}
	return s
}

// String prints a step's first line.
func (s *Step) String() string { return fmt.Sprintf("%d %d %s = %s", s.Line, s.TID, s.Call, s.Result) }

// BytesText prints bytes as a trace does.
func BytesText(runs []ByteRun) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, r := range runs {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%#x*%d", r.Byte, r.N)
	}
	b.WriteByte('}')
	return b.String()
}

// AppendBytes appends what a piece of memory holds to runs.
func AppendBytes(runs []ByteRun, mem []byte) []ByteRun {
	for i := 0; i < len(mem); {
		j := i + 1
		for j < len(mem) && mem[j] == mem[i] {
			j++
		}
		runs = AppendRun(runs, ByteRun{mem[i], uint64(j - i)})
		i = j
	}
	return runs
}

// AppendRun appends a run, joined with the last one if it is the same byte.
func AppendRun(runs []ByteRun, r ByteRun) []ByteRun {
	if k := len(runs); k > 0 && runs[k-1].Byte == r.Byte {
		runs[k-1].N += r.N
		return runs
	}
	return append(runs, r)
}

// sortSteps brings steps into the order of lines. Calls that block end later than others that began later.
func (o *Outcome) sortSteps() {
	slices.SortStableFunc(o.Steps, func(a, b Step) int { return a.Line - b.Line })
}
