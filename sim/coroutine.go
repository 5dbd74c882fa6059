// SPDX-License-Identifier: MIT

package sim

import "iter"

// coroutine is a stack on which tasks run, one after another. Making one costs
// more than most tasks do.
type coroutine struct {
	task  *Task // whose body it runs, nil between two
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

// abandoned unwinds a task whose run ended early.
type abandoned struct{}

func newCoroutine() *coroutine {
	c := &coroutine{}
	c.next, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		for {
			c.perform()
			c.task = nil
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return c
}

// perform runs the body of the task to its end, or until the task is abandoned.
func (c *coroutine) perform() {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(abandoned); !ok {
				panic(r)
			}
		}
	}()
	c.task.body(c.task)
}

// Coroutines are for reuse by one Sim after another.
type Coroutines struct{ idle []*coroutine }

func (c *Coroutines) get() *coroutine {
	if k := len(c.idle); k > 0 {
		x := c.idle[k-1]
		c.idle = c.idle[:k-1]
		return x
	}
	return newCoroutine()
}

func (c *Coroutines) put(x *coroutine) { c.idle = append(c.idle, x) }

// Close ends them.
func (c *Coroutines) Close() {
	for _, x := range c.idle {
		x.stop()
	}
	c.idle = nil
}
