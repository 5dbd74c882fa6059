// SPDX-License-Identifier: MIT

package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Schedule is one interleaving, in words that another build understands: who ran
// for how many steps, in order, by the names of tasks. Of two tasks with one name
// the second is NAME#2.
//
// Its text is a list of
//
//	NAME xN @HASH   NAME performs N steps; where it began, those that could run
//	                hash to HASH
//	fail N          the N-th call of MayFail fails
//
// separated by commas. A run that follows it compares who can run at every switch,
// so that one that has drifted away says so instead of going elsewhere.
type Schedule struct {
	entries []scheduleEntry
}

// scheduleEntry is one element: steps of a task, or, without a task, a failure.
type scheduleEntry struct {
	task string
	n    uint64 // steps, or which call fails
	can  uint32 // hash of who could run
}

// String prints the element as a schedule's text has it.
func (e *scheduleEntry) String() string {
	if e.task == "" {
		return "fail " + strconv.FormatUint(e.n, 10)
	}
	return fmt.Sprintf("%s x%d @%08x", quoteTask(e.task), e.n, e.can)
}

// Len returns the number of elements.
func (c *Schedule) Len() int { return len(c.entries) }

// Fails says whether a call of MayFail fails.
func (c *Schedule) Fails() bool {
	return slices.ContainsFunc(c.entries, func(e scheduleEntry) bool { return e.task == "" })
}

// Switches returns how often the schedule goes from one task to another.
func (c *Schedule) Switches() int {
	n, last := 0, ""
	for i := range c.entries {
		if t := c.entries[i].task; t != "" && t != last {
			if last != "" {
				n++
			}
			last = t
		}
	}
	return n
}

// String prints the schedule on one line.
func (c *Schedule) String() string { return strings.Join(c.Lines(0), "") }

// Lines prints the schedule on lines of at most width bytes, as far as its
// elements allow; 0 means one line. Every line but the last ends in a comma.
func (c *Schedule) Lines(width int) []string {
	var lines []string
	line := ""
	for i := range c.entries {
		word := c.entries[i].String()
		if i < len(c.entries)-1 {
			word += ","
		}
		switch {
		case line == "":
			line = word
		case width > 0 && len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// quoteTask quotes a name that is not plain.
func quoteTask(name string) string {
	for _, r := range name {
		if r <= ' ' || r == ',' || r == '"' || r == '@' || r > '~' {
			return strconv.Quote(name)
		}
	}
	return name
}

// ParseSchedule reads what Lines prints, joined by blanks. The error names the
// element that is wrong.
func ParseSchedule(text string) (*Schedule, error) {
	c := &Schedule{}
	for rest := strings.TrimSpace(text); rest != ""; {
		var e scheduleEntry
		var err error
		if e, rest, err = parseEntry(rest); err != nil {
			return nil, err
		}
		c.entries = append(c.entries, e)
	}
	return c, nil
}

// parseEntry reads one element and the comma behind it.
func parseEntry(text string) (e scheduleEntry, rest string, err error) {
	name, after := "", text
	if strings.HasPrefix(text, `"`) {
		quoted, qerr := strconv.QuotedPrefix(text)
		if qerr != nil {
			return e, "", fmt.Errorf("a name without an end: %.40s", text)
		}
		name, _ = strconv.Unquote(quoted)
		after = text[len(quoted):]
	} else {
		end := strings.IndexByte(text, ' ')
		if end < 0 {
			end = len(text)
		}
		name, after = text[:end], text[end:]
	}
	word, rest, more := strings.Cut(after, ",")
	rest = strings.TrimSpace(rest)
	bad := func() (scheduleEntry, string, error) {
		return e, "", fmt.Errorf("%q: written NAME xN @HASH or fail N", strings.TrimSpace(text[:len(text)-len(rest)]))
	}
	if more && rest == "" || name == "" {
		return bad()
	}
	fields := strings.Fields(word)
	if name == "fail" && len(fields) == 1 {
		e.n, err = strconv.ParseUint(fields[0], 10, 64)
		if err != nil || e.n == 0 {
			return bad()
		}
		return e, rest, nil
	}
	if len(fields) != 2 || fields[0][0] != 'x' || fields[1][0] != '@' || len(fields[1]) != 9 {
		return bad()
	}
	n, err := strconv.ParseUint(fields[0][1:], 10, 64)
	if err != nil || n == 0 {
		return bad()
	}
	can, err := strconv.ParseUint(fields[1][1:], 16, 32)
	if err != nil {
		return bad()
	}
	return scheduleEntry{name, n, uint32(can)}, rest, nil
}

// scheduleName is how a schedule calls the task.
func (t *Task) scheduleName() string {
	if t.twin > 1 {
		return t.name + "#" + strconv.Itoa(t.twin)
	}
	return t.name
}

// hashOfNames identifies a set of tasks.
func hashOfNames(can []*Task) uint32 {
	h := uint64(0xcbf29ce484222325)
	for _, t := range can {
		name := t.scheduleName()
		for i := 0; i < len(name); i++ {
			h = (h ^ uint64(name[i])) * 0x100000001b3
		}
		h = (h ^ uint64(t.state)<<8 ^ 0xff) * 0x100000001b3
	}
	h = mix(h)
	return uint32(h ^ h>>32)
}

// recorder writes down what a preemptive chooser decides.
type recorder struct {
	Schedule
	last  *Task  // of the element that is open
	calls uint64 // of MayFail
}

// Record makes the simulation write down every choice of a preemptive chooser from
// now on.
func (s *Sim) Record() { s.rec = &recorder{} }

// Recorded returns what was written down since Record.
func (s *Sim) Recorded() *Schedule { return &s.rec.Schedule }

func (r *recorder) note(t *Task, can []*Task) {
	if r.last == t {
		r.entries[len(r.entries)-1].n++
		return
	}
	r.last = t
	r.entries = append(r.entries, scheduleEntry{t.scheduleName(), 1, hashOfNames(can)})
}

func (r *recorder) mayFail(fails bool) {
	r.calls++
	if fails {
		r.last = nil
		r.entries = append(r.entries, scheduleEntry{n: r.calls})
	}
}
