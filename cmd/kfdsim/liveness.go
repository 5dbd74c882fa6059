// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/kfdsim/kfdsim/model"
)

// livenessFlags are the flags of `compare -liveness`.
type livenessFlags struct {
	on, tsv, asJSON bool
	ranges          string
	seed            uint64
}

func newLivenessFlags(f *flags) *livenessFlags {
	l := &livenessFlags{}
	f.BoolVar(&l.on, "liveness", false, "how many passes a restore takes, and at what rate of invalidations it ends no more")
	f.BoolVar(&l.tsv, "tsv", false, "with -liveness: print every number, separated by tabs, for plotting")
	f.BoolVar(&l.asJSON, "json", false, "with -liveness: print one JSON document")
	f.StringVar(&l.ranges, "ranges", "2,4,8,16,32,64,128,256,512,1024,2048,4096", "with -liveness: `numbers` of ranges in the buffer")
	f.Uint64Var(&l.seed, "seed", 1, "with -liveness: the `number` that decides what is invalidated when")
	return l
}

// liveness performs the comparison and prints it.
func (c *command) liveness(f *flags, l *livenessFlags, list string) int {
	designs := model.LivenessDesigns
	if list != "" {
		var err error
		if designs, err = designsOf(list); err != nil {
			return f.misused("%v", err)
		}
	}
	var ranges []int
	for _, s := range strings.Split(l.ranges, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 2 || n > 1<<20 {
			return f.misused("-ranges: %q is no number from 2 to %d", s, 1<<20)
		}
		ranges = append(ranges, n)
	}
	rows := []*model.LivenessRow{}
	finished := true
	for _, e := range model.LivenessPlan(designs, ranges, l.seed) {
		var row *model.LivenessRow
		var err error
		if finished = c.await(func() { row, err = e.Run() }); !finished {
			break
		}
		if err != nil {
			return f.misused("%v", err)
		}
		rows = append(rows, row)
	}
	var err error
	switch {
	case l.asJSON:
		err = writeLivenessJSON(c.stdout, rows)
	case l.tsv:
		err = writeLivenessTSV(c.stdout, rows)
	default:
		err = writeLivenessTables(c.stdout, rows, designs)
	}
	switch {
	case err != nil:
		c.complain("compare: %v", err)
		return exitUsage
	case !finished:
		return c.interrupted("compare")
	}
	return exitOK
}

func writeLivenessJSON(w io.Writer, rows []*model.LivenessRow) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rows)
}

// writeLivenessTSV prints a line for each experiment.
func writeLivenessTSV(w io.Writer, rows []*model.LivenessRow) error {
	fmt.Fprintln(w, "what\tplace\tranges\tdesign\trate_per_ms\tnever\tverdict\trestores\tgiven_up\tends\tstale\tpasses\tfetched\tstopped_ms")
	for _, r := range rows {
		_, err := fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%.4g\t%t\t%s\t%d\t%d\t%t\t%d\t%.3f\t%.3f\t%.3f\n", r.What, r.Place, r.Ranges, r.Design, r.PerMS,
			r.Never, r.Verdict, r.Restores, r.GivenUp, r.Ends, r.Stale, r.Passes, r.Fetched, r.Stopped)
		if err != nil {
			return err
		}
	}
	return nil
}

// writeLivenessTables prints a table for each thing that was measured: a row for each
// number of ranges, a column for each design.
func writeLivenessTables(w io.Writer, rows []*model.LivenessRow, designs []string) error {
	title := ""
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	ranges := 0
	for _, r := range rows {
		if t := livenessTitle(r); t != title {
			if title != "" {
				fmt.Fprint(tw, "\n\n")
			}
			title, ranges = t, 0
			fmt.Fprintf(tw, "%s\n\nRANGES\t%s", t, strings.ToUpper(strings.Join(designs, "\t")))
		}
		if r.Ranges != ranges {
			ranges = r.Ranges
			fmt.Fprintf(tw, "\n%d", ranges)
		}
		fmt.Fprintf(tw, "\t%s", livenessCell(r))
	}
	if len(rows) > 0 {
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if slices.ContainsFunc(rows, func(r *model.LivenessRow) bool { return r.Stale > 0 }) {
		fmt.Fprintln(w, "\n!  some of these commits gave the GPU stale pages")
	}
	return nil
}

func livenessTitle(r *model.LivenessRow) string {
	where := "of ranges"
	if r.Place == "gap" {
		where = "between ranges"
	}
	if r.What == "limit" {
		return "Invalidations " + where + " per ms up to which a restore of all ranges ends:"
	}
	return fmt.Sprintf("Passes until a restore of all ranges commits; invalidations %s per ms: %.3g", where, r.PerMS)
}

// livenessCell prints one number: with a plus where some restores were given up, and
// a mark where some commits were wrong.
func livenessCell(r *model.LivenessRow) string {
	cell := ""
	switch {
	case r.Verdict != "ok":
		return r.Verdict
	case r.What == "limit" && r.Never:
		cell = "any"
	case r.What == "limit":
		cell = fmt.Sprintf("%.3g", r.PerMS)
	case !r.Ends:
		return "-"
	default:
		cell = fmt.Sprintf("%.1f", r.Passes)
	}
	if r.What == "restore" && r.GivenUp > 0 {
		cell += "+"
	}
	if r.Stale > 0 {
		cell += "!"
	}
	return cell
}
