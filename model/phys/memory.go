// SPDX-License-Identifier: MIT

package phys

import (
	"fmt"
	"iter"
)

// PageSize is the size of a frame, in bytes.
const PageSize = 4096

// PFN is a page frame number.
type PFN uint64

const (
	// ZeroPFN is the frame of zeroes that read faults on private anonymous memory map. It is not counted: Get and Put
	// leave it alone, it belongs to no node's total, and it cannot be written.
	//
	// Kernel: ZERO_PAGE, include/linux/pgtable.h; is_zero_pfn.
	ZeroPFN PFN = 1

	// firstPFN is the first frame that is given out. Frame 0 never is, so that a zeroed page-table entry maps nothing.
	firstPFN PFN = 2
)

// Config is what a machine has.
type Config struct {
	Pages     uint64 // usable frames
	SwapPages uint64 // swap slots
	Nodes     int    // NUMA nodes; 0 means 1
}

// Memory is the RAM and the swap of one machine. Frames that were never touched cost nothing.
//
// Guarded by the caller, as a whole.
type Memory struct {
	nodes   []pool // a node's free frames; see node.go
	perNode uint64 // frames of every node but the last, which has what is left too
	pages   uint64

	frames   Map // word of every frame that was ever allocated
	contents contents

	poisoned Map // frames that are never given out again; see poison.go

	slots    Map // swapWord of every slot in use; see swap.go
	swapFree pool

	batch []Run // for words
}

// NewMemory returns a machine with all its frames and swap slots free.
//
// Preconditions:
//   - every node has a frame
//   - fewer than 2^52 frames and as many slots
func NewMemory(cfg Config) *Memory {
	nodes := max(1, cfg.Nodes)
	const limit = 1 << 52
	if cfg.Pages < uint64(nodes) || cfg.Pages >= limit || cfg.SwapPages >= limit {
		panic(fmt.Sprintf("BUG: NewMemory: %d frames on %d nodes, %d swap slots", cfg.Pages, nodes, cfg.SwapPages))
	}
	m := &Memory{
		perNode:  cfg.Pages / uint64(nodes),
		pages:    cfg.Pages,
		swapFree: newPool(1, 1+cfg.SwapPages),
	}
	for k := range nodes {
		lo := uint64(firstPFN) + uint64(k)*m.perNode
		hi := lo + m.perNode
		if k == nodes-1 {
			hi = uint64(firstPFN) + cfg.Pages
		}
		m.nodes = append(m.nodes, newPool(lo, hi))
	}
	return m
}

// word is what is known of a frame:
//
//	63        38 37        18 17       1  0
//	[ content  ] [generation] [ count  ] [0]
//
// Bit 0 stays clear so that two words never differ by one: the Map would take them for a run of stride 1, and no field
// here counts upwards from frame to frame.
type word uint64

const (
	countShift   = 1
	countBits    = 17 // 511 processes that share a frame of 256 merged pages
	genShift     = countShift + countBits
	genBits      = 20
	contentShift = genShift + genBits
	contentBits  = 64 - contentShift

	countMax = 1<<countBits - 1
	genMax   = 1<<genBits - 1
)

func (w word) count() uint32  { return uint32(w>>countShift) & countMax }
func (w word) gen() uint32    { return uint32(w>>genShift) & genMax }
func (w word) content() token { return token(w >> contentShift) }

func makeWord(t token, gen, count uint32) word {
	return word(t)<<contentShift | word(gen)<<genShift | word(count)<<countShift
}

// allocated returns w as it is after its frame was given out: one holder, zeroed.
func (w word) allocated() word {
	gen := w.gen() + 1
	if gen > genMax {
		gen = 1
	}
	return makeWord(0, gen, 1)
}

// withContent returns w with other bytes.
func (w word) withContent(t token) word { return makeWord(t, w.gen(), w.count()) }

// Frame is the state of a frame.
//
// Kernel: struct page, include/linux/mm_types.h, as far as the model needs it.
type Frame struct {
	// Gen says how often the frame was given out, so that a PFN that was freed and used again can be told from one that was not.
	// It counts to 2^20-1 and goes on at 1; 0 is a frame that never was.
	Gen       uint32
	Count     uint32 // holders: page-table entries and others
	Allocated bool   // Count > 0, or the zero page
}

// FrameRun is a stretch of frames [PFN, PFN+N) in one state.
type FrameRun struct {
	PFN PFN
	N   uint64 // frames
	Frame
}

// Frame returns the state of pfn.
func (m *Memory) Frame(pfn PFN) Frame {
	m.check("Frame", pfn, 1)
	if pfn == ZeroPFN {
		return Frame{Allocated: true}
	}
	return m.word(pfn).frame()
}

func (w word) frame() Frame { return Frame{Gen: w.gen(), Count: w.count(), Allocated: w.count() > 0} }

// Gen returns the generation of pfn; see Frame.
func (m *Memory) Gen(pfn PFN) uint32 { return m.Frame(pfn).Gen }

