// SPDX-License-Identifier: MIT

//go:build linux && amd64

package guest

import (
	"errors"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kfdsim/kfdsim/hw/performer"
	"github.com/kfdsim/kfdsim/traces"
)

// Numbers and flags of KFD's ioctls, include/uapi/linux/kfd_ioctl.h.
const (
	nrAlloc, nrFree, nrMap, nrUnmap, nrBatch = 0x16, 0x17, 0x18, 0x19, 0x28

	flagUserptr  = 1 << 2
	flagWritable = 1 << 31
	page         = 4096
)

// driver is what a driver knows of one address space.
type driver struct {
	fd   int // of the observer in the process
	bos  []*bo
	dead bool // after a VM fault
}

// bo is a buffer of user memory.
type bo struct {
	handle   uint64
	va, size uint64 // GPU addresses, bytes
	writable bool
	mapped   map[uint32]bool // by GPU
	ranges   []*userRange
}

// userRange is one registered range.
type userRange struct {
	id         uint32 // the observer's
	number     int    // the outcome's
	addr, size uint64 // CPU addresses, bytes
	va         uint64 // GPU address of its first byte
	// valid: its pages are known; absent: the last fetch found them gone.
	valid, absent, fetched bool
	hits                   int // callbacks so far
}

func (u *userRange) invalidate() {
	u.valid, u.absent, u.fetched = false, false, false
	u.hits++
}

// kfdCall performs an ioctl of KFD.
func (r *run) kfdCall(th *thread, op *traces.Op) error {
	k, d := op.X.KFD, th.proc.driver
	switch k.NR {
	case nrAlloc:
		size := (k.Size + page - 1) &^ (page - 1)
		return r.alloc(th, k, []traces.Range{{Start: k.MmapOffset &^ (page - 1), Size: size}})
	case nrBatch:
		return r.alloc(th, k, k.Ranges)
	case nrMap:
		b, err := d.find(k.Handle)
		if err != nil {
			return unix.ENOMEM
		}
		for _, id := range k.DeviceIDs[min(int(k.NSuccess), len(k.DeviceIDs)):] {
			if err := r.mapOn(th, b, id); err != nil {
				return err
			}
		}
	case nrUnmap:
		b, err := d.find(k.Handle)
		if err != nil {
			return unix.ENOMEM
		}
		for _, id := range k.DeviceIDs {
			if !b.mapped[id] {
				return unix.EINVAL
			}
			delete(b.mapped, id)
		}
	case nrFree:
		b, err := d.find(k.Handle)
		if err != nil {
			return err
		}
		if len(b.mapped) > 0 {
			return unix.EBUSY
		}
		d.bos = slices.DeleteFunc(d.bos, func(x *bo) bool { return x == b })
		return r.unregister(th, b)
	}
	return nil
}

// mapSome maps what a map call had mapped before the driver found an argument wrong.
func (r *run) mapSome(th *thread, k *traces.KFDArgs) error {
	if k.NR != nrMap || !k.HasOutNSuccess || th.proc.driver == nil {
		return nil
	}
	b, err := th.proc.driver.find(k.Handle)
	if err != nil {
		return nil
	}
	for _, id := range k.DeviceIDs[min(int(k.NSuccess), len(k.DeviceIDs)):min(int(k.OutNSuccess), len(k.DeviceIDs))] {
		if err := r.mapOn(th, b, id); err != nil {
			return err
		}
	}
	return nil
}

func (d *driver) find(handle uint64) (*bo, error) {
	for _, b := range d.bos {
		if b.handle == handle {
			return b, nil
		}
	}
	return nil, unix.EINVAL
}

// alloc registers ranges: all of them, or none. Nothing is faulted in.
func (r *run) alloc(th *thread, k *traces.KFDArgs, ranges []traces.Range) error {
	d, t := th.proc.driver, th.task
	b := &bo{handle: k.OutHandle, va: k.VAAddr, writable: k.Flags&flagWritable != 0, mapped: map[uint32]bool{}}
	for _, u := range ranges {
		if _, err := r.m.rangeCall(t, d.fd, obsCheck, u.Start, u.Size, 0, 0); err != nil {
			return err
		}
	}
	for _, u := range ranges {
		tag := r.m.runs<<32 | uint64(len(r.ranges))
		id, err := r.m.rangeCall(t, d.fd, obsRegister, u.Start, u.Size, tag, 0)
		if err != nil {
			r.unregister(th, b)
			return err
		}
		x := &userRange{id: id, number: r.obs.Registered(u.Start, u.Start+u.Size), addr: u.Start, size: u.Size, va: b.va + b.size}
		r.ranges = append(r.ranges, x)
		b.ranges = append(b.ranges, x)
		b.size += u.Size
	}
	d.bos = append(d.bos, b)
	slices.SortStableFunc(d.bos, func(x, y *bo) int {
		if x.va < y.va {
			return -1
		}
		return min(1, int(x.va-y.va))
	})
	return nil
}

