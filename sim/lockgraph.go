// SPDX-License-Identifier: MIT

package sim

import (
	"cmp"
	"slices"
	"strings"
)

// LockGraph joins the orders in which several runs have taken locks. A cycle in it is
// a deadlock that needs two of these orders at the same time, even where no single
// run had both.
type LockGraph struct {
	graph lockdep
}

// Add joins the orders of a run.
func (g *LockGraph) Add(s *Sim) {
	if g.graph.edges == nil {
		g.graph.edges, g.graph.next = map[lockEdge]bool{}, map[*LockClass][]*LockClass{}
	}
	for from, list := range s.lockdep.next { // order: only sets are added to
		for _, to := range list {
			if e := (lockEdge{from, to}); !g.graph.edges[e] {
				g.graph.edges[e] = true
				g.graph.next[from] = append(g.graph.next[from], to)
			}
		}
	}
}

// Cycle returns the names of lock classes that were taken in a circle, the first one
// twice; nil if there is none.
func (g *LockGraph) Cycle() []string {
	var edges []lockEdge
	for e := range g.graph.edges { // order: sorted below
		edges = append(edges, e)
	}
	byName := func(a, b *LockClass) int { return cmp.Compare(a.name, b.name) }
	slices.SortFunc(edges, func(a, b lockEdge) int { return cmp.Or(byName(a.from, b.from), byName(a.to, b.to)) })
	for _, list := range g.graph.next { // order: each is sorted by itself
		slices.SortFunc(list, byName)
	}
	for _, e := range edges {
		if path := g.graph.path(e.to, e.from, nil); path != nil {
			names := []string{e.from.name}
			for _, c := range path {
				names = append(names, c.name)
			}
			return names
		}
	}
	return nil
}

// CircularDependency says what is wrong with a cycle, as lockdep titles it.
func CircularDependency(cycle []string) *Failure {
	return &Failure{Verdict: "misuse", Property: "lock-order",
		Title:  "possible circular locking dependency: " + cycle[0] + " -> " + cycle[1],
		Detail: "the orders of several interleavings together: " + strings.Join(cycle, " -> ")}
}
