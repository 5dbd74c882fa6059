// SPDX-License-Identifier: MIT

package traces

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// pageTable is a space the dull way: the attributes of every page.
type pageTable map[uint64]attr

func (p pageTable) put(lo, hi uint64, a attr) {
	for at := lo; at < hi; at += pageSize {
		delete(p, at)
		if a != 0 {
			p[at] = a
		}
	}
}

func TestSpaceIsWhatItsPagesAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, ref := &space{min: 3 * pageSize}, pageTable{}
		var lost map[uint64]bool
		s.lost = func(lo, hi uint64) {
			for at := lo; at < hi; at += pageSize {
				lost[at] = true
			}
		}
		page := func(name string) uint64 { return rapid.Uint64Range(1, 24).Draw(t, name) * pageSize }
		attrs := rapid.SampledFrom([]attr{attrAnon, attrAnon | attrRW, attrAnon | attrRW | attrNoFork, attrAnon | attrRW | attrKeyed})
		for range rapid.IntRange(1, 30).Draw(t, "calls") {
			before := pageTable{}
			for at, a := range ref {
				before[at] = a
			}
			lost = map[uint64]bool{}
			gone := map[uint64]bool{} // pages given away, whatever is there afterwards
			lo, n := page("lo"), page("size")
			switch rapid.IntRange(0, 4).Draw(t, "call") {
			case 0:
				a := attrs.Draw(t, "attr")
				s.put(lo, lo+n, a)
				ref.put(lo, lo+n, a)
				for at := lo; at < lo+n; at += pageSize {
					gone[at] = true
				}
			case 1:
				s.forget(lo, lo+n)
				ref.put(lo, lo+n, 0)
			case 2:
				prot := rapid.Uint64Range(0, 7).Draw(t, "prot")
				s.protect(lo, lo+n, prot, ^uint64(0))
				for at := lo; at < lo+n; at += pageSize {
					if a := ref[at]; a != 0 {
						ref[at] = a&^attrRW | map[bool]attr{true: attrRW}[prot&3 == 3]
					}
				}
			case 3:
				to := page("to") + 64*pageSize*rapid.Uint64Range(0, 1).Draw(t, "far")
				m := page("new size")
				if to != lo && to < lo+n && lo < to+m {
					continue // EINVAL
				}
				moveRef(ref, lo, n, to, m, gone)
				s.move(lo, n, to, m, false)
			case 4:
				s = s.fork(0)
				s.lost = func(lo, hi uint64) {
					for at := lo; at < hi; at += pageSize {
						lost[at] = true
					}
				}
				for at, a := range ref {
					if a&attrNoFork != 0 {
						delete(ref, at)
						delete(before, at)
					}
				}
			}
			same(t, s, ref)
			for at, a := range before {
				require.Equal(t, a.eligible() && (gone[at] || !ref[at].eligible()), lost[at], "page %#x", at)
			}
		}
	})
}

// moveRef is mremap, page by page.
func moveRef(ref pageTable, from, n, to, m uint64, gone map[uint64]bool) {
	old := map[uint64]attr{}
	for at := uint64(0); at < n; at += pageSize {
		old[at] = ref[from+at]
	}
	for at := uint64(0); at < m; at += pageSize {
		if at >= n {
			old[at] = old[n-pageSize]
		}
	}
	if from != to {
		for at := uint64(0); at < n; at += pageSize {
			gone[from+at] = true
		}
		ref.put(from, from+n, 0)
	} else {
		ref.put(from+min(n, m), from+n, 0)
	}
	for at := uint64(0); at < m; at += pageSize {
		if from != to || at >= n {
			gone[to+at] = true
		}
		ref.put(to+at, to+at+pageSize, old[at])
	}
}

func same(t require.TestingT, s *space, ref pageTable) {
	pages, got := uint64(0), pageTable{}
	for i, r := range s.regions {
		require.Less(t, r.start, r.end)
		require.NotZero(t, r.attr)
		if i > 0 {
			prev := s.regions[i-1]
			require.LessOrEqual(t, prev.end, r.start)
			require.False(t, prev.end == r.start && prev.attr == r.attr, "neighbours alike")
		}
		got.put(r.start, r.end, r.attr)
	}
	for _, a := range ref {
		if a.eligible() {
			pages++
		}
	}
	require.Equal(t, ref, got)
	require.Equal(t, pages, s.pages)
}

