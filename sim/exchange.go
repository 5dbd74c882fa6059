// SPDX-License-Identifier: MIT

package sim

import (
	"fmt"
	"slices"
	"strings"
)

// An exploration executes one order of two steps that conflict in nothing and
// takes it that the other order would have done the same. Exchanged makes that
// order, and Disagreement says whether it did.

// RandomGuide returns a guide whose own way is random, from a seed.
func RandomGuide(seed uint64) *Guide {
	return &Guide{seeded: NewSeeded(seed), classes: map[uint64]string{}}
}

// Alike returns a guide for one more run of the execution that g has guided.
//
// Preconditions: no branch was taken.
func (g *Guide) Alike() *Guide {
	w := &Guide{classes: map[uint64]string{}}
	for i := range g.steps {
		w.order = append(w.order, g.steps[i].task)
	}
	return w
}

// Steps returns how many steps were written down.
func (g *Guide) Steps() int { return len(g.steps) }

// Exchanged returns a guide for the execution of g in which steps i and i+1 have
// changed places; false if they depend on each other, as far as their labels say.
//
// Preconditions: no branch was taken.
func (g *Guide) Exchanged(i int) (*Guide, bool) {
	a, b := &g.steps[i], &g.steps[i+1]
	if a.task == b.task || !slices.Contains(g.enabled[a.enabled[0]:a.enabled[1]], b.task) ||
		conflict(g.touched(a), g.touched(b)) {
		return nil, false
	}
	for _, w := range g.wakes[b.wakes[0]:b.wakes[1]] {
		if int(w.by) == i {
			return nil, false
		}
	}
	for _, w := range g.disabled {
		if w.task == a.task && int(w.by) == i+1 {
			return nil, false
		}
	}
	x := g.Alike()
	x.order[i], x.order[i+1] = b.task, a.task
	return x, true
}

// Disagreement says in what the execution of x, which is Exchanged(i) of g, is
// another one than that of g; empty if in nothing that can matter.
func (g *Guide) Disagreement(i int, x *Guide) string {
	for k := range g.steps {
		at := k
		switch k {
		case i:
			at = i + 1
		case i + 1:
			at = i
		}
		if at >= len(x.steps) {
			return fmt.Sprintf("step %d of %s is missing", k, g.steps[k].name)
		}
		s, y := &g.steps[k], &x.steps[at]
		if s.task != y.task {
			return fmt.Sprintf("step %d is one of %s, not of %s", at, y.name, s.name)
		}
		if p, q := g.describe(g.touched(s)), x.describe(x.touched(y)); p != q {
			return fmt.Sprintf("step %d of %s touches\n  %s\nand not\n  %s", k, s.name, q, p)
		}
		if at == k && k != i {
			if !slices.Equal(g.enabled[s.enabled[0]:s.enabled[1]], x.enabled[y.enabled[0]:y.enabled[1]]) {
				return fmt.Sprintf("before step %d of %s others can run", k, s.name)
			}
		}
	}
	if len(x.steps) > len(g.steps) {
		return fmt.Sprintf("it has %d steps, not %d", len(x.steps), len(g.steps))
	}
	return ""
}

// Step describes a step: who did what.
func (g *Guide) Step(i int) string {
	return fmt.Sprintf("%d %s: %s", i, g.steps[i].name, g.describe(g.touched(&g.steps[i])))
}

// frames is the class of memory: which frame an allocation gives is nothing that
// can matter, so that its number is left out where executions are compared.
const frames = "memory"

// counts is the class of reference counts of frames: who drops the last reference
// touches nothing that anybody else looks at.
const counts = "page count"

func (g *Guide) describe(accesses []access) string {
	var out []string
	for _, a := range accesses {
		class := g.classes[a.object]
		if class == counts {
			continue
		}
		text := fmt.Sprintf("%s %s", kindNames[a.kind], class)
		if class != frames {
			text += fmt.Sprintf(" %x[%x,%x)", a.object>>48, a.lo, a.hi)
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}

var kindNames = [...]string{"read", "write", "acquire to read", "acquire", "release of a read", "release", "try", "up", "down"}
