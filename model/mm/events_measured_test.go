// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// measured is a row of testdata/events-6.12.117.tsv: what a real kernel did.
type measured struct {
	name   string
	calls  int
	valid  string // "0", "1", "-": not measured
	events string
	fetch  string
}

// measuredCase performs the operation of a row of that name in the model.
type measuredCase struct {
	cfg Config
	// given makes what the notifier watches; nil: 16 populated and fetched pages.
	given func(t *sim.Task, m *MM) *probe
	// before goes first, and its events do not count.
	before, op func(t *sim.Task, m *MM, p *probe)
	// then happened between the operation and the fetch that asked for its effect.
	then func(t *sim.Task, m *MM, p *probe)
	// fetches says that the operation is a fetch, with these flags; it comes last.
	fetches bool
	flags   HMMFlags
}

// measuredCases are all of them, by what they are about.
func measuredCases() map[string]measuredCase {
	all := map[string]measuredCase{}
	for _, cases := range []map[string]measuredCase{
		measuredMappings(), measuredCopies(), measuredFetches(), measuredFiles(), measuredHuge(), measuredPlacement(), measuredKSM(), measuredEnds(),
	} {
		for name, c := range cases {
			if _, twice := all[name]; twice {
				panic("two cases for " + name)
			}
			all[name] = c
		}
	}
	return all
}

func readMeasured(t *testing.T) (rows []measured) {
	text, err := os.ReadFile("testdata/events-6.12.117.tsv")
	require.NoError(t, err)
	above := ""
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		require.Len(t, f, 5, line)
		calls, err := strconv.Atoi(f[1])
		require.NoError(t, err, line)
		name := strings.TrimLeft(f[0], " ")
		if name != f[0] {
			name = above + ": " + name
		} else {
			above = name
		}
		rows = append(rows, measured{name, calls, f[2], f[3], f[4]})
	}
	return rows
}

// TestTheModelDeliversWhatLinuxDelivered is the one table: every operation that was
// measured on Linux 6.12.117, what it delivered to a notifier, and what a fetch gave
// afterwards. The tests of other events_*_test.go files go on where nothing was
// measured.
func TestTheModelDeliversWhatLinuxDelivered(t *testing.T) {
	cases := measuredCases()
	for _, r := range readMeasured(t) {
		c, ok := cases[r.name]
		if !ok {
			continue // TestEveryMeasuredRowIsACaseOrLeftOut
		}
		t.Run(r.name, func(t *testing.T) { c.check(t, r) })
	}
}

func (c *measuredCase) check(t *testing.T, r measured) {
	cfg := c.cfg
	if cfg.RAM == 0 {
		cfg = Config{RAM: 1 << 14, Swap: 1 << 14, Nodes: 2}
	}
	m := newProbeMachine(cfg, nil)
	m.run(t, func(task *sim.Task) {
		a := m.sys.NewMM("1")
		given := c.given
		if given == nil {
			given = watched
		}
		p := given(task, a)
		p.events = nil
		if c.before != nil {
			c.before(task, a, p)
			p.events = nil
		}
		if c.op != nil {
			c.op(task, a, p)
		}
		fetched := ""
		if c.fetches {
			fetched = p.result(task, c.flags)
		}
		r.matches(t, p.events)
		if r.valid != "-" {
			require.Equal(t, r.valid == "1", p.valid, "the fetched pages can still be used")
		}
		if c.then != nil {
			c.then(task, a, p)
		}
		if !c.fetches && r.fetch != "-" {
			fetched = p.result(task, HMMReqFault|HMMReqWrite)
		}
		if r.fetch != "-" {
			require.Equal(t, r.fetch, fetched, "a fetch")
		}
	})
}

// result is a fetch as the table writes it.
func (p *probe) result(t *sim.Task, flags HMMFlags) string {
	if !p.MM.GetNotZero(t) {
		return errno.ESRCH.String()
	}
	defer p.MM.Put(t)
	_, retries, err := p.fetch(t, flags)
	switch {
	case err != 0:
		return err.String()
	case retries > 0:
		return fmt.Sprintf("ok after %d EBUSY", retries)
	}
	return "ok"
}

// kernelNames are the model's words for the table's.
var kernelNames = strings.NewReplacer("PROT_", "PROTECTION_", "[0,ULONG_MAX)", "[0!,max)")

var timesSuffix = regexp.MustCompile(`^(.*\))(@\w+?)?x(\d+)$`)

// matches compares events one by one, except those that the table leaves out.
func (r *measured) matches(t *testing.T, got []string) {
	require.Len(t, got, r.calls, "%v", got)
	if r.events == "-" {
		return // none, or only their number
	}
	parts := strings.Split(kernelNames.Replace(r.events), "...")
	first := oneByOne(parts[0])
	require.GreaterOrEqual(t, len(got), len(first))
	require.Equal(t, first, got[:len(first)])
	if len(parts) == 1 {
		require.Len(t, got, len(first))
		return
	}
	last := oneByOne(parts[1])
	require.Equal(t, last, got[len(got)-len(last):])
}

// oneByOne takes "axN b" apart: N times a, then b.
func oneByOne(events string) []string {
	out := []string{}
	for _, e := range strings.Fields(events) {
		n := 1
		if s := timesSuffix.FindStringSubmatch(e); s != nil {
			e = s[1] + s[2]
			n, _ = strconv.Atoi(s[3])
		}
		for ; n > 0; n-- {
			out = append(out, e)
		}
	}
	return out
}

// leftOut finds the rows that FIDELITY.md gives up.
var leftOut = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

// TestEveryMeasuredRowIsACaseOrLeftOut: model/FIDELITY.md names the rows that the
// model does not repeat, and no others.
func TestEveryMeasuredRowIsACaseOrLeftOut(t *testing.T) {
	text, err := os.ReadFile("../FIDELITY.md")
	require.NoError(t, err)
	var rows, have []string
	for _, r := range readMeasured(t) {
		rows = append(rows, r.name)
	}
	for name := range measuredCases() {
		have = append(have, name)
	}
	for _, s := range leftOut.FindAllStringSubmatch(string(text), -1) {
		have = append(have, s[1])
	}
	sort.Strings(rows)
	sort.Strings(have)
	require.Equal(t, rows, have)
}
