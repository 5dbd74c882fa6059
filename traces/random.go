// SPDX-License-Identifier: MIT

package traces

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Random returns the random trace of a number: one to three processes with one to three threads each, which map, unmap,
// move, protect and share memory, fork and end, while GPUs use it. It is made for comparing the model with a kernel: every
// line can be performed on both, and no result is recorded but labels.
func Random(seed uint64) []byte {
	w := &random{r: rand.New(rand.NewPCG(seed, 0x6b666473696d)), nextTID: 2, nextBO: 0x100000000, va: 0x400000000, nextFD: 10}
	w.kind = randomKind(w.pick(8, 1, 3, 3))
	w.opening(seed)
	for range 20 + w.n(60) {
		w.step()
	}
	return []byte(w.b.String())
}

// RandomName returns the name of the random trace of a number.
func RandomName(seed uint64) string { return fmt.Sprintf("random-%d.trace", seed) }

// randomKind is what a random trace is mostly about.
type randomKind int

const (
	randomSmall randomKind = iota // pages of 4 KiB
	randomKSM                     // and KSM merges them
	randomHuge                    // huge pages
	randomFiles                   // shared memory that changes its size
)

// Where random traces have their memory.
const (
	randomArena = 0x10000000
	randomPages = 24
	hugeArena   = 0x40000000
	hugePages   = 3 * 512
	// memfds are mapped beside the arena, too.
	fileArena    = 0x20000000
	randomPage   = 4096
	randomFDSize = 16 // pages
)

// random writes one random trace.
type random struct {
	r       *rand.Rand
	b       strings.Builder
	kind    randomKind
	procs   []*randomProcess
	nextTID int
	nextBO  uint64
	nextFD  int
	shared  bool // some mapping is
	va      uint64
}

type randomProcess struct {
	tids   []int
	parent *randomProcess
	kids   []*randomProcess // not waited for
	dead   bool
	kfd    bool
	bos    []*randomBO
	fds    []int
	brk    uint64
}

type randomBO struct {
	handle, va, size uint64
	mapped           bool
}

func (w *random) n(most int) int      { return w.r.IntN(most) }
func (w *random) oneIn(most int) bool { return w.n(most) == 0 }

// pick returns an index with the weight that it has.
func (w *random) pick(weights ...int) int {
	sum := 0
	for _, x := range weights {
		sum += x
	}
	k := w.n(sum)
	for i, x := range weights {
		if k < x {
			return i
		}
		k -= x
	}
	return 0
}

func (w *random) word(words ...string) string { return words[w.n(len(words))] }

func (w *random) line(tid int, format string, a ...any) {
	fmt.Fprintf(&w.b, "%d ", tid)
	fmt.Fprintf(&w.b, format, a...)
	w.b.WriteByte('\n')
}

// opening begins the first process.
func (w *random) opening(seed uint64) {
	fmt.Fprintf(&w.b, "#: question: random trace %d\n", seed)
	if w.kind == randomHuge && w.oneIn(2) {
		w.b.WriteString("#: needs: thp\n")
	}
	p := &randomProcess{tids: []int{1}, brk: 0x555555560000}
	w.procs = append(w.procs, p)
	w.openKFD(1, p)
	w.line(1, "mmap(%#x, %d, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)", randomArena, randomPages*randomPage)
	if w.kind == randomHuge {
		w.line(1, "mmap(%#x, %d, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)", hugeArena, hugePages*randomPage)
		if w.oneIn(2) {
			w.line(1, "madvise(%#x, %d, MADV_HUGEPAGE)", hugeArena, hugePages*randomPage)
		}
	}
	if w.oneIn(2) {
		w.line(1, "cpu.write(%#x, %d, 0x11)", randomArena, randomPages*randomPage)
	}
	if w.kind == randomFiles {
		w.memfd(1, p)
	}
}

