// SPDX-License-Identifier: MIT

package traces

import "math/bits"

// splitmix is the SplitMix64 generator, so that a seed means the same everywhere and for ever.
type splitmix uint64

func (s *splitmix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0,n). Precondition: n > 0.
func (s *splitmix) below(n uint64) uint64 {
	hi, _ := bits.Mul64(s.next(), n)
	return hi
}

// maxAccess bounds one access of GPU or CPU, bytes.
const maxAccess = 1 << 20

// act does one thing with the GPU. The weights make about a third of the actions a new batch.
func (ov *overlay) act(th *thread) {
	switch k := ov.rand.below(100); {
	case k < 32 || len(ov.live) == 0:
		if len(ov.live) >= ov.o.MaxBatches {
			ov.release(th, int(ov.rand.below(uint64(len(ov.live)))))
		}
		if b := ov.register(th); b != nil {
			ov.gpuWrite(th, window{b.va, min(b.size, maxAccess)}, true)
		} else {
			ov.gpuAccesses(th)
		}
	case k < 36:
		ov.release(th, int(ov.rand.below(uint64(len(ov.live)))))
	case k < 84:
		ov.gpuAccesses(th)
	case k < 94:
		ov.cpuAccess(th)
	default:
		ov.print(th, "sleep(2)")
		ov.stats.Sleeps++
	}
}

// finish frees what is still registered, in time before the target's end; one batch in four is left to the exit path.
func (ov *overlay) finish() {
	if ov.target == nil {
		return
	}
	if th := ov.worker(); th != nil && ov.opened {
		ov.gpuAccesses(th)
		for i := 0; i < len(ov.live); {
			if ov.rand.below(4) == 0 {
				i++
				continue
			}
			ov.release(th, i)
		}
	}
	ov.stats.Left = len(ov.live)
	if ov.target.space != nil {
		ov.target.space.lost = nil
	}
	ov.target, ov.live, ov.registered = nil, nil, nil
	ov.opened = true // once is enough
}

// window is a piece of a batch, bytes.
type window struct{ va, size uint64 }

// gpuAccesses reads and writes pieces of live batches, a few at a time.
func (ov *overlay) gpuAccesses(th *thread) {
	for n := 2 + ov.rand.below(6); n > 0; n-- {
		run := ov.intactRun()
		if run == nil {
			return
		}
		w := ov.gpuWindow(run)
		switch ov.rand.below(4) {
		case 0:
			ov.gpuWrite(th, w, true)
		case 1:
			ov.gpuWrite(th, w, false)
		default:
			ov.print(th, "gpu.read(1, %#x, %d)", w.va, w.size)
			ov.stats.GPUReads++
		}
	}
}

// gpuWrite writes w, and with check reads it again.
func (ov *overlay) gpuWrite(th *thread, w window, check bool) {
	c := 1 + ov.rand.below(255)
	ov.print(th, "gpu.write(1, %#x, %d, %#x) = 0", w.va, w.size, c)
	ov.stats.GPUWrites++
	if !check {
		return
	}
	ov.stats.GPUReads++
	if ov.quiet() {
		ov.print(th, "gpu.read(1, %#x, %d) = {%#x*%d}", w.va, w.size, c, w.size)
	} else {
		ov.print(th, "gpu.read(1, %#x, %d)", w.va, w.size)
	}
}

// quiet says that no task of the target is inside a memory call, which could come between two of our lines.
func (ov *overlay) quiet() bool {
	for _, th := range ov.target.threads {
		if p := &th.task.pend; p.active && p.known.spec != nil && p.known.spec.call >= CallMmap && p.known.spec.call <= CallMsync {
			return false
		}
	}
	return true
}

// cpuAccess reads or writes registered memory with the CPU.
func (ov *overlay) cpuAccess(th *thread) {
	run := ov.intactRun()
	if run == nil {
		return
	}
	r := run[ov.rand.below(uint64(len(run)))]
	w := ov.windowIn(r.start, r.size)
	if ov.rand.below(2) == 0 {
		ov.print(th, "cpu.read(%#x, %d)", w.va, w.size)
		ov.stats.CPUReads++
		return
	}
	ov.print(th, "cpu.write(%#x, %d, %#x) = 0", w.va, w.size, 1+ov.rand.below(255))
	ov.stats.CPUWrites++
}

// intactRun picks ranges of one live batch that follow each other and have lost nothing, nil if there are none.
func (ov *overlay) intactRun() []*overlayRange {
	ov.intact = ov.intact[:0]
	for _, b := range ov.live {
		for i := 0; i < len(b.ranges); i++ {
			first := i
			for i < len(b.ranges) && !b.ranges[i].lost {
				i++
			}
			if first < i {
				ov.intact = append(ov.intact, b.ranges[first:i])
			}
		}
	}
	if len(ov.intact) == 0 {
		return nil
	}
	return ov.intact[ov.rand.below(uint64(len(ov.intact)))]
}

// gpuWindow picks a piece of ranges that follow each other: as often as not one that crosses from range to range.
func (ov *overlay) gpuWindow(run []*overlayRange) window {
	first, last := run[0], run[len(run)-1]
	if len(run) == 1 || ov.rand.below(2) == 0 {
		return ov.windowIn(first.va, last.va+last.size-first.va)
	}
	border := run[1+ov.rand.below(uint64(len(run)-1))].va
	before := min(border-first.va, maxAccess/2) / pageSize
	behind := min(last.va+last.size-border, maxAccess/2) / pageSize
	before, behind = 1+ov.rand.below(before), 1+ov.rand.below(behind)
	return window{border - before*pageSize, (before + behind) * pageSize}
}

// windowIn picks a piece of [at,at+size): pages, or now and then a few of the words of one.
func (ov *overlay) windowIn(at, size uint64) window {
	const word = 64
	if ov.rand.below(4) == 0 {
		at += ov.rand.below(size/pageSize) * pageSize
		first := ov.rand.below(pageSize / word)
		return window{at + first*word, (1 + ov.rand.below(pageSize/word-first)) * word}
	}
	n := min(size, maxAccess) / pageSize
	n = 1 + ov.rand.below(min(n, 1<<ov.rand.below(9)))
	return window{at + ov.rand.below(size/pageSize-n+1)*pageSize, n * pageSize}
}
