// SPDX-License-Identifier: MIT

// Package sim is the deterministic ground on which the model stands: tasks,
// locks, wait queues, delayed work and a virtual clock, and the one seam that
// decides who runs next.
//
// It knows no memory and no GPU. A task body reads like the C function of the
// same name; the package supplies what the kernel supplies around it:
//
//	Task        a thread of execution (a coroutine; exactly one runs at a time)
//	Mutex       struct mutex
//	RWSem       struct rw_semaphore, with downgrade_write
//	Spinlock    spinlock_t: held sections must not sleep
//	WaitQueue   wait_queue_head_t
//	DelayedWork struct delayed_work on its own worker: never two instances
//	Chooser     who runs next: RecordedOrder, Seeded, PCT, Replay (a Schedule), and
//	            Guide, which explores
//
// Scheduling points are: before every lock operation, at every labelled access
// (Task.Read, Task.Write), at Task.Point, and wherever a task blocks. Each is
// labelled with the object, the part of it and whether it is written, so that
// an explorer knows which steps commute. Under a cooperative chooser (recorded
// order) a point costs one load and a branch.
//
// # Time
//
// The clock is virtual (model/FIDELITY.md S-TIME) and moves only when nothing is
// runnable; then the earliest timer fires. A preemptive chooser sees sleeping
// tasks as runnable, because a delay is a lower bound and never a promise.
//
// # What it is not
//
// It is no memory model: accesses are sequentially consistent (model/FIDELITY.md
// S-ORDER). It does not parallelise: two tasks never run at the same moment, so
// plain Go variables need no Go locks. It never looks at the clock, the address
// or the iteration order of anything; the same bodies under the same choices give
// the same history, byte for byte.
//
// # Rules for bodies
//
// No defer around locks and no recover: a task that is abandoned (the run ended
// early) is unwound by a private panic. State that another task may touch is
// accessed after a labelled point, and between two points a body is atomic
// (model/FIDELITY.md S-POINTS).
//
// # Stability
//
// For bodies and designs outside of this repository: Task with its locks, labels and
// sleeps, Object, Mutex, RWSem, Spinlock, WaitQueue, DelayedWork, Event and Race keep
// their meaning until version 1.0. Choosers, guides and the explorer are the
// project's own and may change at any time: explore through package model.
package sim
