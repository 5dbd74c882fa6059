// SPDX-License-Identifier: MIT

package gpu

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

func TestFragmentFollowsAlignmentAndLength(t *testing.T) {
	for name, c := range map[string]struct {
		lo, hi uint64
		frag   uint
		end    uint64
	}{
		"one page":                              {0x100, 0x101, 0, 0x101},
		"an odd start":                          {0x101, 0x200, 0, 0x102},
		"length is the limit":                   {0x100, 0x107, 2, 0x104},
		"alignment is the limit":                {0x104, 0x200, 2, 0x108},
		"2 MiB at 2 MiB":                        {0x200, 0x400, 9, 0x400},
		"2 MiB and a bit":                       {0x200, 0x401, 9, 0x400},
		"2 MiB off by one page":                 {0x201, 0x401, 0, 0x202},
		"1 GiB":                                 {0x40000, 0x80000, 18, 0x80000},
		"more than the field can say, in parts": {1 << 32, 1<<32 + 3<<31 + 7, 31, 1<<32 + 3<<31},
	} {
		t.Run(name, func(t *testing.T) {
			frag, end := fragment(c.lo, c.hi)
			require.Equal(t, c.frag, frag)
			require.Equal(t, c.end, end)
		})
	}
}

func TestLargeFragmentsAreFewTableWords(t *testing.T) {
	for name, c := range map[string]struct {
		lo, n              uint64
		fragments, entries uint64
	}{
		"one page":                       {0x1000, 1, 1, 1},
		"sixteen aligned pages":          {0x1000, 16, 1, 16},
		"sixteen pages off by one":       {0x1001, 16, 5, 16},
		"one huge page":                  {0x1000, 512, 1, 1},
		"two huge pages":                 {0x1000, 1024, 1, 2},
		"a huge page that is misaligned": {0x1001, 512, 10, 512},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(nil, 2048)
			m.do(t, func(task *sim.Task) { m.vm.UpdateRange(task, c.lo, c.lo+c.n, run(100, c.n), rw) })
			require.Equal(t, c.fragments, m.dev.Counts.Fragments)
			require.Equal(t, c.entries, m.dev.Counts.EntriesWritten)
			require.Equal(t, c.n, m.dev.Counts.PTEsWritten)
		})
	}
}

func TestScatteredFramesGetNoFragment(t *testing.T) {
	m := newMachine(nil, 2048)
	var runs []phys.Run
	for k := range uint64(64) {
		runs = append(runs, phys.Run{Lo: k, Hi: k + 1, V: 2 + 2*k})
	}
	m.do(t, func(task *sim.Task) { m.vm.UpdateRange(task, 0x1000, 0x1040, runs, rw) })
	require.Equal(t, uint64(64), m.dev.Counts.Fragments)
}

func TestATornFragmentIsCounted(t *testing.T) {
	for name, c := range map[string]struct {
		lo, hi uint64
		torn   uint64
	}{
		"all of it":           {0x1000, 0x1010, 0},
		"its first half":      {0x1000, 0x1008, 1},
		"its middle":          {0x1004, 0x1008, 2},
		"what comes after it": {0x1010, 0x1020, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(nil, 2048)
			m.do(t, func(task *sim.Task) {
				m.vm.UpdateRange(task, 0x1000, 0x1010, run(100, 16), rw)
				m.vm.ClearRange(task, c.lo, c.hi)
			})
			require.Equal(t, c.torn, m.dev.Counts.FragmentsTorn)
		})
	}
}
