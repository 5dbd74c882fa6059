// SPDX-License-Identifier: MIT

package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
)

// checkedMachine is a machine with a checker and one process that uses the GPU.
type checkedMachine struct {
	s   *sim.Sim
	sys *mm.System
	drv *kfd.Driver
	chk *checker
	mm  *mm.MM
	p   *kfd.Process
	bos []uint64 // handles by number of the registration
	vas uint64   // GPU areas used
}

const (
	cpuBase  = 0x10000000 // bytes; where the test maps memory
	gpuBase  = 0x40000000 // bytes; where BOs begin on the GPU
	pageSize = mm.PageSize
	userMem  = kfd.AllocUserptr | kfd.AllocWritable | kfd.AllocExecutable
)

var machineOfTests = mm.Config{RAM: 4096, Swap: 4096, Nodes: 1, Memlock: ^uint64(0)}

// designNamesOfTests are the correct designs, the reference first.
var designNamesOfTests = func() []string {
	names := []string{"batch"}
	for _, d := range Designs() {
		if d.Name != names[0] {
			names = append(names, d.Name)
		}
	}
	return names
}()

// correctDesigns are the same, by name.
var correctDesigns = func() map[string]func() kfd.Design {
	m := map[string]func() kfd.Design{}
	for _, d := range Designs() {
		m[d.Name] = func() kfd.Design { return d.make() }
	}
	return m
}()

func newCheckedMachine(d kfd.Design, ch sim.Chooser) *checkedMachine {
	return newMachineWith(d, ch, 1)
}

func newMachineWith(d kfd.Design, ch sim.Chooser, gpus int) *checkedMachine {
	m := &checkedMachine{s: sim.New(sim.Options{Chooser: ch})}
	m.chk = newChecker(m.s)
	m.sys = mm.NewSystem(m.s, machineOfTests, m.chk)
	m.drv = kfd.New(m.s, m.sys, d, gpus, 0, m.chk, m.chk)
	m.chk.attach(m.sys, m.drv)
	m.s.SetCheck(m.chk.check)
	m.mm = m.sys.NewMM("100")
	return m
}

// run performs body as the first task, lets everything come to rest, kills the
// process and judges what is left. It returns what broke, nil if nothing did.
func (m *checkedMachine) run(body func(t *sim.Task)) *sim.Failure {
	m.s.Go("100", func(t *sim.Task) {
		m.p = m.drv.Open(t, m.mm)
		for _, id := range m.gpuIDs() {
			m.p.AcquireVM(t, id, id)
			m.p.CreateQueue(t, kfd.QueueArgs{GPUID: id, Type: kfd.QueueSDMA})
		}
		body(t)
		t.Sleep(20 * sim.Millisecond)
		m.chk.atRest()
		t.Point()
		m.mm.Put(t)
	})
	m.s.Run()
	if m.s.Failure() == nil {
		m.chk.endOfRun()
	}
	f := m.s.Failure()
	m.s.Close()
	return f
}

func (m *checkedMachine) gpuIDs() []uint32 {
	var ids []uint32
	for _, g := range m.drv.GPUs {
		ids = append(ids, uint32(g.ID()))
	}
	return ids
}

// mmap maps pages of private anonymous memory at a page of the test's area and
// writes them.
func (m *checkedMachine) mmap(t *sim.Task, page, n uint64) {
	addr := cpuBase + page*pageSize
	if _, err := m.mm.Mmap(t, addr, n*pageSize, mm.ProtRead|mm.ProtWrite, mm.MapPrivate|mm.MapAnonymous|mm.MapFixed, nil, 0); err != 0 {
		panic(err)
	}
	m.mm.Store(t, addr, n*pageSize, 0x11)
}

// register makes BOs of ranges of pages, consecutive on the GPU, and maps them.
// It repeats what collides, as user space does.
func (m *checkedMachine) register(t *sim.Task, va uint64, ranges ...kfd.AddrRange) errno.Errno {
	if m.drv.Design.Batched() {
		total := uint64(0)
		for _, r := range ranges {
			total += r.Size
		}
		return m.call(t, func() errno.Errno {
			h, err := m.p.AllocMemoryOfGPUBatch(t, &kfd.AllocArgs{VA: va, Size: total, GPUID: 1, Flags: userMem, Ranges: ranges, NumRanges: uint32(len(ranges))})
			return m.mapBO(t, h, err)
		})
	}
	for _, r := range ranges {
		err := m.call(t, func() errno.Errno {
			h, err := m.p.AllocMemoryOfGPU(t, &kfd.AllocArgs{VA: va, Size: r.Size, MmapOffset: r.Start, GPUID: 1, Flags: userMem})
			return m.mapBO(t, h, err)
		})
		if err != 0 {
			return err
		}
		va += r.Size
	}
	return 0
}

func (m *checkedMachine) mapBO(t *sim.Task, h uint64, err errno.Errno) errno.Errno {
	if err != 0 {
		return err
	}
	m.bos = append(m.bos, h)
	return m.call(t, func() errno.Errno {
		_, err := m.p.MapMemoryToGPU(t, m.everywhere(h))
		return err
	})
}

