// SPDX-License-Identifier: MIT

package sim

// Mark is a place that a run can come to and that is worth knowing about: a race
// window. Who models it names its marks; there are at most 64.
type Mark uint8

// Mark notes that the run has come to m.
func (t *Task) Mark(m Mark) { t.sim.Mark(m) }

// Mark is Task.Mark where the task is not at hand.
func (s *Sim) Mark(m Mark) { s.marks |= 1 << m }

// Marks is a set of marks.
type Marks uint64

// Has says whether m is in the set.
func (s Marks) Has(m Mark) bool { return s>>m&1 != 0 }

// Marks returns where the run has come to.
func (s *Sim) Marks() Marks { return s.marks }
