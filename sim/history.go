// SPDX-License-Identifier: MIT

package sim

import (
	"fmt"
	"strings"
)

// Func names a kind of event: the C function that took effect. Make it once, for
// a package variable.
type Func struct {
	name string
	args []string
	hash uint64
}

// NewFunc names an event and its up to three arguments.
func NewFunc(name string, args ...string) *Func {
	h := uint64(0xcbf29ce484222325)
	for i := 0; i < len(name); i++ {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return &Func{name: name, args: args, hash: mix(h)}
}

// Name returns the name, as a history prints it.
func (f *Func) Name() string { return f.name }

// Event is one thing that happened, logged when it took effect.
type Event struct {
	Step uint64
	Time Time
	Task *Task
	Func *Func
	Args [3]uint64
}

// String prints the event as a call.
func (e *Event) String() string {
	var b strings.Builder
	b.WriteString(e.Func.name)
	b.WriteByte('(')
	for i, a := range e.Func.args {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s=%#x", a, e.Args[i])
	}
	b.WriteByte(')')
	return b.String()
}

// History is what happened: the last events, and a fingerprint over all.
type History struct {
	ring []Event
	n    uint64
	fp   uint64
}

func (h *History) init(keep int) {
	n := 1
	for n < keep {
		n <<= 1
	}
	if keep == 0 {
		n = 1024
	}
	h.ring = make([]Event, n)
	h.fp = 0x6b666473696d
}

// Len returns the number of events since the start.
func (h *History) Len() uint64 { return h.n }

// Fingerprint identifies the whole history: every event, its task, its
// arguments and its virtual time.
func (h *History) Fingerprint() uint64 { return h.fp }

// Tail returns the last events that are kept, oldest first, at most max.
func (h *History) Tail(max int) []Event {
	n := uint64(len(h.ring))
	if h.n < n {
		n = h.n
	}
	if uint64(max) < n {
		n = uint64(max)
	}
	out := make([]Event, 0, n)
	for i := h.n - n; i < h.n; i++ {
		out = append(out, h.ring[i&uint64(len(h.ring)-1)])
	}
	return out
}

// Log records that f took effect now.
func (t *Task) Log(f *Func, a, b, c uint64) {
	s := t.sim
	h := &s.hist
	e := &h.ring[h.n&uint64(len(h.ring)-1)]
	e.Step, e.Time, e.Task, e.Func = h.n, s.now, t, f
	e.Args[0], e.Args[1], e.Args[2] = a, b, c
	h.n++
	x := h.fp ^ f.hash ^ uint64(t.id)<<48
	x = (x ^ a) * 0x9e3779b97f4a7c15
	x = (x ^ x>>29 ^ b) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>32 ^ c) * 0x94d049bb133111eb
	h.fp = x ^ x>>31 ^ uint64(s.now)
}