func (w *random) openKFD(tid int, p *randomProcess) {
	p.kfd = true
	w.line(tid, `openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = 3</dev/kfd>`)
	w.line(tid, `openat(AT_FDCWD, "/dev/dri/renderD128", O_RDWR|O_CLOEXEC) = 4</dev/dri/renderD128>`)
	w.line(tid, "ioctl(3, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=4, gpu_id=1})")
	w.line(tid, "ioctl(3, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0})")
}

// span draws a piece of memory, bytes.
func (w *random) span(most int) (addr, size uint64) {
	if w.kind == randomHuge && !w.oneIn(4) {
		return w.hugeSpan()
	}
	lo := w.n(randomPages)
	n := 1 + w.n(min(most, randomPages-lo))
	return randomArena + uint64(lo)*randomPage, uint64(n) * randomPage
}

// hugeSpan draws a piece of memory for huge pages: often whole ones, or up to their edges.
func (w *random) hugeSpan() (addr, size uint64) {
	edges := []int{0, 1, 2, 5, 255, 256, 511, 512, 513, 700, 1023, 1024, 1030, 1280, 1535, 1536}
	i := w.n(len(edges) - 1)
	j := i + 1 + w.n(min(4, len(edges)-1-i))
	if w.oneIn(3) {
		i, j = 0, 7 // the first one
		return hugeArena + uint64(w.n(3))*512*randomPage, 512 * randomPage
	}
	return hugeArena + uint64(edges[i])*randomPage, uint64(edges[j]-edges[i]) * randomPage
}

// who draws a live process and one of its threads.
func (w *random) who() (*randomProcess, int) {
	var live []*randomProcess
	for _, p := range w.procs {
		if !p.dead {
			live = append(live, p)
		}
	}
	p := live[w.n(len(live))]
	return p, p.tids[w.n(len(p.tids))]
}

// step writes one line, or a few that belong together.
func (w *random) step() {
	p, tid := w.who()
	switch w.pick(24, 30, 8, 26) {
	case 0:
		w.access(tid)
	case 1:
		w.memory(p, tid)
	case 2:
		w.tasks(p, tid)
	default:
		w.gpu(p, tid)
	}
}

// access lets the CPU read or write.
func (w *random) access(tid int) {
	addr, size := w.span(8)
	if w.oneIn(4) {
		addr, size = addr+100, max(size-200, 1)
	}
	if w.oneIn(3) {
		w.line(tid, "cpu.read(%#x, %d)", addr, size)
	} else {
		w.line(tid, "cpu.write(%#x, %d, %#x)", addr, size, 1+w.n(255))
	}
}

// memory makes a system call about memory.
func (w *random) memory(p *randomProcess, tid int) {
	addr, size := w.span(8)
	switch w.pick(4, 3, 4, 4, 12, 3, 3, 6, 2, 4) {
	case 0:
		w.mmap(p, tid, addr, size)
	case 1:
		w.line(tid, "munmap(%#x, %d)", addr, size)
		if !w.oneIn(3) {
			w.mmap(p, tid, addr, size)
		}
	case 2:
		w.line(tid, "mprotect(%#x, %d, %s)", addr, size,
			w.word("PROT_READ", "PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_NONE", "PROT_READ|PROT_WRITE|PROT_EXEC"))
		if w.oneIn(2) {
			w.line(tid, "mprotect(%#x, %d, PROT_READ|PROT_WRITE)", addr, size)
		}
	case 3:
		w.mremap(tid, addr, size)
	case 4:
		w.madvise(tid, addr, size)
	case 5:
		w.lock(tid, addr, size)
	case 6:
		w.heap(p, tid)
	case 7:
		if w.kind != randomHuge && w.kind != randomKSM { // model/FIDELITY.md M-MIGRATE, M-KSM
			w.placement(tid, addr, size)
		}
	case 8:
		w.line(tid, "msync(%#x, %d, %s)", addr, size, w.word("MS_SYNC", "MS_ASYNC", "MS_INVALIDATE"))
	default:
		w.file(p, tid, addr, size)
	}
}

