// SPDX-License-Identifier: MIT

package model

import (
	"fmt"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// How long does a restore take while memory goes on being invalidated, and at what
// rate does it end no more? One process registers n ranges of one page each, with
// a page between every two. Everything is invalidated at once; then the restore
// worker runs against an invalidator until it commits or is given up. The driver
// and memory management are the model's own; only time is added:
//
//	fetching one range (one page)   FetchTime; nothing else takes time
//	a pass that collided            is repeated after kfd.RestoreDelay, 1 ms
//	the invalidator                 MADV_DONTNEED of one random page with a fixed chance
//	                                in each FetchTime, whatever the worker does
//
// MADV_DONTNEED takes mmap_lock for reading, as compaction and reclaim do without
// it: a design that holds it for reading over a whole fetch is not protected from
// them. Invalidations that need it for writing (munmap, fork) are not measured.
//
// Everything follows from the seed, and every number is an integer until it is
// printed.

// FetchTime is the virtual time that the fetch of one page takes, the unit of an
// experiment: a write fault of a page costs about 1.9 µs on a desktop (ROCm issue
// 5952).
const FetchTime = 2 * sim.Microsecond

// Place says what an invalidator hits.
type Place uint8

// Places.
const (
	InRange Place = iota // a random range
	InGap                // a random page between two ranges: nobody registered it
)

// String is range or gap.
func (p Place) String() string {
	if p == InGap {
		return "gap"
	}
	return "range"
}

// Load is one experiment.
type Load struct {
	// Design and New are as in Options.
	Design string
	New    func() kfd.Design
	Ranges int
	Place  Place
	// Chance is the probability of an invalidation in one FetchTime, times 2^32.
	Chance uint64
	Seed   uint64
	// Restores is how many restores are measured, each of all ranges; 0 is 20.
	Restores int
	// GiveUp is after how many passes of the worker a restore is given up; 0 is 32.
	GiveUp int
}

// Defaults of a Load.
const (
	defaultRestores = 20
	defaultGiveUp   = 32
	mostRanges      = 1 << 20
)

// PerMS is the rate of a Load in invalidations per millisecond of virtual time.
func (l *Load) PerMS() float64 {
	return float64(l.Chance) / (1 << 32) * float64(sim.Millisecond/FetchTime)
}

// Liveness is what an experiment found. Passes, Fetched and Stopped are sums over
// the restores that committed in time.
type Liveness struct {
	Load
	Committed int      // restores that committed in time
	GivenUp   int      // those that did not; the experiment ends when they are the majority
	Stale     int      // commits of a page that was not the CPU's
	Passes    uint64   // runs of the worker
	Fetched   uint64   // ranges fetched
	Stopped   sim.Time // from the eviction to the commit: how long queues stood
	// Verdict is ok, or the word of a property that broke: then the experiment ended
	// there. stuck: a restore did not commit although invalidations had ended.
	Verdict string
	Reason  string

	squares uint64 // of the passes, for tests
}

// Ends says whether most restores committed in time.
func (l *Liveness) Ends() bool { return l.Verdict == "ok" && 2*l.GivenUp <= l.Restores }

// MeasureRestores performs an experiment. The same load gives the same numbers.
//
// Errors: *ErrUnknownDesign; one for a load that cannot be performed.
func MeasureRestores(l Load) (*Liveness, error) {
	if err := l.findDesign(); err != nil {
		return nil, err
	}
	if l.Ranges < 1 || l.Ranges > mostRanges || l.Place == InGap && l.Ranges < 2 {
		return nil, fmt.Errorf("%d ranges: from 1 to %d, and with a gap from 2", l.Ranges, mostRanges)
	}
	if l.Restores == 0 {
		l.Restores = defaultRestores
	}
	if l.GiveUp == 0 {
		l.GiveUp = defaultGiveUp
	}
	x := newLivenessRun(l)
	x.s.Go("1", x.process)
	x.s.Run()
	if f := x.s.Failure(); f != nil {
		x.res.Verdict, x.res.Reason = f.Verdict, f.Title
	}
	x.s.Close()
	return &x.res, nil
}

// findDesign sets New, unless it is set, and the name as it is printed.
func (l *Load) findDesign() error {
	if l.New != nil {
		l.Design = l.New().Name()
		return nil
	}
	d, err := FindDesign(l.Design)
	if err == nil {
		l.Design, l.New = d.Name, func() kfd.Design { return d.make(d.Defects.List()...) }
	}
	return err
}

// livenessRun is one experiment under way.
type livenessRun struct {
	watchNothing
	res  Liveness
	s    *sim.Sim
	sys  *mm.System
	drv  *kfd.Driver
	mm   *mm.MM
	proc *kfd.Process

	news    sim.WaitQueue // a pass has ended
	commits uint64
	paused  bool   // the invalidator rests
	key     uint64 // of the random numbers; immutable
	drawn   uint64 // random numbers so far
}

// Where the memory of an experiment is, in bytes.
const (
	livenessBase = uint64(0x100000000)
	livenessVA   = uint64(0x4000000000)
	livenessStep = 2 * mm.PageSize // from a range to the next
)

func newLivenessRun(l Load) *livenessRun {
	x := &livenessRun{s: sim.New(sim.Options{Keep: 64})}
	x.res = Liveness{Load: l, Verdict: "ok"}
	x.res.New = nil
	x.sys = mm.NewSystem(x.s, mm.Config{RAM: defaultRAM >> mm.PageShift, Swap: defaultSwap >> mm.PageShift, Nodes: 1, Memlock: ^uint64(0)}, nil)
	x.drv = kfd.New(x.s, x.sys, l.New(), 1, 0, x, nil)
	x.mm = x.sys.NewMM("1")
	x.key = kfd.Mix(0x9e3779b97f4a7c15, l.Seed)
	x.news.Init(x.s, "a pass has ended")
	return x
}

// process registers the memory and has it restored as often as the load says.
func (x *livenessRun) process(t *sim.Task) {
	x.register(t)
	if x.res.Chance > 0 {
		x.paused = true
		t.Sim().Go("invalidator", x.invalidate)
	}
	for n := 0; n < x.res.Restores && x.res.Ends(); n++ {
		x.restore(t)
	}
	t.Sim().Stop()
}

// register makes the BO, or a BO for each range where the design has no batches.
func (x *livenessRun) register(t *sim.Task) {
	x.proc = x.drv.Open(t, x.mm)
	x.proc.AcquireVM(t, 1, "render")
	x.proc.CreateQueue(t, kfd.QueueArgs{GPUID: 1, Type: kfd.QueueSDMA, Percentage: 100})
	n := uint64(x.res.Ranges)
	x.mm.Mmap(t, livenessBase, n*livenessStep, mm.ProtRead|mm.ProtWrite, mm.MapPrivate|mm.MapAnonymous|mm.MapFixed, nil, 0)
	a := kfd.AllocArgs{VA: livenessVA, GPUID: 1, Flags: kfd.AllocUserptr | kfd.AllocWritable}
	if !x.drv.Design.Batched() {
		a.Size = mm.PageSize
		for i := range n {
			a.VA, a.MmapOffset = livenessVA+i*mm.PageSize, livenessBase+i*livenessStep
			h, err := x.proc.AllocMemoryOfGPU(t, &a)
			x.mapped(t, h, err == 0)
		}
		return
	}
	a.Size, a.NumRanges = n*mm.PageSize, uint32(n)
	for i := range n {
		a.Ranges = append(a.Ranges, kfd.AddrRange{Start: livenessBase + i*livenessStep, Size: mm.PageSize})
	}
	h, err := x.proc.AllocMemoryOfGPUBatch(t, &a)
	x.mapped(t, h, err == 0)
}

func (x *livenessRun) mapped(t *sim.Task, handle uint64, ok bool) {
	if ok {
		_, err := x.proc.MapMemoryToGPU(t, &kfd.MapArgs{Handle: handle, DeviceIDs: []uint32{1}, NDevices: 1})
		ok = err == 0
	}
	if !ok {
		panic("BUG: the memory of an experiment cannot be registered")
	}
}

// restore invalidates everything and waits for the commit. A restore that takes
// too many passes is given up; then the invalidator rests until it has committed.
func (x *livenessRun) restore(t *sim.Task) {
	c := &x.drv.Counts
	commits, passes, fetched, begin := x.commits, c.RestorePasses, c.Fetches, t.Sim().Now()
	committedOr := func(passed int) func() bool {
		return func() bool {
			return x.commits != commits || c.RestorePasses-passes >= uint64(passed) && !x.proc.Info.RestoreRunning()
		}
	}
	x.paused = false
	x.mm.Madvise(t, livenessBase, uint64(x.res.Ranges)*livenessStep, mm.MadvDontNeed)
	x.news.WaitEvent(t, committedOr(x.res.GiveUp))
	x.paused = true
	if x.commits == commits {
		x.res.GivenUp++
		x.news.WaitEvent(t, committedOr(2*x.res.GiveUp))
		if x.commits == commits {
			x.res.Verdict, x.res.Reason = "stuck", "a restore does not commit although invalidations have ended"
		}
		return
	}
	n := c.RestorePasses - passes
	x.res.Committed++
	x.res.Passes += n
	x.res.squares += n * n
	x.res.Fetched += c.Fetches - fetched
	x.res.Stopped += t.Sim().Now() - begin
}

// invalidate takes pages away, in the middle of a FetchTime: never at the moment at
// which a fetch begins or ends.
func (x *livenessRun) invalidate(t *sim.Task) {
	t.Sleep(FetchTime / 2)
	for {
		units := sim.Time(1)
		for x.draw()>>32 >= x.res.Chance {
			units++
		}
		t.Sleep(units * FetchTime)
		n := uint64(x.res.Ranges)
		at := livenessBase
		if x.res.Place == InGap {
			at += x.draw()%(n-1)*livenessStep + mm.PageSize
		} else {
			at += x.draw() % n * livenessStep
		}
		if !x.paused {
			x.mm.Madvise(t, at, mm.PageSize, mm.MadvDontNeed)
		}
	}
}

// draw returns the next random number of the seed.
func (x *livenessRun) draw() uint64 {
	x.drawn++
	return kfd.Mix(x.key, x.drawn)
}

// Fetched lets the time of a fetch pass, in the task that fetches.
func (x *livenessRun) Fetched(*kfd.UserRange) { x.s.Current().Sleep(FetchTime) }

// FetchFailed is not what is measured: a fetch that an invalidation has beaten took
// its time before.
func (x *livenessRun) FetchFailed(*kfd.UserRange, errno.Errno) {}

// StateChanged wakes who waits for the end of a pass.
func (x *livenessRun) StateChanged(*kfd.Process) {
	if t := x.s.Current(); t != nil {
		x.news.WakeAll(t)
	}
}

// Committed looks whether every page of every range is the CPU's.
func (x *livenessRun) Committed(_ *sim.Task, p *kfd.Process) {
	x.commits++
	for _, m := range p.Info.BOs() {
		for i := range m.Ranges {
			r := &m.Ranges[i]
			frame, ok := m.Pages.Get(r.Prefix)
			cpu := x.mm.PTEIter(r.Start, r.End)
			if ok && (!cpu.Next() || uint64(mm.PTE(cpu.Run.V).Frame()) != frame) {
				x.res.Stale++
				return
			}
		}
	}
}

// watchNothing is a kfd.Watcher to build on.
type watchNothing struct{}

func (watchNothing) Dropping(*kfd.UserRange)                  {}
func (watchNothing) Evicting(*kfd.Process, *mm.NotifierRange) {}
func (watchNothing) Allocated(*kfd.Mem)                       {}
func (watchNothing) Placed(*kfd.Mem, *kfd.ProcessDevice)      {}
func (watchNothing) Unplaced(*kfd.Mem, *kfd.ProcessDevice)    {}
func (watchNothing) Freeing(*kfd.Mem)                         {}
func (watchNothing) Freed(*kfd.Mem)                           {}
func (watchNothing) Gone(*kfd.Process)                        {}
