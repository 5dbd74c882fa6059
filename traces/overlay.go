// SPDX-License-Identifier: MIT

package traces

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// OverlayOptions say what Overlay lays over a capture. What is 0 gets its default.
type OverlayOptions struct {
	Min        uint64 // bytes of the shortest range, rounded up to pages; 4096
	Max        uint64 // bytes of the longest range, rounded up to pages; 4 MiB, or Min if that is more
	Ranges     int    // of one batch; 16
	Every      int    // lines of the capture between two actions; 50
	Seed       uint64 // another number picks other ranges and actions
	MaxBatches int    // that live at once; 8
}

// OverlayStats counts what Overlay has laid over a capture.
type OverlayStats struct {
	Process              int    // task label of the process that uses the GPU, as its first line shows it
	Batches, Ranges      int    // registered
	Bytes                uint64 // registered, of all batches together
	Lost                 int    // ranges of which the program took something away while they were registered
	GPUReads, GPUWrites  int
	CPUReads, CPUWrites  int
	Sleeps               int
	Left                 int // batches that only the end of the process frees
	CaptureLines, Events int // lines of the capture; those of them that show a task
}

// filled returns o with its defaults.
func (o OverlayOptions) filled() (OverlayOptions, error) {
	if o.Ranges < 0 || o.Every < 0 || o.MaxBatches < 0 {
		return o, errors.New("overlay: ranges, lines between actions and live batches cannot be negative")
	}
	const most = 1 << 46
	if o.Min > most || o.Max > most {
		return o, errors.New("overlay: no range is longer than 64 TiB")
	}
	o.Min = max(pageUp(o.Min), pageSize)
	switch o.Max = pageUp(o.Max); {
	case o.Max == 0:
		o.Max = max(o.Min, 4<<20)
	case o.Max < o.Min:
		return o, errors.New("overlay: the longest range is shorter than the shortest")
	}
	or := func(n *int, otherwise int) {
		if *n == 0 {
			*n = otherwise
		}
	}
	or(&o.Ranges, 16)
	or(&o.Every, 50)
	or(&o.MaxBatches, 8)
	return o, nil
}

// Overlay writes the trace that open reads, and between its lines what makes its largest process a user of the GPU: it
// opens KFD, registers live anonymous memory as batches, and lets GPU and CPU access them while the program goes on
// unmapping, forking and returning memory. The lines of the trace stay as they are, in canonical form.
//
// A GPU access only touches ranges of which, by the record, no page was unmapped or protected since they were
// registered, because a VM fault is for ever. Ranges that lost a page stay registered and are left alone.
//
// It reads the trace twice (once more if children ran before the clones that made them returned, and it is not plain
// whose they are), so open must give the same bytes every time. The same trace and options give the same bytes.
// Errors: those of Parse for a trace at fault, and a trace in which nothing can be registered.
func Overlay(w io.Writer, name string, open func() (io.ReadCloser, error), o OverlayOptions) (OverlayStats, error) {
	o, err := o.filled()
	if err != nil {
		return OverlayStats{}, err
	}
	p, err := survey(name, open, o, nil)
	if err != nil {
		return OverlayStats{}, err
	}
	r, err := open()
	if err != nil {
		return OverlayStats{}, err
	}
	defer r.Close()
	ov := &overlay{
		w: bufio.NewWriter(w), o: o, plan: p, f: newFollower(name, r, p.births, o.Min), rand: splitmix(o.Seed),
		nextVA: firstVA,
	}
	ov.header(name)
	if err := ov.run(); err != nil {
		return ov.stats, err
	}
	if ov.stats.Batches == 0 {
		return ov.stats, nothingEligible(name, o)
	}
	return ov.stats, ov.w.Flush()
}

func nothingEligible(name string, o OverlayOptions) error {
	return fmt.Errorf("%s: nothing to register: no process of it has %d bytes of private anonymous memory, "+
		"readable and writable, while one of its tasks is free to use KFD", name, o.Min)
}

// plan is what the first reading finds out for the second. Lines are counted as follower.now does.
type plan struct {
	births     map[uint64]uint64
	target     int    // index of the process in follower.procs
	start, end uint64 // the lines between which it is the target; end 0: to the end of the file
	fd         uint64 // first of two labels for our descriptors
	lines      uint64
	directives Directives
}

// survey reads the whole trace and picks the process with the most eligible memory, summed over the lines since its
// last execve, the first of equals.
func survey(name string, open func() (io.ReadCloser, error), o OverlayOptions, births map[uint64]uint64) (plan, error) {
	r, err := open()
	if err != nil {
		return plan{}, err
	}
	defer r.Close()
	f := newFollower(name, r, births, o.Min)
	for {
		l, err := f.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return plan{}, err
		}
		f.follow(l)
	}
	if f.misjudged {
		return survey(name, open, o, f.births)
	}
	best, most := -1, uint64(0)
	for i, p := range f.procs {
		if area := p.area(f.now); p.fits && !p.usesKFD && area > most {
			best, most = i, area
		}
	}
	if best < 0 {
		return plan{}, nothingEligible(name, o)
	}
	t := f.procs[best]
	return plan{f.births, best, t.start, t.end, f.fdAbove, f.now, f.d.trace.Directives}, nil
}

