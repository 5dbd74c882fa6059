// SPDX-License-Identifier: MIT

//go:build linux && amd64

// Package performer has real processes and threads do what it is told, call by
// call: real system calls, real accesses to memory. It knows nothing of traces.
//
// A performed process consists of one page of code (stub_amd64.s), a control area
// that all of them share with the Go program that gives the orders, and what it was
// told to map. Both lie at 0x3f0000000000, where no program has anything, so that a
// process can have memory at the addresses of any trace, and nothing of the Go
// runtime is in it. The area is shared memory and the code a file: fork copies
// neither, and no notifier event comes from them.
//
//	stub_amd64.s  what runs in a performed process
//	program.go    the executable around it
//	area.go       the slots through which a task gets its orders
//	task.go       tasks: a call, an access to memory, a new task
//
// It is not for untrusted orders, and not a sandbox.
package performer
