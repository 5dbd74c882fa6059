// SPDX-License-Identifier: MIT

// Package phys is the machine's RAM and swap: frames with generations, reference counts and contents. It is the ground truth
// that a check compares a CPU's and a GPU's view with.
//
// It is not an allocator's policy, a page cache or an LRU: who maps a frame, and why, is the business of the packages above.
// There is no buddy, no zone and no watermark, only "which frames are free".
//
// Two ideas carry the package:
//
//   - A frame is one 64-bit word (generation, count, content token), and words live in a [Map], which stores equal or
//     consecutive words as one run. Fifteen million pages that all look alike cost what one page costs.
//   - Contents are interned: equal bytes have the equal token, so that comparing, copying and swapping a page never touches
//     4096 bytes.
//
// Everything is plain data for one task at a time. Nothing here locks, and even reading may move a cache, so the caller's
// locks (or the simulator's one-task-at-a-time rule) guard every method.
//
// Where to look:
//
//	runs.go     Map: what it promises, Get, Set, Clear, Update
//	chunk.go    how Map stores runs          dense.go   how it stores pages that share nothing
//	across.go   changes across chunks        balance.go keeping chunks neither full nor sparse
//	iterate.go  Iter, Runs, Next, NextGap    digest.go  Equal, Digest
//	memory.go   Memory, frames, Get, Put     node.go    NUMA nodes, AllocRun, AllocAligned
//	content.go  Fill, Write, Copy, Bytes     intern.go  the table of mixed contents
//	swap.go     swap slots                   pool.go    which frames or slots are free
//	poison.go   frames out of use            place.go   which frames: AllocAt, free runs, equal pages
package phys