// header prints what the file is. A directive that the capture has already is left to it.
func (ov *overlay) header(name string) {
	base, o := strings.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, filepath.Base(name)), ov.o
	if name == "-" || name == "" {
		base = "standard input"
	}
	fmt.Fprintf(ov.w, "# The capture %s with userptr batches laid over it: an ordinary program whose memory a GPU uses.\n", base)
	fmt.Fprintf(ov.w, "# Made by `kfdsim overlay`: min %d, max %d, ranges %d, every %d, seed %d, batches %d.\n",
		o.Min, o.Max, o.Ranges, o.Every, o.Seed, o.MaxBatches)
	ds := &ov.plan.directives
	if ds.Question == "" {
		fmt.Fprintf(ov.w, "#: question: does the GPU see the memory of %s while the program unmaps, forks and returns it?\n", base)
	}
	if !slices.Contains(ds.Needs, "gpu") {
		ov.w.WriteString("#: needs: gpu\n")
	}
	var expect []string
	for _, design := range []string{"batch", "mirror", "single"} {
		if !slices.ContainsFunc(ds.Result, func(e Expectation) bool { return e.Design == design }) {
			expect = append(expect, design+"=ok")
		}
	}
	if len(expect) > 0 {
		fmt.Fprintf(ov.w, "#: result: %s\n", strings.Join(expect, " "))
	}
}

// overlay is the second reading.
type overlay struct {
	w     *bufio.Writer
	o     OverlayOptions
	plan  plan
	f     *follower
	rand  splitmix
	stats OverlayStats
	buf   []byte
	form  lineForm

	target *proc // from its start to its end
	first  *task // of the target
	opened bool
	wait   int // lines since the last action

	live       []*overlayBatch   // in order of registration
	registered []*overlayRange   // of all live batches, by address; disjoint
	free       []Range           // scratch
	intact     [][]*overlayRange // scratch
	nextVA     uint64
	handles    uint64 // given out
}

// lineForm is how the line of the capture behind ours names its task and time.
type lineForm struct {
	prefix Prefix
	task   *task
	comm   []byte
	time   []byte
}

func (ov *overlay) run() error {
	for {
		l, err := ov.f.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if l.hasTask() {
			ov.before(l)
			ov.stats.Events++
		}
		ov.stats.CaptureLines++
		ov.buf = append(appendRead(ov.buf[:0], l), '\n')
		ov.w.Write(ov.buf)
		ov.f.follow(l)
		ov.start()
	}
	if ov.f.now != ov.plan.lines {
		return errors.New(ov.f.r.name + ": changed between the first reading and the second")
	}
	ov.finish()
	if ov.first != nil {
		ov.stats.Process = ov.first.tid
	}
	return nil
}

// start makes the target the target, behind the line that began it.
func (ov *overlay) start() {
	if ov.target != nil || ov.f.now != ov.plan.start || len(ov.f.procs) <= ov.plan.target || ov.opened {
		return
	}
	if p := ov.f.procs[ov.plan.target]; p.space != nil && len(p.threads) > 0 {
		ov.target = p
		p.space.lost = ov.lose
		ov.first = p.threads[0].task
	}
}

// before acts between the last line and l, if it is time.
func (ov *overlay) before(l *Line) {
	if ov.target == nil {
		return
	}
	ov.form.prefix, ov.form.task = l.Prefix, nil
	if l.Prefix == PrefixNone {
		ov.form.task = ov.f.d.unprefixed(l)
	} else if t := ov.f.d.tasks[l.TID]; t != nil {
		ov.form.task = t
	}
	ov.form.time = append(ov.form.time[:0], l.Time...)
	ov.form.comm = append(ov.form.comm[:0], l.Comm...)
	if ov.f.now+1 == ov.plan.end {
		ov.finish()
		return
	}
	ov.wait++
	th := ov.worker()
	switch {
	case th == nil:
	case !ov.opened:
		ov.openKFD(th)
	case ov.wait >= ov.o.Every:
		ov.wait = 0
		ov.act(th)
	}
}

// worker picks a thread of the target that is not inside a call, nil if there is none.
func (ov *overlay) worker() *thread {
	n := 0
	for _, th := range ov.target.threads {
		if th.free() {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	k := int(ov.rand.below(uint64(n)))
	for _, th := range ov.target.threads {
		if th.free() {
			if k == 0 {
				return th
			}
			k--
		}
	}
	panic("BUG: a thread is no longer free")
}

func (th *thread) free() bool { return !th.leaving && !th.task.pend.active }

// print prints a line of ours, done by th, in the form of the lines around it.
func (ov *overlay) print(th *thread, format string, args ...any) {
	l := Line{Prefix: ov.form.prefix, TID: th.task.tid, Time: ov.form.time}
	own := th.task == ov.form.task
	switch {
	case l.TID == unnamed:
		l.Prefix = PrefixNone
		if ov.form.prefix != PrefixNone {
			l.Time = nil // whole seconds would be taken for a task
		}
	case l.Prefix == PrefixNone && !own:
		l.Prefix = PrefixBracket
	}
	if own && len(ov.form.comm) > 0 {
		l.Comm = ov.form.comm
	}
	ov.buf = fmt.Appendf(appendHead(ov.buf[:0], &l), format, args...)
	ov.w.Write(append(ov.buf, '\n'))
}

// kfd is the label of /dev/kfd as -y shows it.
func (ov *overlay) kfd() string { return strconv.FormatUint(ov.plan.fd, 10) + "</dev/kfd>" }

func (ov *overlay) openKFD(th *thread) {
	const render = "/dev/dri/renderD128"
	ov.opened = true
	drm := ov.plan.fd + 1
	ov.print(th, `openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = %s`, ov.kfd())
	ov.print(th, `openat(AT_FDCWD, "%s", O_RDWR|O_CLOEXEC) = %d<%s>`, render, drm, render)
	ov.print(th, "ioctl(%s, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=%d, gpu_id=1}) = 0", ov.kfd(), drm)
	ov.print(th, "ioctl(%s, AMDKFD_IOC_CREATE_QUEUE, {gpu_id=1, queue_type=KFD_IOC_QUEUE_TYPE_SDMA} => {queue_id=0}) = 0",
		ov.kfd())
}
