// SPDX-License-Identifier: MIT

package sim

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// namedTasks returns tasks that exist only to be drawn.
func namedTasks(names ...string) []*Task {
	var tasks []*Task
	for i, n := range names {
		tasks = append(tasks, &Task{id: i + 1, name: n})
	}
	return tasks
}

func TestRaceHasAColumnPerTaskAndOneEventPerLine(t *testing.T) {
	start := NewFunc("mn_itree_inv_start_range", "start", "end", "seq")
	begin := NewFunc("mmu_interval_read_begin")
	fault := NewFunc("hmm_range_fault", "start", "end", "errno")
	tasks := namedTasks("1 munmap", "restore worker")
	got := Race([]Event{
		{Task: tasks[0], Func: start, Args: [3]uint64{0x10000, 0x14000, 5}},
		{Task: tasks[1], Func: begin},
		{Task: tasks[1], Func: fault, Args: [3]uint64{0x10000, 0x14000, 0}},
		{Task: tasks[1], Func: fault, Args: [3]uint64{0x20000, 0x24000, 0}},
		{Task: tasks[0], Func: NewFunc("mn_itree_inv_end")},
	})
	require.Equal(t, strings.Join([]string{
		"1 munmap                                 restore worker",
		"--------                                 --------------",
		"mn_itree_inv_start_range(start=0x10000, end=0x14000, seq=0x5)",
		"                                         mmu_interval_read_begin()",
		"                                         hmm_range_fault() x2",
		"mn_itree_inv_end()",
		"",
	}, "\n"), got)
}

func TestRaceOfNothingIsEmpty(t *testing.T) {
	require.Empty(t, Race(nil))
}

func TestRaceNamesTasksBelowEachOtherWhereTheyHaveNoRoom(t *testing.T) {
	f := NewFunc("f")
	tasks := namedTasks("a task with a name that is longer than its column", "b")
	got := Race([]Event{{Task: tasks[0], Func: f}, {Task: tasks[1], Func: f}})
	require.Equal(t, strings.Join([]string{
		"a task with a name that is longer than its column",
		"                                         b",
		"---------------------------------------  -",
		"f()",
		"                                         f()",
		"",
	}, "\n"), got)
}

func TestRaceDrawsTheTasksThatActedLastAndCountsTheOthers(t *testing.T) {
	f := NewFunc("f")
	var events []Event
	for i, task := range namedTasks("a", "b", "c", "d", "e", "f") {
		events = append(events, Event{Task: task, Func: f, Step: uint64(i)})
	}
	lines := strings.Split(Race(events), "\n")
	require.Equal(t, []string{"c", "d", "e", "f"}, strings.Fields(lines[0]))
	require.Equal(t, "(left out: 2 events of 2 other tasks)", lines[len(lines)-2])
}

func TestRaceIsNeverWiderThanACommitMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tasks []*Task
		for i := range rapid.IntRange(1, 7).Draw(t, "tasks") {
			name := rapid.StringMatching(`[a-zé ]{1,90}`).Draw(t, "name")
			tasks = append(tasks, &Task{id: i + 1, name: name})
		}
		var events []Event
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			n := rapid.IntRange(1, 90).Draw(t, "len")
			f := NewFunc(strings.Repeat("x", n), "start", "end", "errno")
			a := rapid.Uint64().Draw(t, "arg")
			events = append(events, Event{Task: rapid.SampledFrom(tasks).Draw(t, "task"), Func: f, Args: [3]uint64{a, a, a}})
		}
		for i, line := range strings.Split(Race(events), "\n") {
			if n := utf8.RuneCountInString(line); n > RaceWidth {
				t.Fatalf("line %d is %d wide: %s", i, n, fmt.Sprintf("%q", line))
			}
		}
	})
}