func (w *random) mmap(p *randomProcess, tid int, addr, size uint64) {
	prot := w.word("PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_READ", "PROT_NONE")
	share := w.word("MAP_PRIVATE", "MAP_PRIVATE", "MAP_PRIVATE", "MAP_SHARED")
	extra := w.word("", "", "", "|MAP_POPULATE", "|MAP_LOCKED")
	if w.kind == randomHuge {
		share = "MAP_PRIVATE"
	}
	w.shared = w.shared || share == "MAP_SHARED"
	w.line(tid, "mmap(%#x, %d, %s, %s|MAP_ANONYMOUS|MAP_FIXED%s, -1, 0)", addr, size, prot, share, extra)
}

func (w *random) mremap(tid int, addr, size uint64) {
	to, _ := w.span(8)
	switch w.n(6) {
	case 0:
		w.line(tid, "mremap(%#x, %d, %d, 0)", addr, size, max(randomPage, size/2&^(randomPage-1)))
	case 1:
		w.line(tid, "mremap(%#x, %d, %d, 0)", addr, size, size+randomPage*uint64(1+w.n(3)))
	case 2:
		w.line(tid, "mremap(%#x, %d, %d, MREMAP_MAYMOVE|MREMAP_FIXED|MREMAP_DONTUNMAP, %#x)", addr, size, size, to)
	default:
		size := min(size, 8*randomPage) | size&(512*randomPage)
		w.line(tid, "mremap(%#x, %d, %d, MREMAP_MAYMOVE|MREMAP_FIXED, %#x)", addr, size, size+randomPage*uint64(max(0, w.n(6)-4)), to)
	}
}

func (w *random) madvise(tid int, addr, size uint64) {
	advice := []string{"DONTNEED", "DONTNEED", "FREE", "PAGEOUT", "PAGEOUT", "COLD", "POPULATE_READ", "POPULATE_WRITE",
		"DONTFORK", "DOFORK", "WIPEONFORK", "KEEPONFORK", "WILLNEED", "REMOVE", "DONTNEED_LOCKED"}
	switch w.kind {
	case randomHuge:
		if addr >= hugeArena {
			// The model has no huge page that small entries map: model/FIDELITY.md M-SPLIT.
			advice = []string{"DONTNEED", "POPULATE_READ", "POPULATE_WRITE", "DONTFORK", "DOFORK", "WIPEONFORK", "KEEPONFORK", "WILLNEED"}
		}
		advice = append(advice, "HUGEPAGE", "NOHUGEPAGE", "COLLAPSE", "COLLAPSE")
	case randomKSM:
		advice = append(advice, "MERGEABLE", "MERGEABLE", "MERGEABLE", "UNMERGEABLE")
	}
	w.line(tid, "madvise(%#x, %d, MADV_%s)", addr, size, w.word(advice...))
	if w.kind == randomKSM && w.oneIn(2) {
		w.line(tid, "mm.ksm(%d)", 1+w.pick(3, 1))
	}
}

func (w *random) lock(tid int, addr, size uint64) {
	switch w.n(8) {
	case 0:
		w.line(tid, "mlockall(%s)", w.word("MCL_CURRENT", "MCL_FUTURE", "MCL_CURRENT|MCL_FUTURE"))
	case 1, 2:
		w.line(tid, "munlockall()")
	case 3:
		w.line(tid, "mlock2(%#x, %d, MLOCK_ONFAULT)", addr, size)
	case 4, 5:
		w.line(tid, "mlock(%#x, %d)", addr, size)
	default:
		w.line(tid, "munlock(%#x, %d)", addr, size)
	}
}

func (w *random) heap(p *randomProcess, tid int) {
	end := uint64(0x555555560000) + uint64(w.n(12))*randomPage
	if p.brk != 0 && w.oneIn(4) {
		w.line(tid, "cpu.write(%#x, %d, %#x)", 0x555555560000, randomPage*(1+w.n(4)), 1+w.n(255))
		return
	}
	w.line(tid, "brk(%#x)", end)
}

