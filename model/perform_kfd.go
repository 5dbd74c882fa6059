// SPDX-License-Identifier: MIT

package model

import (
	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// Numbers of the ioctls that do something here.
//
// Kernel: include/uapi/linux/kfd_ioctl.h.
const (
	nrCreateQueue    = 0x02
	nrDestroyQueue   = 0x03
	nrAcquireVM      = 0x15
	nrAlloc          = 0x16
	nrFree           = 0x17
	nrMap            = 0x18
	nrUnmap          = 0x19
	nrSVM            = 0x20
	nrBatch          = 0x28
	lastKnown        = 0x28
	unknownHandleLow = 0xffffffff
)

// kfdLabels translates what a trace calls BOs and queues into what this run
// returned.
type kfdLabels struct {
	bos    map[uint64]*boLabel
	queues map[uint32]uint32
}

// boLabel is a handle of the trace: one BO, or one for each range where a batch
// was lowered to single calls.
type boLabel struct{ handles []uint64 }

// ioctl performs a KFD ioctl, repeating it while it is interrupted, as libhsakmt
// does.
//
// Kernel: kfd_ioctl, kfd_chardev.c; hsakmt_ioctl of libhsakmt.
func (r *runner) ioctl(t *sim.Task, th *thread, op *traces.Op) (uint64, errno.Errno, bool) {
	k := op.X.KFD
	if k == nil || k.Undecoded {
		return 0, 0, false // kept, counted as undecoded, not replayed
	}
	p, err := th.kfdOf(int(int32(op.A[0])))
	if err != 0 {
		return 0, err, true
	}
	for {
		r.drv.Counts.Ioctls++
		r.chk.beforeIoctl(p)
		err = r.dispatchIoctl(t, th, p, op)
		r.chk.afterIoctl(p, err)
		if err != errno.EAGAIN && err != errno.EINTR || t.Killed() {
			return 0, err, true
		}
		r.drv.Counts.Retries++
		t.Sleep(sim.Microsecond)
	}
}

// dispatchIoctl is one attempt.
func (r *runner) dispatchIoctl(t *sim.Task, th *thread, p *kfd.Process, op *traces.Op) errno.Errno {
	k := op.X.KFD
	switch k.NR {
	case nrAcquireVM:
		var file any
		if d, ok := th.proc.fds.m[int(int32(k.DRMFD))]; ok && d.f.dev == deviceRender {
			file = d.f
		}
		return p.AcquireVM(t, k.GPUID, file)
	case nrCreateQueue:
		id, err := p.CreateQueue(t, kfd.QueueArgs{GPUID: k.GPUID, Type: k.QueueType, Percentage: k.QueuePercentage, Priority: k.QueuePriority})
		if err == 0 {
			label := id
			if k.HasOutQueueID {
				label = k.OutQueueID
			}
			th.proc.fds.access(t, sim.KindWrite)
			th.proc.labels.setQueue(label, id)
		}
		return err
	case nrDestroyQueue:
		id, ok := th.proc.labels.queues[k.QueueID]
		if !ok {
			return errno.EINVAL
		}
		th.proc.fds.access(t, sim.KindWrite)
		delete(th.proc.labels.queues, k.QueueID)
		return p.DestroyQueue(t, id)
	case nrAlloc:
		return r.alloc(t, th, p, op)
	case nrBatch:
		return r.allocBatch(t, th, p, op)
	case nrMap, nrUnmap:
		return r.mapOrUnmap(t, th, p, op)
	case nrFree:
		return r.free(t, th, p, k.Handle)
	case nrSVM:
		if k.Op == 0 {
			return p.SVMSetAttr(t, k.StartAddr, k.Size)
		}
		return 0
	}
	if k.NR == 0 || k.NR > lastKnown {
		return errno.ENOTTY
	}
	r.notModelled("ioctl")
	return 0
}

func (l *kfdLabels) setQueue(label, id uint32) {
	if l.queues == nil {
		l.queues = map[uint32]uint32{}
	}
	l.queues[label] = id
}

// setBO gives handles the label that the trace uses.
func (l *kfdLabels) setBO(k *traces.KFDArgs, handles ...uint64) {
	if l.bos == nil {
		l.bos = map[uint64]*boLabel{}
	}
	label := handles[0]
	if k.HasOutHandle {
		label = k.OutHandle
	}
	l.bos[label] = &boLabel{handles}
}

// handlesOf returns the BOs behind a label; one that was never allocated stands
// for a number that the driver does not know.
func (l *kfdLabels) handlesOf(label uint64) []uint64 {
	if b := l.bos[label]; b != nil {
		return b.handles
	}
	return []uint64{label | unknownHandleLow}
}

func (r *runner) alloc(t *sim.Task, th *thread, p *kfd.Process, op *traces.Op) errno.Errno {
	k := op.X.KFD
	if op.Result.Kind == traces.ResultOK && k.Flags&kfd.AllocUserptr != 0 {
		r.ambient(t, th.proc.mm, k.MmapOffset, k.Size)
	}
	if k.Flags&kfd.AllocUserptr == 0 && op.Result.Kind == traces.ResultOK {
		r.notModelled("ioctl")
		return 0
	}
	h, err := p.AllocMemoryOfGPU(t, &kfd.AllocArgs{VA: k.VAAddr, Size: k.Size, MmapOffset: k.MmapOffset, GPUID: k.GPUID, Flags: k.Flags})
	if err == 0 {
		th.proc.fds.access(t, sim.KindWrite)
		th.proc.labels.setBO(k, h)
	}
	return err
}

// allocBatch registers many ranges: with the design's own call, or with one call
// for each range where it has none.
func (r *runner) allocBatch(t *sim.Task, th *thread, p *kfd.Process, op *traces.Op) errno.Errno {
	k := op.X.KFD
	a := &kfd.AllocArgs{VA: k.VAAddr, Size: k.Size, GPUID: k.GPUID, Flags: k.Flags, NumRanges: k.NumRanges}
	for _, rg := range k.Ranges {
		a.Ranges = append(a.Ranges, kfd.AddrRange{Start: rg.Start, Size: rg.Size})
		if op.Result.Kind == traces.ResultOK {
			r.ambient(t, th.proc.mm, rg.Start, rg.Size)
		}
	}
	if r.drv.Design.Batched() {
		h, err := p.AllocMemoryOfGPUBatch(t, a)
		if err == 0 {
			th.proc.fds.access(t, sim.KindWrite)
			th.proc.labels.setBO(k, h)
		}
		return err
	}
	if err := kfd.CheckBatch(a); err != 0 {
		return err
	}
	var handles []uint64
	va := a.VA
	for _, rg := range a.Ranges[:a.NumRanges] {
		h, err := r.allocRetrying(t, p, &kfd.AllocArgs{VA: va, Size: rg.Size, MmapOffset: rg.Start, GPUID: a.GPUID, Flags: a.Flags})
		if err != 0 {
			for _, h := range handles {
				p.FreeMemoryOfGPU(t, h)
			}
			return err
		}
		handles = append(handles, h)
		va += rg.Size
	}
	r.drv.Counts.Ioctls += uint64(len(handles)) - 1
	th.proc.fds.access(t, sim.KindWrite)
	th.proc.labels.setBO(k, handles...)
	return 0
}

// allocRetrying repeats one of the calls of a lowered batch.
func (r *runner) allocRetrying(t *sim.Task, p *kfd.Process, a *kfd.AllocArgs) (uint64, errno.Errno) {
	for {
		h, err := p.AllocMemoryOfGPU(t, a)
		if err != errno.EAGAIN && err != errno.EINTR || t.Killed() {
			return h, err
		}
		r.drv.Counts.Ioctls++
		r.drv.Counts.Retries++
		t.Sleep(sim.Microsecond)
	}
}

// mapOrUnmap acts on every BO behind the label. They stay alike: where one of
// them fails on a device, none has done it there, as with one BO for all ranges.
func (r *runner) mapOrUnmap(t *sim.Task, th *thread, p *kfd.Process, op *traces.Op) errno.Errno {
	k := op.X.KFD
	handles := th.proc.labels.handlesOf(k.Handle)
	done, err := k.NDevices, errno.Errno(0)
	for i, h := range handles {
		if err != 0 && done <= k.NSuccess {
			break // nothing was done that the others must do, too
		}
		if i > 0 {
			r.drv.Counts.Ioctls++
		}
		a := kfd.MapArgs{Handle: h, DeviceIDs: k.DeviceIDs, NDevices: done, NSuccess: k.NSuccess}
		n, e := mapOrUnmapOne(t, p, k.NR, &a)
		if e == 0 {
			continue
		}
		for _, before := range handles[:i] {
			r.drv.Counts.Ioctls++
			undo := kfd.MapArgs{Handle: before, DeviceIDs: k.DeviceIDs, NDevices: done, NSuccess: n}
			mapOrUnmapOne(t, p, nrMap+nrUnmap-k.NR, &undo)
		}
		done, err = n, e
	}
	// The kernel copies the struct back after a failure, too: the next call goes on
	// from there.
	if k.HasOutNSuccess && done != k.OutNSuccess && err != errno.EAGAIN && err != errno.EINTR {
		r.differ(op, hex(uint64(done)), hex(uint64(k.OutNSuccess)))
	}
	return err
}

func mapOrUnmapOne(t *sim.Task, p *kfd.Process, nr uint8, a *kfd.MapArgs) (uint32, errno.Errno) {
	if nr == nrMap {
		return p.MapMemoryToGPU(t, a)
	}
	return p.UnmapMemoryFromGPU(t, a)
}

func (r *runner) free(t *sim.Task, th *thread, p *kfd.Process, label uint64) errno.Errno {
	for i, h := range th.proc.labels.handlesOf(label) {
		if i > 0 {
			r.drv.Counts.Ioctls++
		}
		if err := p.FreeMemoryOfGPU(t, h); err != 0 {
			return err
		}
	}
	th.proc.fds.access(t, sim.KindWrite)
	delete(th.proc.labels.bos, label)
	return 0
}

// gpuAccess performs gpu.read, gpu.write and gpu.wait.
func (r *runner) gpuAccess(t *sim.Task, th *thread, op *traces.Op) (uint64, errno.Errno, bool) {
	p := th.kfd()
	id := uint32(op.A[0])
	if r.failing && (p == nil || !p.HasQueue(id)) {
		return 0, errno.ENODEV, false // CREATE_QUEUE failed
	}
	if p == nil || uint64(id) != op.A[0] || !p.HasQueue(id) {
		r.fail(op, op.Call.String(), "the process has no queue on this GPU: CREATE_QUEUE comes first")
		return 0, 0, false
	}
	th.inKernel = true
	val, err, judged := r.gpuCall(t, p, id, op)
	th.inKernel = false
	return val, err, judged
}

func (r *runner) gpuCall(t *sim.Task, p *kfd.Process, id uint32, op *traces.Op) (uint64, errno.Errno, bool) {
	if op.Call == traces.CallGPUWait {
		return 0, p.GPUWait(t, id), true
	}
	pkt := gpu.Packet{Op: gpu.Read, VA: op.A[1], N: op.A[2]}
	if op.Call == traces.CallGPUWrite {
		pkt.Op, pkt.Byte = gpu.Write, byte(op.A[3])
	}
	async := op.X != nil && op.X.Async
	bytes, err := p.GPUAccess(t, id, pkt, async)
	if op.Call == traces.CallGPURead && !async && !t.Killed() {
		r.saw(op, id, op.A[1], bytes, err)
	}
	return 0, err, true
}

// dump notes both page tables of the process, page by page of its BOs.
func (r *runner) dump(th *thread, op *traces.Op) {
	p := th.kfd()
	if p == nil || p.Info == nil {
		return
	}
	for _, m := range p.Mems() {
		for i := range m.Ranges {
			r.dumps = append(r.dumps, dumpRange(op.Line, th, m, &m.Ranges[i])...)
		}
	}
}

// dumpRange prints the runs of one range: what the CPU has, what each GPU has,
// and whether they are the same page.
func dumpRange(line int, th *thread, m *kfd.Mem, u *kfd.UserRange) []string {
	var out []string
	m.MappedTo(func(pd *kfd.ProcessDevice) {
		for at := u.Start; at < u.End; {
			g := m.VA + u.Prefix + (at - u.Start)
			n, text := compareTables(th.proc.mm, pd.VM, at, g, u.End-at)
			out = append(out, "line "+decimal(line)+": gpu"+decimal(pd.Dev.ID())+" va "+hex(g<<mm.PageShift)+
				" cpu "+hex(at<<mm.PageShift)+" pages "+decimal(int(n))+": "+text)
			at += n
		}
	})
	return out
}

// compareTables describes the run of pages from CPU page at and GPU page g on.
func compareTables(m *mm.MM, vm *gpu.VM, at, g, limit uint64) (uint64, string) {
	first := pageState(m, vm, at, g)
	n := uint64(1)
	for n < limit && pageState(m, vm, at+n, g+n) == first {
		n++
	}
	return n, first
}

func pageState(m *mm.MM, vm *gpu.VM, at, g uint64) string {
	c, p := m.PTEAt(at), vm.PTEAt(g)
	s := "cpu="
	switch {
	case !c.Present():
		s += "none"
	case c.Writable():
		s += "rw"
	default:
		s += "ro"
	}
	switch {
	case !p.Valid():
		return s + " gpu=none"
	case c.Present() && c.Frame() == p.Frame():
		return s + " gpu=same"
	}
	return s + " gpu=other"
}

// sameBytes compares what was read with what is recorded.
func sameBytes(got []phys.ByteRun, want []traces.ByteRun) bool {
	i, j := 0, 0
	var gi, wj uint64
	for i < len(got) && j < len(want) {
		if got[i].Byte != want[j].Byte {
			return false
		}
		n := min(got[i].N-gi, want[j].N-wj)
		gi, wj = gi+n, wj+n
		if gi == got[i].N {
			i, gi = i+1, 0
		}
		if wj == want[j].N {
			j, wj = j+1, 0
		}
	}
	return i == len(got) && j == len(want)
}
