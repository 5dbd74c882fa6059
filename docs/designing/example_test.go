// SPDX-License-Identifier: MIT

package designing_test

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/kfdsim/kfdsim/docs/designing"
	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/traces"
)

//go:embed two-ranges.trace
var twoRanges string

// Example explores every interleaving of a trace on a design of one's own: first
// with a mistake, then without.
func Example() {
	tr, err := traces.Parse("two-ranges.trace", strings.NewReader(twoRanges))
	if err != nil {
		fmt.Println(err) // file:line:col: what: why
		return
	}
	for _, mistake := range []bool{true, false} {
		o := model.Options{New: func() kfd.Design { return &designing.Array{SeqInLoop: mistake} }}
		x, err := model.Explore(tr, model.ExploreOptions{Options: o, Workers: 2})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(x.Verdict, x.Design, x.Extent)
		if x.Failed != nil {
			fmt.Println(x.Reason) // sim.Race(x.Failed.Tail()) draws how it came to that
		}
	}
	// Output:
	// stale array complete
	// a commit uses pages of a fetch that an invalidation has beaten
	// ok array complete
}

// Example_run performs a trace in recorded order, and in a random one.
func Example_run() {
	tr, err := traces.Parse("two-ranges.trace", strings.NewReader(twoRanges))
	if err != nil {
		fmt.Println(err)
		return
	}
	o := model.Options{New: func() kfd.Design { return &designing.Array{} }}
	for _, seed := range []*uint64{nil, new(uint64)} {
		o.Seed = seed
		r, err := model.Run(tr, o)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r.Verdict, "evictions", r.Counts.Evictions, "passes", r.Counts.RestorePasses)
	}
	// Output:
	// ok evictions 2 passes 1
	// ok evictions 2 passes 2
}