// placement says where pages are to be.
func (w *random) placement(tid int, addr, size uint64) {
	move := w.word("MPOL_MF_MOVE", "MPOL_MF_MOVE_ALL")
	mask := w.word("[0x1]", "[0x2]", "[0x3]")
	kind := w.n(6)
	if w.shared && (kind == 2 || kind == 3) {
		return // shared memory has no policy in the model: model/FIDELITY.md M-POLICY
	}
	switch kind {
	case 0, 1:
		var pages, nodes []string
		node := w.n(2)
		for a := addr; a < addr+size && len(pages) < 8; a += randomPage {
			pages, nodes = append(pages, fmt.Sprintf("%#x", a)), append(nodes, fmt.Sprint(node))
		}
		w.line(tid, "move_pages(0, %d, [%s], [%s], NULL, %s)", len(pages), strings.Join(pages, ", "), strings.Join(nodes, ", "), move)
	case 2:
		w.line(tid, "mbind(%#x, %d, %s, %s, 64, %s)", addr, size, w.word("MPOL_BIND", "MPOL_PREFERRED"), mask, move)
	case 3:
		w.line(tid, "mbind(%#x, %d, MPOL_DEFAULT, NULL, 0, 0)", addr, size)
	default:
		w.line(tid, "migrate_pages(0, 64, %s, %s)", mask, w.word("[0x1]", "[0x2]"))
	}
}

func (w *random) memfd(tid int, p *randomProcess) {
	fd := w.nextFD
	w.nextFD++
	p.fds = append(p.fds, fd)
	w.line(tid, `memfd_create("m", MFD_CLOEXEC) = %d`, fd)
	w.line(tid, "ftruncate(%d, %d)", fd, (1+w.n(randomFDSize))*randomPage)
}

// file does something with shared memory that has a descriptor.
func (w *random) file(p *randomProcess, tid int, addr, size uint64) {
	if len(p.fds) == 0 {
		if w.nextFD < 13 && w.kind != randomHuge {
			w.memfd(tid, p)
		}
		return
	}
	fd := p.fds[w.n(len(p.fds))]
	w.shared = true
	at := w.n(randomFDSize)
	switch w.pick(6, 3, 3, 1) {
	case 0:
		if w.oneIn(2) {
			addr = fileArena + uint64(w.n(8))*randomPage
		}
		w.line(tid, "mmap(%#x, %d, %s, %s|MAP_FIXED, %d, %d)", addr, size, w.word("PROT_READ|PROT_WRITE", "PROT_READ|PROT_WRITE", "PROT_READ"),
			w.word("MAP_SHARED", "MAP_SHARED", "MAP_PRIVATE"), fd, at*randomPage)
	case 1:
		w.line(tid, "ftruncate(%d, %d)", fd, w.n(randomFDSize)*randomPage+w.n(2)*w.n(randomPage))
	case 2:
		w.line(tid, "fallocate(%d, FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE, %d, %d)", fd, at*randomPage+w.n(2)*100, (1+w.n(6))*randomPage)
	default:
		w.line(tid, "fallocate(%d, 0, %d, %d)", fd, at*randomPage, (1+w.n(6))*randomPage)
	}
}

// tasks makes or ends a task.
func (w *random) tasks(p *randomProcess, tid int) {
	live := 0
	for _, x := range w.procs {
		if !x.dead {
			live++
		}
	}
	switch w.pick(6, 3, 2, 2, 1, 3, 1) {
	case 0:
		if live < 3 && w.nextTID < 12 {
			w.fork(p, tid)
		}
	case 1:
		if len(p.tids) < 3 && w.nextTID < 12 {
			w.line(tid, "clone(child_stack=0x7f0000001000, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD) = %d", w.nextTID)
			p.tids = append(p.tids, w.nextTID)
			w.nextTID++
		}
	case 2:
		if len(p.tids) > 1 && tid != p.tids[0] {
			w.line(tid, "exit(0) = ?")
			for i, x := range p.tids {
				if x == tid {
					p.tids = append(p.tids[:i], p.tids[i+1:]...)
				}
			}
		}
	case 3:
		if p.parent != nil && !p.parent.dead {
			w.line(tid, "exit_group(0) = ?")
			p.dead = true
			if w.oneIn(2) {
				w.wait(p)
			}
		}
	case 4:
		if len(p.tids) == 1 {
			w.line(tid, `execve("/bin/true", ["true"], NULL) = 0`)
			p.kfd, p.bos, p.fds = false, nil, nil
			w.line(tid, "mmap(%#x, %d, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)", randomArena, randomPages*randomPage)
		}
	case 5:
		for _, k := range p.kids {
			if k.dead {
				w.wait(k)
				break
			}
		}
	default:
		for _, k := range p.kids {
			if !k.dead {
				w.line(tid, "kill(%d, SIGKILL)", k.tids[0])
				k.dead = true
				w.wait(k)
				break
			}
		}
	}
}

