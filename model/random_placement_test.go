// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// placementOp is something that moves pages to other frames, or lets one frame
// stand for several.
func (w *writer) placementOp(tid int, addr, size uint64) {
	mask := func(label string) string {
		return rapid.SampledFrom([]string{"[0x1]", "[0x2]", "[0x3]"}).Draw(w.T, label)
	}
	move := rapid.SampledFrom([]string{"MPOL_MF_MOVE", "MPOL_MF_MOVE_ALL"}).Draw(w.T, "move")
	switch w.n("placement op", 0, 14) {
	case 0, 1:
		node := w.n("node", 0, 1)
		var pages, nodes []string
		for a := addr; a < addr+size; a += page {
			pages = append(pages, fmt.Sprintf("%#x", a))
			nodes = append(nodes, fmt.Sprint(node))
		}
		w.line(tid, "move_pages(0, %d, [%s], [%s], NULL, %s)", len(pages), strings.Join(pages, ", "), strings.Join(nodes, ", "), move)
	case 2:
		mode := rapid.SampledFrom([]string{"MPOL_BIND", "MPOL_PREFERRED", "MPOL_INTERLEAVE"}).Draw(w.T, "mode")
		w.line(tid, "mbind(%#x, %d, %s, %s, 64, %s)", addr, size, mode, mask("nodes"), move)
	case 3:
		w.line(tid, "mbind(%#x, %d, MPOL_DEFAULT, NULL, 0, 0)", addr, size)
	case 4:
		w.line(tid, "migrate_pages(0, 64, %s, %s)", mask("from"), mask("to"))
	case 5:
		w.compact(tid)
	case 6, 7:
		w.line(tid, "mm.numa_balance(%#x, %d)", addr, size)
	case 8:
		w.line(tid, "madvise(%#x, %d, MADV_SOFT_OFFLINE)", addr, size)
	case 9:
		w.line(tid, "mm.ksm(%d)", w.n("run", 1, 2))
	case 10:
		w.line(tid, "madvise(%#x, %d, MADV_UNMERGEABLE)", addr, size)
	case 11:
		if w.n("poison", 0, 3) == 0 {
			w.line(tid, "madvise(%#x, %d, MADV_HWPOISON)", addr, page)
		}
	case 12:
		w.line(tid, "mmap(%#x, %d, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED, -1, 0)", addr, size)
	default:
		w.line(tid, "madvise(%#x, %d, MADV_MERGEABLE)", addr, size)
		w.line(tid, "mm.ksm()")
	}
}

// compact fills a block of frames above the arena's, makes a hole in it and
// compacts.
func (w *writer) compact(tid int) {
	const filler, pages = 0x40000000, 600
	if w.n("fill", 0, 2) == 0 {
		w.line(tid, "mmap(%#x, %d, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)", filler, pages*page)
		w.line(tid, "cpu.write(%#x, %d, 0x77)", filler, pages*page)
	}
	w.line(tid, "munmap(%#x, %d)", filler+w.n("hole", pages-60, pages-20)*page, w.n("hole pages", 1, 30)*page)
	w.line(tid, "mm.compact()")
}

// TestNoPropertyBreaksWhenNodesAreFull: migration finds no frame, reclaim and the
// OOM killer run while pages move.
func TestNoPropertyBreaksWhenNodesAreFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ram := rapid.SampledFrom([]string{"160K", "256K", "1M", "3M"}).Draw(t, "ram")
		text := "#: ram: " + ram + "\n#: swap: 16M\n" + randomTrace(t, 3, "MADV_FREE")
		seed := rapid.Uint64().Draw(t, "seed")
		for _, d := range designNamesOfTests {
			runText(t, text, d, &seed)
			runText(t, text, d, nil)
		}
	})
}
