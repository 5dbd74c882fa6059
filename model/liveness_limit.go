// SPDX-License-Identifier: MIT

package model

// Limit is the rate up to which the restores of a design end.
type Limit struct {
	// Liveness is the experiment at the highest rate at which most restores ended. Its
	// Chance is 0 if there was none.
	Liveness
	// Never says that no rate stops them, not even an invalidation in each FetchTime.
	Never bool
}

// Rates that a search for a limit tries: 2^(-k/8) invalidations in each FetchTime,
// for k from 0 to 8*lowestRate.
const lowestRate = 16

// eighths are 2^(-k/8), times 2^32.
var eighths = [8]uint64{1 << 32, 3938502376, 3611622603, 3311872529, 3037000500, 2784941738, 2553802834, 2341847524}

// rateOf returns the k-th rate of a search.
func rateOf(k int) uint64 { return eighths[k%8] >> (k / 8) }

// FindLimit looks for the highest rate at which most restores of a load end, by
// bisection: the load's own Chance is not used. A limit is exact to a step, which is
// 9 %, as far as the few restores at each rate can tell.
//
// Errors: as MeasureRestores.
func FindLimit(l Load) (*Limit, error) {
	var best *Liveness
	lo, hi := 0, 8*lowestRate+1 // the answer is in [lo,hi]; hi is none
	for lo < hi {
		k := (lo + hi) / 2
		if l.Place == InGap && best == nil && lo == 0 {
			k = 0 // nothing stops most designs there
		}
		l.Chance = rateOf(k)
		x, err := MeasureRestores(l)
		switch {
		case err != nil:
			return nil, err
		case x.Verdict != "ok":
			return &Limit{Liveness: *x}, nil
		case x.Ends():
			hi, best = k, x
		default:
			lo = k + 1
		}
	}
	if best == nil {
		l.Chance = 0
		return &Limit{Liveness: Liveness{Load: l, Verdict: "ok"}}, nil
	}
	return &Limit{Liveness: *best, Never: lo == 0}, nil
}