func (r *run) unregister(th *thread, b *bo) error {
	for _, u := range b.ranges {
		if _, err := r.m.rangeCall(th.task, th.proc.driver.fd, obsUnregister, 0, 0, 0, u.id); err != nil {
			return err
		}
		r.obs.Unregistered(u.number)
	}
	return nil
}

// fetch makes one attempt on a range.
func (r *run) fetch(th *thread, u *userRange) error {
	frames, err := fetchCall(th.task, th.proc.driver.fd, u.id, u.size/page)
	if e := r.drain(); e != nil {
		return e
	}
	var errno syscall.Errno
	switch {
	case err == nil:
		r.obs.Fetched(u.number, frames)
	case errors.As(err, &errno) && errno != unix.E2BIG:
		r.obs.FetchFailed(u.number, traces.ErrnoName(int(errno)))
	}
	return err
}

// rounds is how often a range may collide before that is called a loop without end.
const rounds = 1000

// mapOn faults every range once, and again as long as one collides. What was
// fetched is forgotten.
func (r *run) mapOn(th *thread, b *bo, gpu uint32) error {
	if b.mapped[gpu] {
		return nil
	}
	for range rounds {
		collided := false
		for _, u := range b.ranges {
			switch err := r.fetch(th, u); err {
			case nil:
			case unix.EBUSY:
				collided = true
			default:
				return err
			}
		}
		if !collided {
			b.mapped[gpu] = true
			return nil
		}
	}
	return unix.ELOOP
}

// touched returns the mapped ranges that the GPU pages of [va,va+n) belong to.
func (d *driver) touched(gpu uint32, va, n uint64) (out []*userRange) {
	lo, hi := va&^(page-1), (va+n+page-1)&^(page-1)
	for _, b := range d.bos {
		for _, u := range b.ranges {
			if b.mapped[gpu] && u.va < hi && lo < u.va+u.size {
				out = append(out, u)
			}
		}
	}
	return out
}

// settle fetches what is invalid until all ranges are settled at one moment.
func (r *run) settle(th *thread, ranges []*userRange) error {
	for range rounds {
		for _, u := range ranges {
			if u.valid {
				continue
			}
			hits := u.hits
			switch err := r.fetch(th, u); err {
			case nil:
				u.fetched = true
			case unix.EFAULT, unix.EPERM, unix.ESRCH:
				u.absent = hits == u.hits
			case unix.EBUSY:
			default:
				return err
			}
		}
		settled := true
		for _, u := range ranges {
			u.valid = u.valid || u.fetched
			settled = settled && (u.valid || u.absent)
			u.fetched = false
		}
		if settled {
			return nil
		}
	}
	return unix.ELOOP
}

// gpuAccess performs gpu.read and gpu.write: it goes on until the first byte that
// the GPU cannot reach, which ends all accesses of the process.
func (r *run) gpuAccess(th *thread, op *traces.Op) (seen []traces.ByteRun, err error) {
	d, gpu, va, n := th.proc.driver, uint32(op.A[0]), op.A[1], op.A[2]
	if d.dead {
		return nil, unix.EFAULT
	}
	ranges := d.touched(gpu, va, n)
	if err := r.settle(th, ranges); err != nil {
		return nil, err
	}
	for n > 0 {
		u := d.at(gpu, ranges, va)
		if u == nil || !u.valid || op.Call == traces.CallGPUWrite && !d.writable(u) {
			d.dead = true
			err = unix.EFAULT
			break
		}
		k := min(n, u.va+u.size-va, performer.BufSize-64)
		if seen, err = r.accessPiece(th, op, u, va-u.va, k, seen); err != nil {
			break
		}
		va, n = va+k, n-k
	}
	for _, u := range ranges {
		u.absent = false // look again at the next access
	}
	return seen, err
}

func (r *run) accessPiece(th *thread, op *traces.Op, u *userRange, off, n uint64, seen []traces.ByteRun) ([]traces.ByteRun, error) {
	b := th.task.Buf()[64 : 64+n]
	write := op.Call == traces.CallGPUWrite
	if write {
		for i := range b {
			b[i] = byte(op.A[3])
		}
	}
	if err := accessCall(th.task, th.proc.driver.fd, u.id, write, off, n); err != nil {
		return seen, err
	}
	if !write {
		seen = traces.AppendBytes(seen, b)
	}
	return seen, nil
}

// at returns the range at a GPU address.
func (d *driver) at(gpu uint32, ranges []*userRange, va uint64) *userRange {
	for _, u := range ranges {
		if u.va <= va && va < u.va+u.size {
			return u
		}
	}
	return nil
}

func (d *driver) writable(u *userRange) bool {
	for _, b := range d.bos {
		if slices.Contains(b.ranges, u) {
			return b.writable
		}
	}
	return false
}