// captureMaker writes random captures of a few tasks in a small address space, so that everything meets everything.
type captureMaker struct {
	t     *rapid.T
	text  []byte
	tasks []*madeTask
	next  int // task label
}

type madeTask struct {
	tid    int
	end    string // what its resumed line says, if it is inside a call
	inside string
}

func (c *captureMaker) line(format string, args ...any) {
	c.text = append(fmt.Appendf(c.text, format, args...), '\n')
}

// step lets a task begin, end or do a call.
func (c *captureMaker) step() {
	k := c.tasks[rapid.IntRange(0, len(c.tasks)-1).Draw(c.t, "task")]
	if k.inside != "" {
		if rapid.IntRange(0, 2).Draw(c.t, "return") == 0 {
			c.line("%d <... %s resumed>) = %s", k.tid, k.inside, k.end)
			k.inside = ""
		}
		return
	}
	name, args, result := c.call()
	if name != "clone" && rapid.IntRange(0, 3).Draw(c.t, "split") == 0 {
		c.line("%d %s(%s <unfinished ...>", k.tid, name, args)
		k.inside, k.end = name, result
		return
	}
	c.line("%d %s(%s) = %s", k.tid, name, args, result)
}

func (c *captureMaker) call() (name, args, result string) {
	pages := func(name string) int { return rapid.IntRange(1, 24).Draw(c.t, name) }
	at, n := pages("at")<<12, pages("n")<<12
	prot := rapid.SampledFrom([]string{"PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_NONE", "PROT_READ"}).Draw(c.t, "prot")
	switch rapid.IntRange(0, 13).Draw(c.t, "call") {
	case 0, 1, 2, 3:
		flags := rapid.SampledFrom([]string{"MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED", "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED", "MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED"}).Draw(c.t, "flags")
		return "mmap", fmt.Sprintf("%#x, %d, %s, %s, -1, 0", at, n, prot, flags), fmt.Sprintf("%#x", at)
	case 4:
		return "munmap", fmt.Sprintf("%#x, %d", at, n), "0"
	case 5, 6:
		return "mprotect", fmt.Sprintf("%#x, %d, %s", at, n, prot), "0"
	case 7:
		to := (pages("to") + 64) << 12
		return "mremap", fmt.Sprintf("%#x, %d, %d, MREMAP_MAYMOVE|MREMAP_FIXED, %#x", at, n, pages("m")<<12, to), fmt.Sprintf("%#x", to)
	case 8:
		brk := (pages("brk") + 128) << 12
		return "brk", fmt.Sprintf("%#x", brk), fmt.Sprintf("%#x", brk)
	case 9:
		if c.next++; c.next > 7 {
			break
		}
		c.tasks = append(c.tasks, &madeTask{tid: c.next})
		flags := rapid.SampledFrom([]string{"SIGCHLD", "CLONE_VM|CLONE_THREAD|CLONE_SIGHAND"}).Draw(c.t, "child")
		return "clone", "child_stack=NULL, flags=" + flags, fmt.Sprint(c.next)
	case 10:
		return "munmap", fmt.Sprintf("%#x, %d", at, n), "-1 EINVAL (Invalid argument)"
	}
	return "close", "3", "0"
}

func TestOverlayOfRandomCapturesOnlyAccessesWhatIsStillThere(t *testing.T) {
	laid := 0
	rapid.Check(t, func(t *rapid.T) {
		c := &captureMaker{t: t, tasks: []*madeTask{{tid: 1}}, next: 1}
		for range rapid.IntRange(20, 120).Draw(t, "steps") {
			c.step()
		}
		o := OverlayOptions{Every: rapid.IntRange(1, 4).Draw(t, "every"), Ranges: 4, MaxBatches: 3, Seed: rapid.Uint64().Draw(t, "seed")}
		out, err := overlaidOrNothing(string(c.text), o)
		require.NoError(t, err)
		if out != "" {
			laid++
			judged(t, out, 4096)
		}
	})
	require.Positive(t, laid)
}
