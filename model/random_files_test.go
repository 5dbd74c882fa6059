// SPDX-License-Identifier: MIT

package model

import "pgregory.net/rapid"

// A memfd (descriptor 5) is mapped twice: shared behind the first pages of the
// arena, where it can be registered, and shared or private beside it.
const (
	fileInArena = arena + 16*page
	fileBeside  = 0x18000000
	filePages   = arenaPages - 16
)

func (w *writer) openFile() {
	w.line(1, `memfd_create("f", MFD_CLOEXEC) = 5</memfd:f>`)
	w.line(1, "ftruncate(5, %d)", filePages*page)
	w.line(1, "mmap(%#x, %d, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_FIXED, 5, 0)", uint64(fileInArena), filePages*page)
	w.line(1, "cpu.write(%#x, %d, 0x33)", uint64(fileInArena), filePages*page)
	kind := rapid.SampledFrom([]string{"MAP_SHARED", "MAP_PRIVATE"}).Draw(w.T, "beside")
	w.line(1, "mmap(%#x, %d, PROT_READ|PROT_WRITE, %s|MAP_FIXED, 5, 0)", uint64(fileBeside), filePages*page, kind)
	w.line(1, "pidfd_open(1, 0) = 6")
}

// fileOp changes the file, or touches the mapping beside the arena.
func (w *writer) fileOp(tid int) {
	lo := w.n("lo", 0, filePages-1)
	switch w.n("file op", 0, 4) {
	case 0:
		w.line(tid, "ftruncate(5, %d)", lo*page+w.n("odd", 0, 1)*100)
		w.line(tid, "ftruncate(5, %d)", filePages*page)
	case 1:
		w.line(tid, "ftruncate(5, %d)", lo*page)
	case 2:
		w.line(tid, "ftruncate(5, %d)", filePages*page)
	case 3:
		w.holeOp(tid)
	default:
		w.fileAccess(tid)
	}
}

// holeOp takes pages of the file away that come back as zeroes.
func (w *writer) holeOp(tid int) {
	lo := w.n("lo", 0, filePages-1)
	n := w.n("pages", 1, filePages-lo)
	if w.n("remove", 0, 1) == 1 {
		w.line(tid, "madvise(%#x, %d, MADV_REMOVE)", fileInArena+lo*page, n*page)
	} else {
		w.line(tid, "fallocate(5, FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE, %d, %d)", lo*page+w.n("odd", 0, 1)*100, n*page)
	}
}

// fileAccess touches the mapping beside the arena, or pages it out.
func (w *writer) fileAccess(tid int) {
	lo := w.n("lo", 0, filePages-1)
	n := w.n("pages", 1, filePages-lo)
	switch w.n("file access", 0, 3) {
	case 0:
		addr, size := w.span(8)
		w.line(tid, "process_madvise(6, [{iov_base=%#x, iov_len=%d}, {iov_base=%#x, iov_len=%d}], 2, MADV_PAGEOUT, 0)",
			addr, size, fileBeside+lo*page, n*page)
	case 1:
		w.line(tid, "cpu.read(%#x, %d)", fileBeside+lo*page, n*page)
	default:
		w.line(tid, "cpu.write(%#x, %d, %#x)", fileBeside+lo*page, n*page, w.n("byte", 1, 255))
	}
}
