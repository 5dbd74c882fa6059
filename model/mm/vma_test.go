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

// Drawings show pages from drawBase on, a character each:
//
//	.  nothing    n  no access    r  read    w  read and write    x  executable
//	|  between two VMAs that touch;  upper case: locked
const (
	drawBase  = 0x1000 // page
	drawPages = 16
	rw        = ProtRead | ProtWrite
	anonFixed = MapPrivate | MapAnonymous | MapFixed
)

// at returns the byte address of a page of a drawing.
func at(page uint64) uint64 { return (drawBase + page) << PageShift }

// testSystem makes a machine without tasks.
func testSystem(cfg Config) *System {
	return NewSystem(sim.New(sim.Options{}), cfg, nil)
}

func testConfig() Config {
	return Config{RAM: 1 << 20, Swap: 1 << 20, Nodes: 1, Memlock: memlockUnlimited}
}

// do runs body as a task of the machine, to its end.
func (sys *System) do(tb require.TestingT, body func(t *sim.Task)) {
	done := false
	sys.Sim.Go("test", func(t *sim.Task) {
		body(t)
		done = true
	})
	sys.Sim.Run()
	if f := sys.Sim.Failure(); f != nil {
		require.Fail(tb, f.Title, f.Detail)
	}
	require.True(tb, done, "the call sleeps for ever")
}

// drawSpace maps what a drawing shows.
func drawSpace(t *sim.Task, mm *MM, drawing string) {
	page := uint64(0)
	for _, c := range drawing {
		if c == '|' {
			continue
		}
		prot, ok := map[rune]uint32{'n': ProtNone, 'r': ProtRead, 'w': rw, 'x': ProtRead | ProtExec}[lower(c)]
		if ok {
			mm.Mmap(t, at(page), PageSize, prot, anonFixed, nil, 0)
			if lower(c) != c {
				mm.Mlock(t, at(page), PageSize)
			}
		}
		page++
	}
}

func lower(c rune) rune { return []rune(strings.ToLower(string(c)))[0] }

// drawn draws what is mapped.
func drawn(mm *MM) string {
	var b strings.Builder
	for p := uint64(drawBase); p < drawBase+drawPages; p++ {
		v := mm.vmaAt(p)
		if v == nil {
			b.WriteByte('.')
			continue
		}
		if v.Start == p && v.prev != nil && v.prev.End == p && p > drawBase {
			b.WriteByte('|')
		}
		c := "n"
		switch {
		case v.Flags&VMExec != 0:
			c = "x"
		case v.Flags&VMWrite != 0:
			c = "w"
		case v.Flags&VMRead != 0:
			c = "r"
		}
		if v.Flags&VMLocked != 0 {
			c = strings.ToUpper(c)
		}
		b.WriteString(c)
	}
	return strings.TrimRight(b.String(), ".")
}

// eventLog is a driver that notes what it is told.
type eventLog struct{ events []string }

func (l *eventLog) Invalidate(t *sim.Task, n *IntervalNotifier, r *NotifierRange, curSeq uint64) bool {
	n.SetSeq(t, curSeq)
	l.events = append(l.events, fmt.Sprintf("%v[%d,%d)", r.Event, int64(r.Start)-drawBase, int64(r.End)-drawBase))
	return true
}

// watchDrawing puts a notifier over the pages of the drawing.
func watchDrawing(t *sim.Task, mm *MM) *eventLog {
	l := &eventLog{}
	mm.IntervalNotifierInsert(t, &IntervalNotifier{}, drawBase, drawPages, l)
	return l
}

// spaceCase is one call on a small address space.
type spaceCase struct {
	before string
	touch  bool // write every page before the call
	call   func(t *sim.Task, mm *MM) errno.Errno
	want   errno.Errno
	after  string
	events string
}

func runSpaceCases(t *testing.T, cases map[string]spaceCase) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			sys := testSystem(testConfig())
			mm := sys.NewMM("1")
			sys.do(t, func(task *sim.Task) {
				drawSpace(task, mm, c.before)
				if c.touch {
					mm.mmPopulate(task, drawBase, drawBase+drawPages, true)
				}
				require.Equal(t, c.before, drawn(mm), "the drawing before")
				l := watchDrawing(task, mm)
				require.Equal(t, c.want, c.call(task, mm))
				require.Equal(t, c.after, drawn(mm))
				require.Equal(t, c.events, strings.Join(l.events, " "))
				checkTree(t, mm)
			})
		})
	}
}

// checkTree compares everything that is kept beside the tree with the tree.
func checkTree(tb require.TestingT, mm *MM) {
	var prev *VMA
	var total, locked uint64
	mm.vmas.Ascend(func(v *VMA) bool {
		require.Less(tb, v.Start, v.End)
		require.Same(tb, mm, v.mm)
		if v.prev != prev || prev != nil && (prev.next != v || prev.End > v.Start) {
			require.Fail(tb, "neighbours", "%#x", v.Start)
		}
		if v.AnonVMA != nil {
			require.Same(tb, v, v.AnonVMA.vmas[v.anonPos])
		}
		if v.File != nil {
			require.Same(tb, v, v.File.mappings[v.filePos])
		}
		total += v.Len()
		if v.Flags&VMLocked != 0 {
			locked += v.Len()
		}
		prev = v
		return true
	})
	if prev != nil {
		require.Nil(tb, prev.next)
	}
	for _, r := range mm.pt.AppendRuns(nil, 0, EndOfSpace) {
		for p := r.Lo; p < r.Hi; p++ {
			v := mm.vmaAt(p)
			require.NotNil(tb, v, "entry of %#x without VMA", p)
			if e := mm.PTEAt(p); e.anon() || e.swap() {
				require.NotNil(tb, v.AnonVMA, "anonymous page %#x without family", p)
			}
		}
	}
	require.Equal(tb, total, mm.totalVM, "total_vm")
	require.Equal(tb, locked, mm.lockedVM, "locked_vm")
	require.Empty(tb, mm.maps.detached)
	above := mm.mmapBase
	for v := prev; v != nil; v = v.prev {
		if hole := above - min(above, v.End); above > mm.maps.area.top && mm.maps.area.top != 0 {
			require.LessOrEqual(tb, hole, mm.maps.area.hole, "hole above %#x", v.End)
		}
		above = min(above, v.startGap())
	}
}
