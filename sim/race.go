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

// raceNames are how much room the last column leaves for the name of a function, at
// least and at most: as much as the longest there needs.
const raceNameMin, raceNameMax = 34, 46

// Race draws events as the kernel's commit messages draw a race: a column per
// task, one event per line from top to bottom, the names of C functions.
//
// Columns begin less far apart than a name is long, because only one of them is
// written on each line. The tasks that acted last are drawn; what the others did
// is summed up in the last line. Equal events of one task that follow each other
// are one line. Arguments are written as far as they fit: with their names, without,
// or only the first.
//
// The text has no line wider than RaceWidth and ends in a newline; it is empty
// without events.
func Race(events []Event) string {
	if len(events) == 0 {
		return ""
	}
	tasks, others := raceTasks(events)
	step := raceStep(events, tasks)
	var b strings.Builder
	raceHead(&b, tasks, step)
	left := 0
	for i := 0; i < len(events); {
		e := &events[i]
		n := 1
		for i+n < len(events) && events[i+n].Task == e.Task && events[i+n].Func == e.Func {
			n++
		}
		col := slices.Index(tasks, e.Task)
		if col < 0 {
			left += n
		} else {
			raceLine(&b, col*step, raceText(events[i:i+n], RaceWidth-col*step))
		}
		i += n
	}
	if left > 0 {
		fmt.Fprintf(&b, "(left out: %d events of %d other tasks)\n", left, others)
	}
	return b.String()
}

// raceStep is how far apart columns begin.
func raceStep(events []Event, tasks []*Task) int {
	if len(tasks) < 2 {
		return 0
	}
	room := raceNameMin
	for i := range events {
		if events[i].Task == tasks[len(tasks)-1] {
			room = max(room, len(events[i].Func.name)+len("()"))
		}
	}
	return (RaceWidth - min(room, raceNameMax)) / (len(tasks) - 1)
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

// raceText is an event as a call, or several equal ones.
func raceText(events []Event, width int) string {
	e := &events[0]
	if n := len(events); n > 1 {
		return clip(fmt.Sprintf("%s() x%d", e.Func.name, n), width)
	}
	forms := []string{e.String()}
	args := e.Func.args
	var values []string
	for i := 0; i < len(args); i++ {
		if args[i] == "start" && i+1 < len(args) && args[i+1] == "end" {
			values = append(values, fmt.Sprintf("[%#x,%#x)", e.Args[i], e.Args[i+1]))
			i++
			continue
		}
		values = append(values, fmt.Sprintf("%s=%#x", args[i], e.Args[i]))
	}
	for n := len(values); n > 0; n-- {
		forms = append(forms, e.Func.name+"("+strings.Join(values[:n], ", ")+")")
	}
	if len(args) > 0 {
		forms = append(forms, fmt.Sprintf("%s(%#x)", e.Func.name, e.Args[0]))
	}
	forms = append(forms, e.Func.name+"()")
	for _, f := range forms[:len(forms)-1] {
		if len(f) <= width {
			return f
		}
	}
	return clip(forms[len(forms)-1], width)
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
