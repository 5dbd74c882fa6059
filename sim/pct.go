// SPDX-License-Identifier: MIT

package sim

// PCT is the chooser of probabilistic concurrency testing: every task has a random
// priority, the highest that can run runs, and at depth-1 random steps the running
// task falls behind all others. A race that needs depth orderings among n tasks and
// k steps is met with a probability of at least 1/(n·k^(depth-1)), however rare it is
// for a chooser that picks at random everywhere.
//
// Source: Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with
// Probabilistic Guarantees of Finding Bugs, ASPLOS 2010.
//
// Priorities alone starve: a task that has gone on for as many steps as a whole run
// has falls behind, too.
type PCT struct {
	random  Seeded
	length  uint64
	changes []uint64 // steps, in no order
	steps   uint64
	alone   uint64 // steps of cur since another task ran
	cur     *Task
	rank    map[uint64]uint64 // by task key: higher runs first
	low     uint64            // the next rank below all others
}

// NewPCT returns a chooser of a depth, at least 1, for runs of about length steps.
// All that it does follows from seed.
func NewPCT(seed uint64, depth int, length uint64) *PCT {
	c := &PCT{random: *NewSeeded(seed), length: max(length, 1), rank: map[uint64]uint64{}, low: 1 << 32}
	for range depth - 1 {
		c.changes = append(c.changes, 1+c.random.next()%c.length)
	}
	return c
}

// Preemptive is true.
func (c *PCT) Preemptive() bool { return true }

// Steps returns how many steps were chosen.
func (c *PCT) Steps() uint64 { return c.steps }

// Next picks the task of the highest priority.
func (c *PCT) Next(_ *Sim, _ *Task, can []*Task) *Task {
	c.steps++
	for _, at := range c.changes {
		if at == c.steps {
			c.demote()
		}
	}
	if c.alone >= c.length {
		c.demote()
	}
	best := can[0]
	for _, t := range can {
		if _, ok := c.rank[t.key]; !ok {
			c.rank[t.key] = 1<<32 | c.random.next()>>32
		}
		if c.rank[t.key] > c.rank[best.key] {
			best = t
		}
	}
	if best != c.cur {
		c.cur, c.alone = best, 0
	}
	c.alone++
	return best
}

// demote puts the task that ran last behind all others.
func (c *PCT) demote() {
	if c.cur != nil {
		c.low--
		c.rank[c.cur.key] = c.low
		c.alone = 0
	}
}
