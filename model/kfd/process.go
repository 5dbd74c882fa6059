// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/google/btree"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/sim"
)

var (
	fnCreate  = sim.NewFunc("kfd_create_process", "mm")
	fnRelease = sim.NewFunc("kfd_process_notifier_release", "mm")
	fnFree    = sim.NewFunc("kfd_process_wq_release", "mm")
)

// Process is what the driver keeps for an address space that opened /dev/kfd.
//
// Kernel: struct kfd_process, kfd_priv.h.
type Process struct {
	drv *Driver
	MM  *mm.MM

	// mutex serialises the ioctls of the process.
	mutex sim.Mutex
	// devs has one entry per GPU; protected by mutex.
	devs []*ProcessDevice
	// Info is made with the first VM (acquire) and shared by all of them.
	Info *ProcessInfo
	// svms holds SVM ranges; protected by svmLock.
	svms    svmRanges
	svmLock sim.Mutex

	nextQueue int
	queues    []*userQueue // protected by mutex
	release   sim.DelayedWork
	// gone says that the address space has died.
	gone bool
}

// ProcessDevice is a process on one GPU.
//
// Kernel: struct kfd_process_device and struct qcm_process_device.
type ProcessDevice struct {
	p   *Process
	Dev *Device
	// VM is nil until ACQUIRE_VM; drmFile says by which file.
	VM      *gpu.VM
	drmFile any
	// handles are protected by Process.mutex.
	handles    map[uint32]*Mem
	nextHandle uint32
	// byVA are the attached BOs by GPU address, which never overlap; protected by
	// ProcessInfo.lock.
	byVA *btree.BTreeG[*Mem]
	// evicted counts the reasons to keep queues stopped; it is the sum of
	// reasons. Protected by Device.dqmLock.
	evicted int
	reasons [numReasons]int
}

// ProcessInfo is the eviction state that the VMs of a process share.
//
// Kernel: struct amdkfd_process_info, amdgpu_amdkfd.h.
type ProcessInfo struct {
	P *Process
	// lock keeps the worker away from map, alloc and free.
	lock sim.Mutex
	// notifierLock guards every counter below, the seq of every notifier and the
	// decision to let queues run.
	notifierLock sim.Mutex
	// evictedBOs counts callbacks since the last commit; 0 means that queues run
	// as far as user memory is concerned.
	evictedBOs uint64
	// bos are the BOs with user memory; protected by lock.
	bos     []*Mem
	nextSeq uint64
	// touched are the BOs that a callback has hit since the last pass; protected
	// by notifierLock. inval are those that the worker works on; moving there and
	// back needs both locks.
	touched, inval []*Mem
	restore        sim.DelayedWork
	obj            sim.Object
	runs           []phys.Run // scratch; protected by lock
}

// Open returns the process of an address space, making it if it is new.
//
// Kernel: kfd_create_process, kfd_process.c.
func (d *Driver) Open(t *sim.Task, m *mm.MM) *Process {
	if p := d.byMM[m]; p != nil {
		return p
	}
	p := &Process{drv: d, MM: m}
	p.mutex.Init(d.Sim, classProcess)
	p.svmLock.Init(d.Sim, classSVM)
	p.release.Init(d.Sim, "kfd_process_wq", p.wqRelease)
	for _, g := range d.GPUs {
		p.devs = append(p.devs, &ProcessDevice{p: p, Dev: g, handles: map[uint32]*Mem{},
			byVA: btree.NewG(16, func(a, b *Mem) bool { return a.VA < b.VA })})
	}
	m.Grab()
	m.OnRelease(p.notifierRelease)
	d.byMM[m] = p
	d.procs = append(d.procs, p)
	t.Log(fnCreate, uint64(m.ID()), 0, 0)
	return p
}

// Device returns the process on a GPU, nil for an unknown gpu_id.
func (p *Process) Device(gpuID uint32) *ProcessDevice {
	if gpuID == 0 || int(gpuID) > len(p.devs) {
		return nil
	}
	return p.devs[gpuID-1]
}

