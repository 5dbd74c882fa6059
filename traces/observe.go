// SPDX-License-Identifier: MIT

package traces

import "slices"

// Observer collects an outcome. Model and kernel tell it what they see with numbers of their own; it names frames and
// registrations so that the two can be compared.
//
// The zero value is ready. It is not safe for concurrent use.
type Observer struct {
	outcome Outcome
	notes   []Note
	ranges  int
	// valid are the frames of every registered range that was fetched and not invalidated since, by page.
	valid map[int][]Frame
	// names are the names of frames that some valid range holds, users how many places hold them.
	names map[uint64]int
	users map[uint64]int
	next  int
}

// Frame is what hmm_range_fault returned for one page.
type Frame struct {
	Number  uint64 // the machine's own
	Present bool
	Write   bool
	Order   uint8
}

// Registered notes that a range is watched from now on and returns its number.
func (o *Observer) Registered(start, end uint64) int {
	n := o.ranges
	o.ranges++
	o.notes = append(o.notes, Note{Kind: NoteRegistered, Range: n, Start: start, End: end})
	return n
}

// Unregistered notes that a range is watched no more.
//
// It leaves no note: what a process leaves registered goes at some time after its end.
func (o *Observer) Unregistered(n int) { o.forget(n) }

// Invalidated notes a callback for range n.
func (o *Observer) Invalidated(n int, event string, start, end uint64, nonBlock bool) {
	if !nonBlock {
		o.forget(n)
	}
	if k := len(o.notes); k > 0 && end != EndOfMemory {
		l := &o.notes[k-1]
		size := l.End - l.Start
		if l.Kind == NoteInvalidated && l.Range == n && l.Event == event && l.NonBlock == nonBlock && l.End != EndOfMemory &&
			end-start == size && start == l.Start+l.Count*size {
			l.Count++
			return
		}
	}
	o.notes = append(o.notes, Note{Kind: NoteInvalidated, Range: n, Event: event, Start: start, End: end, Count: 1, NonBlock: nonBlock})
}

// FetchFailed notes an attempt that returned an error.
func (o *Observer) FetchFailed(n int, errno string) {
	o.forget(n)
	o.notes = append(o.notes, Note{Kind: NoteFetched, Range: n, Errno: errno})
}

// Fetched notes the pages of the whole range, in order. It keeps the slice.
func (o *Observer) Fetched(n int, pages []Frame) {
	if o.valid == nil {
		o.valid, o.names, o.users = map[int][]Frame{}, map[uint64]int{}, map[uint64]int{}
	}
	note := Note{Kind: NoteFetched, Range: n}
	for i := range pages {
		note.Pages = appendPage(note.Pages, &pages[i], o.name(&pages[i]))
	}
	o.forget(n) // only now: a page that stayed keeps its name
	o.valid[n] = pages
	o.notes = append(o.notes, note)
}

// name returns the name of a frame; one that nobody holds gets a new one.
func (o *Observer) name(f *Frame) int {
	if !f.Present {
		return -1
	}
	o.users[f.Number]++
	name, ok := o.names[f.Number]
	if !ok {
		name = o.next
		o.next++
		o.names[f.Number] = name
	}
	return name
}

// forget drops what is known about the pages of a range.
func (o *Observer) forget(n int) {
	for _, f := range o.valid[n] {
		if !f.Present {
			continue
		}
		if o.users[f.Number]--; o.users[f.Number] == 0 {
			delete(o.users, f.Number)
			delete(o.names, f.Number)
		}
	}
	delete(o.valid, n)
}

// appendPage appends one page to runs.
func appendPage(runs []PageRun, f *Frame, name int) []PageRun {
	if k := len(runs); k > 0 {
		l := &runs[k-1]
		like := l.Write == f.Write && l.Order == f.Order
		switch {
		case name < 0 && l.Frame < 0:
			l.N++
			return runs
		case name < 0 || l.Frame < 0 || !like:
		case name == l.Frame && (l.N == 1 || l.Same):
			l.N, l.Same = l.N+1, true
			return runs
		case name == l.Frame+int(l.N) && !l.Same:
			l.N++
			return runs
		}
	}
	return append(runs, PageRun{N: 1, Frame: name, Write: f.Write, Order: f.Order})
}

// Step notes that a line was performed. What was seen since the last one belongs to it.
func (o *Observer) Step(line, tid int, call, result string) {
	o.outcome.Steps = append(o.outcome.Steps, Step{Line: line, TID: tid, Call: call, Result: result, Notes: o.notes})
	o.notes = nil
}

// Outcome returns what was collected. What was seen after the last step is left out: it comes from the end of the run.
func (o *Observer) Outcome(t *Trace, by string) *Outcome {
	out := o.outcome
	out.Trace, out.Hash, out.By = t.Name, t.HashString(), by
	out.Huge = asksForHugePages(t)
	out.sortSteps()
	return &out
}

// asksForHugePages says whether a trace needs huge pages or advises to make some.
func asksForHugePages(t *Trace) bool {
	const hugepage, collapse = 14, 25
	if slices.Contains(t.Directives.Needs, "thp") {
		return true
	}
	return slices.ContainsFunc(t.Ops, func(o Op) bool {
		return o.Call == CallMadvise && (o.A[2] == hugepage || o.A[2] == collapse)
	})
}
