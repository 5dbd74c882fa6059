// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
	"github.com/stretchr/testify/require"
)

func TestFailureIsTitleThenPropertyThenRace(t *testing.T) {
	s := sim.New(sim.Options{})
	defer s.Close()
	start, begin := sim.NewFunc("mn_itree_inv_start_range", "start"), sim.NewFunc("mmu_interval_read_begin")
	s.Go("1", func(t *sim.Task) { t.Log(start, 0x10000, 0, 0) })
	s.Go("worker", func(t *sim.Task) { t.Log(begin, 0, 0, 0) })
	s.Run()
	var b strings.Builder
	writeFailure(&b, &model.Result{
		Verdict: "stale", Reason: "a GPU page outlives its CPU page",
		Failure: &sim.Failure{Verdict: "stale", Property: "gpu-equals-cpu", Title: "a GPU page outlives its CPU page",
			Detail: "va 0x400000000\nframe 0x10 generation 3, now 4", Task: "worker", Step: 2, Time: 1500 * sim.Microsecond},
	}, s.History().Tail(10))
	require.Equal(t, strings.Join([]string{
		"",
		"stale: a GPU page outlives its CPU page",
		"",
		"property           gpu-equals-cpu",
		"what broke it      va 0x400000000",
		"what broke it      frame 0x10 generation 3, now 4",
		"seen by            worker at step 2, 0.001500 s",
		"",
		"1                                        worker",
		"-                                        ------",
		"mn_itree_inv_start_range(start=0x10000)",
		"                                         mmu_interval_read_begin()",
		"",
	}, "\n"), b.String())
}

func TestOkAndWhatTheTraceWants(t *testing.T) {
	for name, c := range map[string]struct{ verdict, want, line string }{
		"nothing is wanted":   {"ok", "", "ok"},
		"ok is wanted":        {"ok", "ok", "ok, as the trace says"},
		"stale is wanted":     {"stale", "stale", "stale, as the trace says"},
		"stale does not come": {"ok", "stale", "ok, but the trace says stale"},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			writeVerdict(&b, c.verdict, c.want)
			require.Equal(t, "verdict            "+c.line+"\n", b.String())
		})
	}
}

func TestTopNamesSumsUpWhatIsRare(t *testing.T) {
	require.Equal(t, "0", topNames(nil))
	var names []traces.NameCount
	for i := range 10 {
		names = append(names, traces.NameCount{Name: fmt.Sprintf("call%d", i), Count: i + 1})
	}
	require.Equal(t, "55: call9 10, call8 9, call7 8, call6 7, call5 6, call4 5, call3 4, call2 3, 2 other names 3", topNames(names))
}

func TestShellWordsSurviveAShell(t *testing.T) {
	for word, want := range map[string]string{
		"traces/a-b.trace": "traces/a-b.trace",
		"a b":              "'a b'",
		"it's":             `'it'\''s'`,
		"":                 "''",
		"$(x)":             "'$(x)'",
	} {
		require.Equal(t, want, shellWord(word))
	}
}

func TestSizesHaveSuffixes(t *testing.T) {
	for text, want := range map[string]size{"4096": 4096, "4K": 4096, "0x10": 16, "2M": 2 << 20, "1G": 1 << 30} {
		var z size
		require.NoError(t, z.Set(text))
		require.Equal(t, want, z)
	}
	for _, text := range []string{"", "K", "-1", "4KB", "99999999999G"} {
		var z size
		require.Error(t, z.Set(text), text)
	}
}
