// SPDX-License-Identifier: MIT

package sim

// Chooser decides who runs next: the one seam between the model and every way
// of scheduling it.
type Chooser interface {
	// Next picks a task among those that can perform a step, which is not empty;
	// cur is the task that ran last if it is one of them, else nil. Under a
	// preemptive chooser the runnable tasks come first, then those that wait for a
	// deadline, both in order of task id. nil ends the run.
	Next(s *Sim, cur *Task, can []*Task) *Task
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
func (RecordedOrder) Next(_ *Sim, cur *Task, can []*Task) *Task {
	if cur != nil && cur.Order != KernelOrder {
		return cur
	}
	best := can[0]
	for _, t := range can[1:] {
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

// Next picks uniformly.
func (c *Seeded) Next(_ *Sim, _ *Task, can []*Task) *Task {
	if len(can) == 1 {
		return can[0]
	}
	return can[c.next()%uint64(len(can))]
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
