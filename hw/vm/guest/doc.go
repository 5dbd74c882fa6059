// SPDX-License-Identifier: MIT

//go:build linux && amd64

// Package guest is what runs in the virtual machine: the first process of a kernel
// that has the observer module. It performs a batch of traces one after the other,
// each with processes of its own, and prints what was observed.
//
//	main.go      mounts, modules, swap; reads the batch, prints outcomes, powers off
//	knobs.go     what of the kernel is set for a trace
//	perform.go   a trace: who acts when, and what blocks
//	calls.go     a line: the real call
//	tasks.go     fork, execve, exit, wait
//	observer.go  /dev/kfdsim_observer
//	mirror.go    what a GPU driver would do, on the observer: the protocol of the model's design mirror
//
// The lines of a trace act in recorded order: a line begins when the one before has
// ended or blocks. What the driver's own argument checks would refuse is not judged
// here: there is no driver. Such a line is taken from the record.
package guest
