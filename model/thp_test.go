// SPDX-License-Identifier: MIT

package model

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTracesThatNeedHugePagesHaveThem: a question about huge pages that none is
// there to answer asks nothing.
func TestTracesThatNeedHugePagesHaveThem(t *testing.T) {
	for _, c := range corpus(t) {
		r := runCorpus(t, c, Options{})
		got := r.Counts.HugeFaults + r.Counts.HugeCollapses
		if strings.Contains(strings.Join(c.Directives.Needs, " "), "thp") {
			require.NotZero(t, got, c.name)
		} else {
			require.Zero(t, got, "%s does not say that it needs huge pages", c.name)
		}
	}
}
