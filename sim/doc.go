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
// # Exploration
//
// Explore executes a program again and again, in every order that can differ in
// what it does:
//
//	explore.go  the tree of choices, depth first     races.go    which order to try next
//	guide.go    the chooser of one execution         visited.go  states that were dealt with
//	pool.go     several executions at a time         lockgraph.go  lock orders of all of them
//
// It is dynamic partial-order reduction with source sets and sleep sets (Abdulla,
// Aronis, Jonsson and Sagonas, Optimal Dynamic Partial Order Reduction, POPL 2014),
// without wakeup trees: a new execution follows the steps that it was made for, in
// order, and so is seldom in vain. A coroutine cannot be copied, so every execution
// begins at the start.
//
// Beside it stands a cache of states. Only those count in which every task rests
// (Task.Rest): at the head of its loop, or between two lines of a trace. What a task
// does from there follows from the state of the program alone, so that the local
// state of a coroutine is never needed. What comes after such a state is explored
// once; the races between the steps that led there and those that follow come from a
// summary of the latter.
//
// Why both, measured on one BO of three ranges under the design batch, an
// invalidation and a GPU read of all pages again and again, as executions and
// states:
//
//	phases   reduction alone         with the cache
//	1             34         792        34        646
//	3          4,818     111,582       349      4,572
//	5       > 36,000   > 830,000       667      8,502
//	6       > 47,000 > 1,100,000       826     10,467
//
// The reduction alone does not depend on the number of ranges and multiplies with
// each phase; with the cache phases add up. Within one phase, where hardly any
// state has every task at rest, the cache saves steps, and no executions.
//
// Under a preemptive chooser a task that wants a lock, or waits for a condition
// (WaitQueue.WaitEvent), can run only when it can go on: there is no order of queueing
// and of tests in vain to explore. Sections of a lock need no merging for that reason:
// what they guard never races, so that only the order of acquisitions is explored.
// Where a section only counts (notifier windows that open and end), it is labelled
// with that instead of the lock: five times fewer executions on two threads that
// invalidate.
//
// It is complete for what the labels say, which tests compare with an interpreter on
// all small programs of reads and writes, and with all schedules of random programs
// with locks, waits, delays and kills. A bound on preemptions switches sleep sets and
// cache off (Coons, Musuvathi and McKinley, Bounded Partial-Order Reduction, OOPSLA
// 2013).
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
