// SPDX-License-Identifier: MIT

// Package model runs a trace on a design and judges what happens.
//
//	designs.go    the table of designs, posted versions, names with defects
//	check.go and check_*.go   the properties
//	run.go        Run: trace + design + chooser -> Result
//	runner.go     one run: machine, processes, lines
//	order.go      who performs which line when; calls that strace split in two
//	window.go     a part of a trace that interleaves, the rest in order
//	explore.go    Explore: trace + design -> every interleaving
//	schedule.go   one interleaving as text: how it is written down and followed
//	marks.go      race windows that a run may enter
//	proc.go       processes, threads, descriptors, fork, exec, exit, wait
//	perform.go    one line of the trace      perform_mm.go perform_kfd.go …
//	ambient.go    memory that the trace uses and never mapped
//	result.go     what a run says
//
// It is the only place where the trace language meets the model: the rows below
// never see a trace, and nothing here decides what memory does.
//
// # Stability
//
// Run, Explore, MeasureRestores and their options are for tests outside of this
// repository, too (docs/designing.md). Until version 1.0: what stands in Options,
// ExploreOptions, Load, Result and Exploration keeps its meaning, and fields may be
// added, so name the fields in literals. Verdicts, names of designs and defects and
// JSON keys stay. Fingerprints, counts of executions and states, titles of failures and
// diagrams may change with every version: compare verdicts, not these. What is not
// named here may change.
package model