func (w *random) fork(p *randomProcess, tid int) {
	k := &randomProcess{tids: []int{w.nextTID}, parent: p, fds: append([]int(nil), p.fds...), brk: p.brk}
	w.line(tid, "fork() = %d", w.nextTID)
	w.nextTID++
	w.procs = append(w.procs, k)
	p.kids = append(p.kids, k)
}

// wait lets the parent wait for a dead child.
func (w *random) wait(k *randomProcess) {
	p := k.parent
	w.line(p.tids[w.n(len(p.tids))], "wait4(%d, NULL, 0, NULL)", k.tids[0])
	for i, x := range p.kids {
		if x == k {
			p.kids = append(p.kids[:i], p.kids[i+1:]...)
			return
		}
	}
}

// gpu registers memory, or uses it.
func (w *random) gpu(p *randomProcess, tid int) {
	if !p.kfd {
		if w.oneIn(3) {
			w.openKFD(tid, p)
		}
		return
	}
	if len(p.bos) == 0 || w.oneIn(6) && len(p.bos) < 6 {
		w.alloc(p, tid)
		return
	}
	i := w.n(len(p.bos))
	b := p.bos[i]
	switch {
	case !b.mapped && !w.oneIn(4):
		w.line(tid, "ioctl(3, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=%#x, device_ids=[1]})", b.handle)
		b.mapped = true
	case w.oneIn(12):
		w.line(tid, "ioctl(3, AMDKFD_IOC_UNMAP_MEMORY_FROM_GPU, {handle=%#x, device_ids=[1]})", b.handle)
		b.mapped = false
		if w.oneIn(2) {
			w.line(tid, "ioctl(3, AMDKFD_IOC_FREE_MEMORY_OF_GPU, {handle=%#x})", b.handle)
			p.bos = append(p.bos[:i], p.bos[i+1:]...)
		}
	default:
		off := uint64(w.n(int(b.size)))
		n := min(b.size-off, uint64(1+w.n(3*randomPage)))
		if w.oneIn(6) {
			off, n = 0, b.size
		}
		if w.oneIn(2) {
			w.line(tid, "gpu.write(1, %#x, %d, %#x)", b.va+off, n, 1+w.n(255))
		} else {
			w.line(tid, "gpu.read(1, %#x, %d)", b.va+off, n)
		}
	}
}

func (w *random) alloc(p *randomProcess, tid int) {
	var list []string
	b := &randomBO{handle: w.nextBO, va: w.va}
	for range 1 + w.n(4) {
		addr, size := w.span(4)
		if w.oneIn(12) {
			addr, size = 0x555555560000, randomPage*uint64(1+w.n(4))
		}
		list = append(list, fmt.Sprintf("{start=%#x, size=%#x}", addr, size))
		b.size += size
	}
	w.nextBO++
	w.va += b.size + 16*randomPage
	w.line(tid, "ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=%#x, total_size=%#x, ranges=[%s], gpu_id=1, flags=KFD_IOC_ALLOC_MEM_FLAGS_USERPTR|KFD_IOC_ALLOC_MEM_FLAGS_WRITABLE} => {handle=%#x})",
		b.va, b.size, strings.Join(list, ", "), b.handle)
	p.bos = append(p.bos, b)
}
