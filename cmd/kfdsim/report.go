// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// lineFormat is a line of a report: a name and a value.
const lineFormat = "%-18s %v\n"

// writeReport prints what a run says: what ran, what happened, what was not taken
// from the trace as it stands, and what broke; tail is the end of the history.
func writeReport(w io.Writer, res *model.Result, tail []sim.Event) {
	fmt.Fprintf(w, lineFormat, "trace", res.Trace)
	fmt.Fprintf(w, lineFormat, "hash", res.Hash)
	fmt.Fprintf(w, lineFormat, "design", res.Design)
	fmt.Fprintf(w, lineFormat, "seed", orderOf(res))
	fmt.Fprintf(w, lineFormat, "fingerprint", fmt.Sprintf("%s of %d events", res.Fingerprint, res.Events))
	fmt.Fprintf(w, lineFormat, "virtual time", virtualTime(sim.Time(res.VirtualNS)))
	writeVerdict(w, res.Verdict, res.Want)
	fmt.Fprintln(w)
	writeCounts(w, &res.Counts)
	writeLimits(w, &res.Report)
	writeNotes(w, res)
	writeFailure(w, res, tail)
}

// orderOf says which interleaving ran.
func orderOf(res *model.Result) string {
	switch {
	case res.Seed != nil && res.Order != "":
		return fmt.Sprintf("%d (%s)", *res.Seed, res.Order)
	case res.Seed != nil:
		return fmt.Sprint(*res.Seed)
	case res.Order != "":
		return "none (" + res.Order + ")"
	}
	return "none (recorded order)"
}

// writeVerdict prints the word, and what it should have been.
func writeVerdict(w io.Writer, word, want string) {
	switch {
	case want == "":
	case want == word:
		word += ", as the trace says"
	default:
		word += ", but the trace says " + want
	}
	fmt.Fprintf(w, lineFormat, "verdict", word)
}

// virtualTime prints a time as seconds, to the microsecond.
func virtualTime(t sim.Time) string {
	us := t / sim.Microsecond
	return fmt.Sprintf("%d.%06d s", us/1_000_000, us%1_000_000)
}

// alwaysShown are the counters that a report shows even when they are 0.
var alwaysShown = []string{"lines", "ioctls", "notifiers", "invalidations", "evictions", "restores", "pages_faulted", "ptes_written", "tlb_flushes"}

// writeCounts prints the counters under the names that they have in JSON: the main
// ones, and what is not 0.
func writeCounts(w io.Writer, counts *model.Counts) {
	v := reflect.ValueOf(counts).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if n := v.Field(i).Uint(); n != 0 || slices.Contains(alwaysShown, name) {
			fmt.Fprintf(w, lineFormat, name, n)
		}
	}
}

// writeLimits prints what the run did not take from the trace as it stands.
func writeLimits(w io.Writer, rep *model.Report) {
	fmt.Fprintf(w, "\n"+lineFormat, "processes", rep.Processes)
	fmt.Fprintf(w, lineFormat, "threads", rep.Threads)
	fmt.Fprintf(w, lineFormat, "ambient mappings", fmt.Sprintf("%d of %d pages", rep.Ambient, rep.AmbientPages))
	fmt.Fprintf(w, lineFormat, "implied unmaps", rep.MadeRoom)
	fmt.Fprintf(w, lineFormat, "failures taken", rep.TakenOver)
	fmt.Fprintf(w, lineFormat, "skipped calls", topNames(rep.Skipped))
	fmt.Fprintf(w, lineFormat, "undecoded ioctls", rep.Undecoded)
	fmt.Fprintf(w, lineFormat, "not modelled", topNames(rep.Unimplemented))
}

// writeNotes prints what a reader could take for more than it is.
func writeNotes(w io.Writer, res *model.Result) {
	if !res.Compared && res.Order != "schedule" {
		fmt.Fprintf(w, lineFormat, "expectations", "not compared: several tasks ran in another order than the recorded one")
	}
	if res.Counts.BOs == 0 {
		fmt.Fprintf(w, lineFormat, "note", "no user memory was registered; `kfdsim overlay` puts registrations over a capture")
	}
}

// topNames prints the most frequent names and sums up the others.
func topNames(names []traces.NameCount) string {
	const shown = 8
	byCount := slices.Clone(names)
	slices.SortStableFunc(byCount, func(a, b traces.NameCount) int { return cmp.Compare(b.Count, a.Count) })
	total, rest := 0, 0
	var text []string
	for i, n := range byCount {
		total += n.Count
		if i < shown {
			text = append(text, fmt.Sprintf("%s %d", n.Name, n.Count))
		} else {
			rest += n.Count
		}
	}
	if len(byCount) > shown {
		text = append(text, fmt.Sprintf("%d other names %d", len(byCount)-shown, rest))
	}
	if total == 0 {
		return "0"
	}
	return fmt.Sprintf("%d: %s", total, strings.Join(text, ", "))
}

// writeFailure prints what went wrong: a title, what broke, and how it came to
// that.
func writeFailure(w io.Writer, res *model.Result, tail []sim.Event) {
	if res.Verdict == "ok" {
		return
	}
	fmt.Fprintf(w, "\n%s: %s\n\n", res.Verdict, res.Reason)
	for _, d := range res.Differs {
		fmt.Fprintf(w, "%s:%d: %s gives %s, the trace records %s\n", res.Trace, d.Line, d.Call, d.Got, d.Want)
	}
	f := res.Failure
	if f == nil {
		return
	}
	fmt.Fprintf(w, lineFormat, "property", f.Property)
	for _, line := range strings.Split(strings.TrimRight(f.Detail, "\n"), "\n") {
		fmt.Fprintf(w, lineFormat, "what broke it", line)
	}
	where := fmt.Sprintf("step %d, %s", f.Step, virtualTime(f.Time))
	if f.Task != "" {
		where = f.Task + " at " + where
	}
	fmt.Fprintf(w, lineFormat+"\n", "seen by", where)
	io.WriteString(w, sim.Race(tail))
}