// Devices returns the process on every GPU, in order of gpu_id.
func (p *Process) Devices() []*ProcessDevice { return p.devs }

// Driver returns the driver.
func (p *Process) Driver() *Driver { return p.drv }

// Gone says whether the address space has died.
func (p *Process) Gone() bool { return p.gone }

// AcquireVM gives the process its address space on a GPU. file identifies the
// open render node.
//
// Errors: EINVAL for a bad gpu_id or file (nil) and for a file that another
// process or GPU has acquired, EBUSY when another file was acquired before.
//
// Kernel: kfd_ioctl_acquire_vm, kfd_chardev.c.
func (p *Process) AcquireVM(t *sim.Task, gpuID uint32, file any) errno.Errno {
	if file == nil {
		return errno.EINVAL
	}
	p.mutex.Lock(t)
	err := p.acquireVM(gpuID, file)
	p.mutex.Unlock(t)
	return err
}

func (p *Process) acquireVM(gpuID uint32, file any) errno.Errno {
	pd := p.Device(gpuID)
	switch {
	case pd == nil:
		return errno.EINVAL
	case pd.drmFile == file:
		return 0
	case pd.drmFile != nil:
		return errno.EBUSY
	case p.drv.acquired[file]:
		return errno.EINVAL // already a compute VM
	}
	p.drv.acquired[file] = true
	pd.drmFile = file
	pd.VM = pd.Dev.NewVM(p.MM.Name)
	pd.VM.Owner = p
	if p.Info == nil {
		s := p.drv.Sim
		info := &ProcessInfo{P: p}
		info.lock.Init(s, classInfo)
		info.notifierLock.Init(s, classNotifier)
		info.restore.Init(s, "restore_userptr_worker", info.restoreUserptrWorker)
		info.obj.Init(s, "process_info")
		p.Info = info
	}
	return 0
}

// notifierRelease stops everything when the address space dies; the rest of the
// teardown is left to a work item, because it may wait for windows that the
// dying address space has open.
//
// Kernel: kfd_process_notifier_release, kfd_process.c.
//
// Simplified: model/FIDELITY.md K-EXIT.
func (p *Process) notifierRelease(t *sim.Task) {
	p.gone = true
	delete(p.drv.byMM, p.MM)
	t.Log(fnRelease, uint64(p.MM.ID()), 0, 0)
	if p.Info != nil && p.Info.restore.Running() {
		t.Mark(MarkExitDuringRestore)
	}
	p.mutex.Lock(t)
	queues := p.queues
	p.queues = nil
	for _, q := range queues {
		q.destroy(t)
	}
	p.mutex.Unlock(t)
	p.release.Queue(t, 0)
}

// wqRelease frees what the process left behind.
//
// Kernel: kfd_process_wq_release.
func (p *Process) wqRelease(t *sim.Task) {
	t.Log(fnFree, uint64(p.MM.ID()), 0, 0)
	for _, pd := range p.devs {
		for h := uint32(0); h < pd.nextHandle; h++ {
			m := pd.handles[h]
			if m == nil {
				continue
			}
			p.mutex.Lock(t)
			for _, x := range p.devs {
				if m.attachment(x) != nil && m.attachment(x).mapped {
					m.unmapFrom(t, x)
				}
			}
			delete(pd.handles, h)
			p.mutex.Unlock(t)
			p.freeMem(t, m)
		}
	}
	if p.Info != nil {
		p.Info.restore.CancelSync(t)
	}
	for _, pd := range p.devs {
		if pd.VM != nil {
			pd.VM.Close(t)
			pd.VM = nil
		}
	}
	for i, x := range p.drv.procs {
		if x == p {
			p.drv.procs = append(p.drv.procs[:i], p.drv.procs[i+1:]...)
			break
		}
	}
	if w := p.drv.watch; w != nil {
		w.Gone(p)
	}
	p.MM.Drop()
}
