// SPDX-License-Identifier: MIT

package mm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/sim"
)

// probe is a driver that notes every callback, as the observer module does on a
// real kernel: one mutex, one seq, one fetch.
type probe struct {
	IntervalNotifier
	lock   sim.Mutex
	base   uint64 // page that events are printed relative to
	events []string
	valid  bool
}

var classProbe = sim.NewLockClass("probe->lock")

func (p *probe) Invalidate(t *sim.Task, n *IntervalNotifier, r *NotifierRange, curSeq uint64) bool {
	if !r.Blockable {
		p.events = append(p.events, "nonblock")
		return false
	}
	p.lock.Lock(t)
	n.SetSeq(t, curSeq)
	p.valid = false
	rel := func(v uint64) string {
		if v == EndOfSpace {
			return "max"
		}
		return fmt.Sprint(int64(v) - int64(p.base))
	}
	lo := rel(r.Start)
	if r.Start == 0 {
		lo = "0!"
	}
	by := ""
	switch t.Name() {
	case "ksmd", "khugepaged", "kswapd0":
		by = "@" + t.Name()
	}
	p.events = append(p.events, fmt.Sprintf("%s[%s,%s)%s", r.Event, lo, rel(r.End), by))
	p.lock.Unlock(t)
	return true
}

// fetch faults the range as a driver does; retries counts -EBUSY.
func (p *probe) fetch(t *sim.Task, flags HMMFlags) (h *HMMRange, retries int, err errno.Errno) {
	for {
		h = &HMMRange{Notifier: &p.IntervalNotifier, Start: p.Start, End: p.End, DefaultFlags: flags}
		h.NotifierSeq = p.ReadBegin(t)
		p.MM.ReadLock(t)
		err = HMMRangeFault(t, h)
		p.MM.ReadUnlock(t)
		if err == errno.EBUSY {
			retries++
			continue
		}
		if err != 0 {
			return h, retries, err
		}
		p.lock.Lock(t)
		ok := !p.ReadRetry(t, h.NotifierSeq)
		p.valid = ok
		p.lock.Unlock(t)
		if ok {
			return h, retries, 0
		}
		retries++
	}
}

// takeEvents returns the callbacks since the last call, equal ones that follow
// each other counted.
func (p *probe) takeEvents() string {
	var out []string
	for i := 0; i < len(p.events); {
		n := 1
		for i+n < len(p.events) && p.events[i+n] == p.events[i] {
			n++
		}
		s := p.events[i]
		if n > 1 {
			s += fmt.Sprintf("x%d", n)
		}
		out = append(out, s)
		i += n
	}
	p.events = nil
	return strings.Join(out, " ")
}

// probeMachine is a System with one process and a task to act in it.
type probeMachine struct {
	sys *System
	s   *sim.Sim
}

func newProbeMachine(cfg Config, c sim.Chooser) *probeMachine {
	if cfg.RAM == 0 {
		cfg.RAM, cfg.Swap = 1<<20, 1<<20
	}
	cfg.Memlock = ^uint64(0)
	s := sim.New(sim.Options{Chooser: c})
	return &probeMachine{NewSystem(s, cfg, nil), s}
}

// run executes body in a task and checks that nothing is left blocked.
func (m *probeMachine) run(tb testing.TB, body func(t *sim.Task)) {
	tb.Helper()
	m.s.Go("task", body)
	st := m.s.Run()
	if f := m.s.Failure(); f != nil {
		tb.Fatalf("%s: %s: %s", f.Verdict, f.Title, f.Detail)
	}
	require.Equal(tb, sim.Quiescent, st)
	m.s.Close()
}

const (
	protRW      = 3
	anonPrivate = 0x22
	fixedAnon   = 0x32
)

// watchedPage is where tests put their memory: page-table aligned.
const watchedPage = uint64(0x10000000)

// register inserts a probe over [lo,hi).
func register(t *sim.Task, m *MM, lo, hi uint64) *probe {
	p := &probe{base: lo}
	p.lock.Init(m.sys.Sim, classProbe)
	if err := m.IntervalNotifierInsert(t, &p.IntervalNotifier, lo, hi-lo, p); err != 0 {
		panic(err)
	}
	return p
}

// mapped makes 16 populated pages with a guard page watchedPage each side, as the event
// table's preamble does, registers and fetches them.
func populated(t *sim.Task, m *MM, populate bool) *probe {
	okAddr(m.Mmap(t, (watchedPage-1)<<PageShift, 18<<PageShift, protRW, fixedAnon, nil, 0))
	if populate {
		ok(m.Store(t, (watchedPage-1)<<PageShift, 18<<PageShift, 0x11))
	}
	p := register(t, m, watchedPage, watchedPage+16)
	if populate {
		_, _, err := p.fetch(t, HMMReqFault|HMMReqWrite)
		ok(err)
	}
	p.events = nil
	return p
}

func okAddr(_ uint64, err errno.Errno) {
	if err != 0 {
		panic(err)
	}
}

func ok(err errno.Errno) {
	if err != 0 {
		panic(err)
	}
}
