// SPDX-License-Identifier: MIT

package model

import (
	"slices"
	"strings"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// Window is a race window: a state that only some interleavings come to, and that
// a trace may be about (`#: window:`).
type Window struct {
	Name  string
	Story string // one line
	mark  sim.Mark
}

// windows are the race windows, by name.
var windows = []Window{
	{"callback-during-fetch", "an invalidation of a range came while its pages were being fetched", kfd.MarkCallbackDuringFetch},
	{"confirm-retry", "at a commit the seq of a fetch had moved on: read_retry says retry, or would where the count of evictions is asked first", kfd.MarkConfirmRetry},
	{"cow-broken-by-fetch", "hmm_range_fault gave the process a page of its own, which invalidates what is being fetched", mm.MarkCOWBrokenByFetch},
	{"efault-before-callback", "an invalidation came to a range whose fetch had found the memory gone already", kfd.MarkEFAULTBeforeCallback},
	{"evicted-again", "evicted_bos was another at the commit than when the pass began", kfd.MarkEvictedAgain},
	{"exit-during-restore", "the address space died while the restore worker ran", kfd.MarkExitDuringRestore},
	{"fetch-collided", "hmm_range_fault gave up with EBUSY, because the seq had moved on", mm.MarkFetchCollided},
	{"freed-while-evicted", "a BO was freed while the queues were stopped", kfd.MarkFreedWhileEvicted},
	{"gap-hit", "a notifier was called for memory between its ranges", kfd.MarkGapHit},
	{"insert-deferred", "a notifier was inserted while a window was open that keeps the tree as it is", mm.MarkInsertDeferred},
	{"mapped-while-invalid", "a BO was mapped on a GPU while one of its ranges waited for the worker", kfd.MarkMappedWhileInvalid},
	{"nonblock-refused", "a callback refused a window that must not sleep", mm.MarkNonblockRefused},
	{"read-begin-waited", "mmu_interval_read_begin waited for a window over its range to end", mm.MarkReadBeginWaited},
	{"remove-deferred", "a notifier was removed while a window was open that keeps the tree as it is", mm.MarkRemoveDeferred},
}

// Windows returns the race windows, by name.
func Windows() []Window { return slices.Clone(windows) }

// namesOfMarks returns the windows of a set, by name.
func namesOfMarks(set sim.Marks) []string {
	var names []string
	for _, w := range windows {
		if set.Has(w.mark) {
			names = append(names, w.Name)
		}
	}
	return names
}

// checkWindows refuses a trace that is about a window which is not known.
func checkWindows(tr *traces.Trace) error {
	for _, name := range tr.Directives.Window {
		if !slices.ContainsFunc(windows, func(w Window) bool { return w.Name == name }) {
			var known []string
			for _, w := range windows {
				known = append(known, w.Name)
			}
			return &traces.Error{File: tr.Name, Line: tr.Directives.WindowLine, Col: 1, What: "unknown window " + name,
				Why: "the windows are " + strings.Join(known, ", ")}
		}
	}
	return nil
}

// notEntered returns the first window that a trace is about and that is not in a
// set of names; empty if there is none.
func notEntered(tr *traces.Trace, entered []string) string {
	for _, name := range tr.Directives.Window {
		if !slices.Contains(entered, name) {
			return name
		}
	}
	return ""
}