// FrameRuns ranges over the states of n frames from pfn on, whatever their contents. Memory must not change meanwhile.
func (m *Memory) FrameRuns(pfn PFN, n uint64) iter.Seq[FrameRun] {
	m.check("FrameRuns", pfn, n)
	return func(yield func(FrameRun) bool) {
		lo, hi := uint64(pfn), uint64(pfn)+n
		if pfn == ZeroPFN && lo < hi {
			if !yield(FrameRun{ZeroPFN, 1, m.Frame(ZeroPFN)}) {
				return
			}
			lo++
		}
		cur := FrameRun{PFN: PFN(lo)}
		for g := gaps(&m.frames, lo, hi); g.next(); {
			f := word(g.v).frame()
			if cur.N > 0 && f != cur.Frame {
				if !yield(cur) {
					return
				}
				cur = FrameRun{PFN: PFN(g.lo)}
			}
			cur.N += g.hi - g.lo
			cur.Frame = f
		}
		if cur.N > 0 {
			yield(cur)
		}
	}
}

// Get adds a holder to each of n frames from pfn on.
//
// Preconditions: they are allocated.
//
// Kernel: get_page, include/linux/mm.h.
func (m *Memory) Get(pfn PFN, n uint64) {
	if pfn == ZeroPFN && n == 1 {
		return
	}
	m.check("Get", pfn, n)
	for r := range m.words(&m.frames, uint64(pfn), n) {
		w := word(r.V)
		if c := w.count(); c == 0 || c == countMax {
			panic(fmt.Sprintf("BUG: Get(pfn %#x): count is %d", r.Lo, c))
		}
		m.frames.Set(r.Lo, r.Hi, uint64(w+1<<countShift), 0)
	}
}

// Put takes a holder from each of n frames from pfn on, and frees those that have none left. It returns the number freed.
// A freed frame keeps its bytes until it is given out again: what a stale GPU reads there is real.
//
// Preconditions: they are allocated.
//
// Kernel: put_page, include/linux/mm.h.
func (m *Memory) Put(pfn PFN, n uint64) (freed uint64) {
	if pfn == ZeroPFN && n == 1 {
		return 0
	}
	m.check("Put", pfn, n)
	for r := range m.words(&m.frames, uint64(pfn), n) {
		w := word(r.V)
		if w.count() == 0 {
			panic(fmt.Sprintf("BUG: Put(pfn %#x): frame is free", r.Lo))
		}
		m.frames.Set(r.Lo, r.Hi, uint64(w-1<<countShift), 0)
		if w.count() == 1 {
			m.giveFrames(r.Lo, r.Hi)
			freed += r.Len()
		}
	}
	return freed
}

func (m *Memory) word(pfn PFN) word {
	v, _ := m.frames.Get(uint64(pfn))
	return word(v)
}

// words ranges over the runs of n words from i on, those that were never set as 0. The loop's body may change the words that it was shown;
// it must not begin another such loop.
func (m *Memory) words(of *Map, i, n uint64) iter.Seq[Run] {
	return func(yield func(Run) bool) {
		if n == 1 {
			v, _ := of.Get(i)
			yield(Run{i, i + 1, v, 0})
			return
		}
		for lo, hi := i, i+n; lo < hi; {
			m.batch = m.batch[:0]
			for g := gaps(of, lo, hi); len(m.batch) < batchRuns && g.next(); {
				m.batch = append(m.batch, Run{g.lo, g.hi, g.v, 0})
			}
			for _, r := range m.batch {
				if !yield(r) {
					return
				}
				lo = r.Hi
			}
		}
	}
}

// gapless walks the words of a range, including those that are not set, which are 0.
type gapless struct {
	it      Iter
	held    bool // it.Run is still to be shown
	at, end uint64

	lo, hi, v uint64 // the current run
}

// gaps begins a walk of [lo, hi).
func gaps(of *Map, lo, hi uint64) gapless {
	g := gapless{it: of.Iter(lo, hi), at: lo, end: hi}
	g.held = g.it.Next()
	return g
}

func (g *gapless) next() bool {
	if g.at >= g.end {
		return false
	}
	g.lo = g.at
	switch {
	case !g.held:
		g.hi, g.v = g.end, 0
	case g.it.Run.Lo > g.at:
		g.hi, g.v = g.it.Run.Lo, 0
	default:
		g.hi, g.v = g.it.Run.Hi, g.it.Run.V
		g.held = g.it.Next()
	}
	g.at = g.hi
	return true
}

// check panics when [pfn, pfn+n) is not RAM.
func (m *Memory) check(what string, pfn PFN, n uint64) {
	if top := uint64(firstPFN) + m.pages; pfn == 0 || n > top || uint64(pfn) > top-n {
		panic(fmt.Sprintf("BUG: %s(pfn %#x, %d frames): not in RAM", what, uint64(pfn), n))
	}
}

// checkWritable panics when [pfn, pfn+n) is not RAM that may be written.
func (m *Memory) checkWritable(what string, pfn PFN, n uint64) {
	m.check(what, pfn, n)
	if pfn == ZeroPFN && n > 0 {
		panic(fmt.Sprintf("BUG: %s: the zero page cannot be written", what))
	}
}
