// SPDX-License-Identifier: MIT

package sim

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// RaceWidth is how wide a race diagram may be, in columns: what fits into a
// commit message that git indents.
const RaceWidth = 75

// raceColumns is how many tasks get a column of their own; a diagram of more is
// not read.
const raceColumns = 4

// raceName is how much room the last column leaves for the name of a function.
const raceName = 34

// Race draws events as the kernel's commit messages draw a race: a column per
// task, one event per line from top to bottom, the names of C functions.
//
// Columns begin less far apart than a name is long, because only one of them is
// written on each line. The tasks that acted last are drawn; what the others did
// is summed up in the last line. Equal events of one task that follow each other
// are one line.
//
// The text has no line wider than RaceWidth and ends in a newline; it is empty
// without events.
func Race(events []Event) string {
	if len(events) == 0 {
		return ""
	}
	tasks, others := raceTasks(events)
	step := 0
	if len(tasks) > 1 {
		step = (RaceWidth - raceName) / (len(tasks) - 1)
	}
	var b strings.Builder
	raceHead(&b, tasks, step)
	left := 0
	for i := 0; i < len(events); {
		e := &events[i]
		n := 1
		for i+n < len(events) && events[i+n].Task == e.Task && events[i+n].Func == e.Func {
			n++
		}
		i += n
		col := slices.Index(tasks, e.Task)
		if col < 0 {
			left += n
			continue
		}
		raceLine(&b, col*step, raceText(e, n, RaceWidth-col*step))
	}
	if left > 0 {
		fmt.Fprintf(&b, "(left out: %d events of %d other tasks)\n", left, others)
	}
	return b.String()
}

// raceTasks picks the tasks that acted last, in order of their first event, and
// counts those that are left out.
func raceTasks(events []Event) (tasks []*Task, others int) {
	var all, last []*Task
	for i := len(events) - 1; i >= 0; i-- {
		t := events[i].Task
		if slices.Contains(all, t) {
			continue
		}
		all = append(all, t)
		if len(last) < raceColumns {
			last = append(last, t)
		}
	}
	for i := range events {
		t := events[i].Task
		if slices.Contains(last, t) && !slices.Contains(tasks, t) {
			tasks = append(tasks, t)
		}
	}
	return tasks, len(all) - len(last)
}

// raceHead writes the names of the tasks, each above its column: on one line if
// they have room there, else one below the other.
func raceHead(b *strings.Builder, tasks []*Task, step int) {
	stairs := false
	for _, t := range tasks[:len(tasks)-1] {
		stairs = stairs || utf8.RuneCountInString(t.Name()) > step-2
	}
	var names, rule strings.Builder
	at := 0
	for i, t := range tasks {
		name := clip(t.Name(), RaceWidth-i*step)
		n := utf8.RuneCountInString(name)
		names.WriteString(strings.Repeat(" ", i*step-at) + name)
		at = i*step + n
		if stairs && i < len(tasks)-1 {
			names.WriteByte('\n')
			at, n = 0, min(n, step-2)
		}
		rule.WriteString(strings.Repeat(" ", i*step-rule.Len()) + strings.Repeat("-", n))
	}
	b.WriteString(names.String() + "\n" + rule.String() + "\n")
}

// raceText is an event as a call: with its arguments where they fit.
func raceText(e *Event, n, width int) string {
	times := ""
	if n > 1 {
		times = fmt.Sprintf(" x%d", n)
	}
	text := e.Func.name + "()" + times
	if n == 1 {
		if long := e.String(); len(long) <= width {
			text = long
		}
	}
	return clip(text, width)
}

func raceLine(b *strings.Builder, indent int, text string) {
	b.WriteString(strings.Repeat(" ", indent) + text + "\n")
}

// clip shortens text to width columns, with an ellipsis for what is gone.
func clip(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	r := []rune(text)
	return string(r[:width-1]) + "…"
}