// everywhere are the arguments to map or unmap a BO on every GPU.
func (m *checkedMachine) everywhere(h uint64) *kfd.MapArgs {
	ids := m.gpuIDs()
	return &kfd.MapArgs{Handle: h, DeviceIDs: ids, NDevices: uint32(len(ids))}
}

// call is an ioctl as the runner makes it.
func (m *checkedMachine) call(t *sim.Task, f func() errno.Errno) errno.Errno {
	for range 100 {
		m.chk.beforeIoctl(m.p)
		err := f()
		m.chk.afterIoctl(m.p, err)
		if err != errno.EAGAIN {
			return err
		}
		t.Sleep(sim.Microsecond)
	}
	return errno.EAGAIN
}

// unregister unmaps and frees the BO of the test's number.
func (m *checkedMachine) unregister(t *sim.Task, i int) {
	h := m.bos[i]
	m.bos = append(m.bos[:i], m.bos[i+1:]...)
	m.call(t, func() errno.Errno {
		_, err := m.p.UnmapMemoryFromGPU(t, m.everywhere(h))
		return err
	})
	m.call(t, func() errno.Errno { return m.p.FreeMemoryOfGPU(t, h) })
}

// touch lets the GPU write pages from the page-th of the GPU area on.
func (m *checkedMachine) touch(t *sim.Task, page, n uint64) errno.Errno {
	_, err := m.p.GPUAccess(t, uint32(len(m.drv.GPUs)), gpu.Packet{Op: gpu.Write, VA: gpuBase + page*pageSize, N: n * pageSize, Byte: 0x77}, false)
	return err
}

// fork makes a child that shares everything until the parent writes, and ends it.
func (m *checkedMachine) fork(t *sim.Task) {
	if child, err := m.mm.DupMM(t, "101"); err == 0 {
		child.Put(t)
	}
}

func area(page, n uint64) kfd.AddrRange {
	return kfd.AddrRange{Start: cpuBase + page*pageSize, Size: n * pageSize}
}

// ordinaryLife is what user memory goes through: everything that fires a notifier.
func (m *checkedMachine) ordinaryLife(t *sim.Task) {
	m.mmap(t, 0, 16)
	m.register(t, gpuBase, area(0, 2), area(4, 2), area(8, 4))
	m.touch(t, 0, 8)
	m.fork(t)
	m.mm.Store(t, cpuBase, 16*pageSize, 0x22)
	m.touch(t, 0, 8)
	m.mm.Madvise(t, cpuBase+2*pageSize, 2*pageSize, mm.MadvDontNeed) // a gap
	m.mm.Madvise(t, cpuBase+4*pageSize, pageSize, mm.MadvDontNeed)
	m.touch(t, 0, 8)
	m.mm.Madvise(t, cpuBase, 16*pageSize, mm.MadvPageOut)
	m.touch(t, 0, 8)
	m.mm.Mprotect(t, cpuBase+8*pageSize, 4*pageSize, mm.ProtRead)
	m.touch(t, 0, 4)
	m.mm.Mprotect(t, cpuBase+8*pageSize, 4*pageSize, mm.ProtRead|mm.ProtWrite)
	m.touch(t, 4, 4)
	m.mm.Munmap(t, cpuBase+4*pageSize, 2*pageSize)
	m.touch(t, 0, 2)
	m.mmap(t, 4, 2)
	m.fork(t)
	m.touch(t, 2, 2)
	m.unregister(t, 0)
	m.register(t, gpuBase+0x1000000, area(0, 1), area(100, 1)) // fails: nothing is there
}

func TestACorrectDesignBreaksNoProperty(t *testing.T) {
	for name, design := range correctDesigns {
		t.Run(name, func(t *testing.T) {
			m := newCheckedMachine(design(), nil)
			f := m.run(m.ordinaryLife)
			require.Nil(t, f, "%+v", f)
		})
	}
}

func TestACorrectDesignBreaksNoPropertyInAnyOrder(t *testing.T) {
	for name, design := range correctDesigns {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(40) {
				m := newCheckedMachine(design(), sim.NewSeeded(seed))
				f := m.run(m.ordinaryLife)
				require.Nil(t, f, "seed %d: %+v", seed, f)
			}
		})
	}
}

// TestTheCheckerChangesNothing compares histories with and without one.
func TestTheCheckerChangesNothing(t *testing.T) {
	for name, design := range correctDesigns {
		for seed := range uint64(10) {
			with := newCheckedMachine(design(), sim.NewSeeded(seed))
			require.Nil(t, with.run(with.ordinaryLife))
			without := &checkedMachine{s: sim.New(sim.Options{Chooser: sim.NewSeeded(seed)})}
			without.chk = newChecker(without.s)
			without.sys = mm.NewSystem(without.s, machineOfTests, nil)
			without.drv = kfd.New(without.s, without.sys, design(), 1, 0, nil, nil)
			without.mm = without.sys.NewMM("100")
			require.Nil(t, without.run(without.ordinaryLife))
			require.Equal(t, with.s.History().Fingerprint(), without.s.History().Fingerprint(), "%s, seed %d", name, seed)
		}
	}
}
