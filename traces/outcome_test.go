// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func frames(numbers ...uint64) (out []Frame) {
	for _, n := range numbers {
		out = append(out, Frame{Number: n, Present: n != 0, Write: true})
	}
	return out
}

func TestAnObserverNamesFramesByAppearance(t *testing.T) {
	var o Observer
	a, b := o.Registered(0x1000, 0x4000), o.Registered(0x8000, 0x9000)
	o.Fetched(a, frames(70, 71, 0))
	o.Fetched(b, frames(71)) // the same page
	o.Step(1, 1, "x", "0")
	o.Invalidated(a, "CLEAR", 0x1000, 0x2000, false)
	o.Invalidated(a, "CLEAR", 0x2000, 0x3000, false)
	o.Fetched(a, frames(99, 71, 70)) // 70 had been given away
	o.Invalidated(b, "RELEASE", 0, EndOfMemory, true)
	o.FetchFailed(b, "EBUSY")
	o.Step(2, 1, "y", "-1 EFAULT")
	tr, err := Parse("t", strings.NewReader(""))
	require.NoError(t, err)
	text := string(o.Outcome(tr, "test").AppendText(nil))
	require.Equal(t, "outcome "+tr.HashString()+` t
by test
1 1 x = 0
  + 0 [0x1000,0x4000)
  + 1 [0x8000,0x9000)
  = 0 2*#0+rw 1*none
  = 1 1*#1rw
2 1 y = -1 EFAULT
  ! 0 CLEAR [0x1000,0x2000) x2
  = 0 1*#2rw 1*#1rw 1*#3rw
  ! 1 RELEASE [0x0,end) nonblock
  = 1 EBUSY
end
`, text)
	again, err := ParseOutcome("t", []byte(text))
	require.NoError(t, err)
	require.Equal(t, text, string(again.AppendText(nil)))
}

func TestBadOutcomesAreErrors(t *testing.T) {
	for name, text := range map[string]string{
		"no outcome":             "",
		"outside":                "1 1 x = 0\n",
		"no end":                 "outcome h n\nby x\n",
		"no step":                "outcome h n\nnonsense\nend\n",
		"a note without a step":  "outcome h n\n  + 0 [0x1,0x2)\nend\n",
		"an unknown note":        "outcome h n\n1 1 x = 0\n  ? 0\nend\n",
		"a note without a range": "outcome h n\n1 1 x = 0\n  ! x CLEAR [0x1,0x2)\nend\n",
		"a bad span":             "outcome h n\n1 1 x = 0\n  ! 0 CLEAR 12\nend\n",
		"a bad page":             "outcome h n\n1 1 x = 0\n  = 0 1*#xrw\nend\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseOutcome("bad", []byte(text))
			require.Error(t, err)
		})
	}
}

func TestRandomTracesAreTraces(t *testing.T) {
	for seed := range uint64(300) {
		text := Random(seed)
		require.Equal(t, text, Random(seed))
		_, err := Parse(RandomName(seed), bytes.NewReader(text))
		require.NoError(t, err, "%s", text)
	}
}

// TestMinimizeKeepsWhatItIsAbout: the smallest text with some lines in it is these lines.
func TestMinimizeKeepsWhatItIsAbout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "d\n"}), 1, 40).Draw(t, "lines")
		want := rapid.SampledFrom([]string{"a\n", "a\nb\n", "a\nb\nc\n", "d\na\n"}).Draw(t, "want")
		has := func(text string) bool {
			rest, ok := text, true
			for _, l := range strings.SplitAfter(strings.TrimSuffix(want, "\n"), "\n") {
				_, rest, ok = strings.Cut(rest, strings.TrimSuffix(l, "\n"))
				if !ok {
					return false
				}
			}
			return true
		}
		text := strings.Join(lines, "")
		if !has(text) {
			t.Skip("not in there")
		}
		got, err := MinimizeInRounds([]byte(text), func(candidates [][]byte) ([]bool, error) {
			ok := make([]bool, len(candidates))
			for i, c := range candidates {
				ok[i] = has(string(c))
			}
			return ok, nil
		})
		require.NoError(t, err)
		require.Equal(t, strings.TrimSuffix(want, "\n"), strings.TrimSuffix(string(got), "\n"))
	})
}

func TestDivergeFindsTheFirstDifference(t *testing.T) {
	step := func(call, result string, notes ...Note) Step {
		return Step{Line: 1, TID: 1, Call: call, Result: result, Notes: notes}
	}
	clear0 := Note{Kind: NoteInvalidated, Event: "CLEAR", Start: 0x1000, End: 0x2000, Count: 1}
	clear1 := clear0
	clear1.Start = 0
	other := clear0
	other.Range = 1
	for name, c := range map[string]struct {
		a, b Step
		huge bool
		want string
	}{
		"the same":                             {step("mmap", "0", clear0), step("mmap", "0", clear0), false, ""},
		"another result":                       {step("mmap", "0"), step("mmap", "-1 ENOMEM"), false, "result"},
		"another window":                       {step("mmap", "0", clear0), step("mmap", "0", clear1), false, "the notifier events"},
		"a window less":                        {step("mmap", "0", clear0), step("mmap", "0"), false, "what the driver sees"},
		"ksmd's own order":                     {step("mm.ksm", "0", clear0), step("mm.ksm", "0"), false, ""},
		"ksmd's result":                        {step("mm.ksm", "0"), step("mm.ksm", "-1 EIO"), false, "result"},
		"huge pages that move as a whole":      {step("move_pages", "0", clear0), step("move_pages", "0", clear1), true, ""},
		"and hit another range":                {step("move_pages", "0", clear0), step("move_pages", "0", other), true, "the notifier events"},
		"small pages that move in another way": {step("move_pages", "0", clear0), step("move_pages", "0", clear1), false, "the notifier events"},
	} {
		t.Run(name, func(t *testing.T) {
			d := Diverge(&Outcome{Steps: []Step{c.a}, Huge: c.huge}, &Outcome{Steps: []Step{c.b}})
			if c.want == "" {
				require.Nil(t, d)
				return
			}
			require.NotNil(t, d)
			require.Equal(t, c.want, d.What)
		})
	}
	d := Diverge(&Outcome{}, &Outcome{Steps: []Step{step("mmap", "0")}})
	require.NotNil(t, d)
	require.NotNil(t, Diverge(&Outcome{}, &Outcome{Crash: "BUG: unable to handle page fault"}))
}
