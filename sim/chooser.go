// SPDX-License-Identifier: MIT

package sim

// Chooser decides who runs next: the one seam between the model and every way
// of scheduling it.
type Chooser interface {
	// Next picks a task. runnable is in order of task id and not empty; cur is
	// the task that ran last if it still can run, else nil. A preemptive chooser
	// may also pick a task that waits for a deadline (Sim.Sleepers).
	Next(s *Sim, cur *Task, runnable []*Task) *Task
	// Preemptive says whether Next wants to be asked at every scheduling point,
	// or only when the running task blocks.
	Preemptive() bool
}

// RecordedOrder runs the lines of a trace in file order: a task goes on until it
// blocks; then the runnable task with the lowest line runs, and kernel tasks
// only when no line can.
type RecordedOrder struct{}

// Preemptive is false: a task runs until it blocks.
func (RecordedOrder) Preemptive() bool { return false }

// Next picks the task of the lowest line, else the kernel task that has been
// runnable for longest.
func (RecordedOrder) Next(_ *Sim, cur *Task, runnable []*Task) *Task {
	if cur != nil && cur.Order != KernelOrder {
		return cur
	}
	best := runnable[0]
	for _, t := range runnable[1:] {
		if t.Order < best.Order || t.Order == best.Order && t.wake < best.wake {
			best = t
		}
	}
	return best
}

// Seeded picks at random among everything that could run, from a seed.
type Seeded struct {
	state uint64
}

// NewSeeded returns a chooser whose every choice follows from seed.
func NewSeeded(seed uint64) *Seeded { return &Seeded{state: seed} }

// Preemptive is true: any task may run at any point.
func (c *Seeded) Preemptive() bool { return true }

// Next picks uniformly among runnable and sleeping tasks.
func (c *Seeded) Next(s *Sim, _ *Task, runnable []*Task) *Task {
	n := len(runnable) + s.timers.Len()
	if n == 1 {
		return runnable[0]
	}
	i := int(c.next() % uint64(n))
	if i < len(runnable) {
		return runnable[i]
	}
	// Heap order is a pure function of the history, so it may be used as it is.
	return s.timers[i-len(runnable)]
}

// next is splitmix64: small, fast and the same everywhere.
func (c *Seeded) next() uint64 {
	c.state += 0x9e3779b97f4a7c15
	return mix(c.state)
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
