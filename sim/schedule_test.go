// SPDX-License-Identifier: MIT

package sim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAScheduleIsReadAsItIsPrinted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &Schedule{}
		for range rapid.IntRange(0, 9).Draw(t, "len") {
			e := scheduleEntry{n: rapid.Uint64Min(1).Draw(t, "n")}
			if rapid.IntRange(0, 4).Draw(t, "kind") > 0 {
				e.task = rapid.StringMatching(`[a-z0-9 ,"@#é]{1,9}`).Draw(t, "task")
				e.can = rapid.Uint32().Draw(t, "can")
			}
			c.entries = append(c.entries, e)
		}
		for _, width := range []int{0, 1, 60} {
			got, err := ParseSchedule(strings.Join(c.Lines(width), " "))
			if err != nil || fmt.Sprint(got.entries) != fmt.Sprint(c.entries) {
				t.Fatalf("%q is read as %v: %v", c, got, err)
			}
		}
	})
}

func TestATextThatIsNoScheduleSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		"1 x2":                    `"1 x2": written NAME xN @HASH or fail N`,
		"1 x0 @00000000":          `"1 x0 @00000000"`,
		"1 x2 @00000000,":         `"1 x2 @00000000,"`,
		"1 x2 @0000000":           `"1 x2 @0000000"`,
		"1 x2 @0000000g":          `"1 x2 @0000000g"`,
		"1 x2 @00000000, fail":    `"fail"`,
		"1 x2 @00000000, fail -1": `"fail -1"`,
		`"1 x2 @00000000`:         "a name without an end",
		", 1 x2 @00000000":        "written NAME xN",
	} {
		_, err := ParseSchedule(text)
		require.ErrorContains(t, err, want, text)
	}
}

// replayed runs a toy as a schedule says, which has gone through its text.
func replayed(t require.TestingT, p toy, c *Schedule) (*toyRun, *Replay) {
	c, err := ParseSchedule(c.String())
	require.NoError(t, err)
	r := NewReplay(c)
	return runToy(p, r), r
}

// recordToy runs a toy and writes down what its chooser decides.
func recordToy(p toy, c Chooser) *toyRun { return runToyOn(p, c, true) }

func drawToy(t *rapid.T) toy {
	var p toy
	for range rapid.IntRange(1, 4).Draw(t, "tasks") {
		p = append(p, []byte(rapid.StringOfN(rapid.RuneFrom([]rune("rRwWtqendzkfp")), 0, 6, -1).Draw(t, "ops")))
	}
	return p
}

func TestAReplayDoesWhatItsScheduleSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, seed := drawToy(t), rapid.Uint64().Draw(t, "seed")
		var c Chooser = NewSeeded(seed)
		if depth := rapid.IntRange(0, 4).Draw(t, "depth"); depth > 0 {
			c = NewPCT(seed, depth, 20)
		}
		want := recordToy(p, c)
		got, r := replayed(t, p, want.s.Recorded())
		if m := r.Misfit(); m != nil {
			t.Fatalf("%s: %v", want.s.Recorded(), m)
		}
		if fmt.Sprint(got.saw, got.val) != fmt.Sprint(want.saw, want.val) {
			t.Fatalf("%v %v, replayed %v %v", want.saw, want.val, got.saw, got.val)
		}
	})
}

func TestEveryExecutionOfAnExplorationReplays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, left := drawToy(t), 20
		Explore(ExploreOptions{Bound: -1, Faults: 2}, func(g *Guide) any { return runToy(p, g) }, func(out any, g *Guide) bool {
			want := out.(*toyRun)
			again := recordToy(p, g.Again())
			got, r := replayed(t, p, again.s.Recorded())
			if m := r.Misfit(); m != nil {
				t.Fatalf("%s: %v", again.s.Recorded(), m)
			}
			for _, x := range []*toyRun{again, got} {
				if fmt.Sprint(x.saw, x.val) != fmt.Sprint(want.saw, want.val) {
					t.Fatalf("%v %v, again %v %v", want.saw, want.val, x.saw, x.val)
				}
			}
			left--
			return left > 0
		})
	})
}

func TestAScheduleThatDoesNotFitSaysAtWhichStepAndWhoCouldRun(t *testing.T) {
	p := toy{[]byte("rr"), []byte("ww")}
	text := recordToy(p, NewSeeded(1)).s.Recorded().String()
	first, rest, _ := strings.Cut(text, ", ")
	name, _, _ := strings.Cut(first, " ")
	for what, c := range map[string]struct{ text, want string }{
		"another set of tasks":     {name + " x1 @00000000, " + rest, `step 1: "` + name + ` x1 @00000000" is wanted, and others could run: runnable are 0, 1`},
		"a task that is not there": {"kswapd0 x1 @00000000", `step 1: "kswapd0 x1 @00000000" is wanted, and cannot run: runnable are 0, 1`},
		"an early end":             {first, "the schedule ends here: runnable are "},
		"a late end":               {text + ", kswapd0 x1 @00000000", `"kswapd0 x1 @00000000" is wanted, and the run has ended`},
		"a call that did not fail": {"fail 1, " + text, `step 1: "fail 1" is wanted, and nothing has failed: runnable are 0, 1`},
	} {
		c0, err := ParseSchedule(c.text)
		require.NoError(t, err, what)
		_, r := replayed(t, p, c0)
		require.NotNil(t, r.Misfit(), what)
		require.Contains(t, r.Misfit().Error(), c.want, what)
	}
}

func TestTasksWithOneNameAreNumbered(t *testing.T) {
	s := New(Options{Chooser: NewSeeded(3)})
	s.Record()
	for range 3 {
		s.Go("worker", func(t *Task) { t.Point() })
	}
	s.Run()
	text := s.Recorded().String()
	for _, name := range []string{"worker x", "worker#2 x", "worker#3 x"} {
		require.Contains(t, text, name)
	}
	require.GreaterOrEqual(t, s.Recorded().Switches(), 2)
}

// TestPCTFindsAnOrderThatChanceMisses: a task must run to its end before another
// begins its last step, among many others.
func TestPCTFindsAnOrderThatChanceMisses(t *testing.T) {
	const tries = 200
	count := func(chooser func(seed uint64) Chooser) (hits int) {
		for seed := range uint64(tries) {
			p := toy{[]byte("ppppppppppppppppw"), []byte("pr")}
			r := runToy(p, chooser(seed))
			if strings.TrimSpace(r.saw[1]) != "0" {
				hits++
			}
		}
		return hits
	}
	pct := count(func(seed uint64) Chooser { return NewPCT(seed, 1, 40) })
	random := count(func(seed uint64) Chooser { return NewSeeded(seed) })
	require.Greater(t, pct, tries/4)
	require.Less(t, random, tries/20)
}
