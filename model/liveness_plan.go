// SPDX-License-Identifier: MIT

package model

import "github.com/kfdsim/kfdsim/sim"

// LivenessDesigns are the designs that the review of the series compares, and one
// call for each range beside them. v4 stands without D2, which ends its run at the
// first eviction.
var LivenessDesigns = []string{"batch", "wide", "wideseq", "v4-D2", "multi", "single"}

// livenessRates are the rates at which passes are counted, in invalidations per
// millisecond.
var livenessRates = []struct {
	place Place
	perMS uint64
}{{InRange, 1}, {InRange, 10}, {InGap, 10}}

// Experiment is one point of the comparison: a load, or the search for a limit.
type Experiment struct {
	Load
	Limit bool
}

// LivenessPlan returns the experiments of the comparison, by what they measure, then
// by place, rate, ranges and design.
func LivenessPlan(designs []string, ranges []int, seed uint64) []Experiment {
	var plan []Experiment
	add := func(e Experiment) {
		for _, e.Ranges = range ranges {
			for _, e.Design = range designs {
				plan = append(plan, e)
			}
		}
	}
	for _, place := range []Place{InRange, InGap} {
		add(Experiment{Load{Place: place, Seed: seed, Restores: 7}, true})
	}
	for _, r := range livenessRates {
		chance := r.perMS << 32 / uint64(sim.Millisecond/FetchTime)
		add(Experiment{Load{Place: r.place, Chance: chance, Seed: seed, Restores: 8}, false})
	}
	return plan
}

// LivenessRow is the result of an experiment, ready to print. The means are those of
// the restores that committed in time.
type LivenessRow struct {
	What     string  `json:"what"` // limit, or restore
	Place    string  `json:"place"`
	Ranges   int     `json:"ranges"`
	Design   string  `json:"design"`
	PerMS    float64 `json:"rate_per_ms"` // the rate, or the limit; 0: none ends
	Never    bool    `json:"never"`       // no rate stops it
	Verdict  string  `json:"verdict"`     // ok, or the word of what broke
	Restores int     `json:"restores"`    // that were tried
	GivenUp  int     `json:"given_up"`
	Ends     bool    `json:"ends"`  // most committed in time
	Stale    int     `json:"stale"` // commits of stale pages
	Passes   float64 `json:"passes"`
	Fetched  float64 `json:"fetched"` // ranges
	Stopped  float64 `json:"stopped_ms"`
}

// Run performs the experiment.
//
// Errors: as MeasureRestores.
func (e Experiment) Run() (*LivenessRow, error) {
	row := &LivenessRow{What: "restore"}
	var x *Liveness
	if e.Limit {
		limit, err := FindLimit(e.Load)
		if err != nil {
			return nil, err
		}
		x, row.What, row.Never = &limit.Liveness, "limit", limit.Never
	} else {
		var err error
		if x, err = MeasureRestores(e.Load); err != nil {
			return nil, err
		}
	}
	row.Place, row.Ranges, row.Design, row.PerMS = x.Place.String(), x.Ranges, x.Design, x.PerMS()
	row.Verdict, row.Restores, row.GivenUp, row.Stale, row.Ends = x.Verdict, x.Committed+x.GivenUp, x.GivenUp, x.Stale, x.Ends()
	if n := float64(x.Committed); n > 0 {
		row.Passes, row.Fetched = float64(x.Passes)/n, float64(x.Fetched)/n
		row.Stopped = float64(x.Stopped) / float64(sim.Millisecond) / n
	}
	return row, nil
}
