// SPDX-License-Identifier: MIT

package model

import (
	"maps"
	"strings"

	"github.com/kfdsim/kfdsim/model/errno"
	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/sim"
	"github.com/kfdsim/kfdsim/traces"
)

// device is what an open descriptor means to KFD.
type device uint8

const (
	notDevice device = iota
	deviceKFD
	deviceRender
)

// openFile is an open file description, shared by the descriptors that refer to
// it.
//
// Kernel: struct file, include/linux/fs.h.
type openFile struct {
	file *mm.File // nil for devices
	dev  device
	// opener is the address space that opened /dev/kfd: nobody else may use it.
	opener *mm.MM
	kfd    *kfd.Process
	proc   *process // of a pidfd
}

// descriptor is a number that a process gave to an open file.
type descriptor struct {
	f       *openFile
	cloexec bool
}

// fdTable is a set of descriptors, shared by processes that asked for it.
//
// Kernel: struct files_struct, include/linux/fdtable.h.
type fdTable struct {
	users int
	m     map[int]descriptor
	// names labels m and the kfdLabels of the processes: what user space calls
	// things.
	names sim.Object
}

func (r *runner) newFDTable(m map[int]descriptor) *fdTable {
	ft := &fdTable{users: 1, m: m}
	ft.names.Init(r.s, "files")
	return ft
}

// dup copies the table for a fork.
func (r *runner) dup(ft *fdTable) *fdTable { return r.newFDTable(maps.Clone(ft.m)) }

// access labels the present step as one that uses names (KindRead) or changes them.
func (ft *fdTable) access(t *sim.Task, k sim.Kind) {
	t.Touch(sim.Access{Object: &ft.names, Lo: 0, Hi: 1, Kind: k})
}

// lowestFree returns the number that open gives.
func (ft *fdTable) lowestFree() int {
	for fd := 3; ; fd++ {
		if _, used := ft.m[fd]; !used {
			return fd
		}
	}
}

// openat opens a file. Only the devices and what is mapped later matter.
func (r *runner) openat(t *sim.Task, th *thread, op *traces.Op) (uint64, errno.Errno) {
	f := &openFile{}
	path := ""
	if op.X != nil {
		path = op.X.Path
	}
	switch {
	case path == "/dev/kfd":
		f.dev, f.opener = deviceKFD, th.proc.mm
		f.kfd = r.drv.Open(t, th.proc.mm)
	case strings.HasPrefix(path, "/dev/dri/renderD"):
		f.dev = deviceRender
	default:
		f.file = r.file(path)
	}
	const oCloexec = 0o2000000
	return r.install(t, th, op, descriptor{f, op.A[2]&oCloexec != 0}), 0
}

// install gives a new descriptor its number: the recorded one, else the lowest.
func (r *runner) install(t *sim.Task, th *thread, op *traces.Op, d descriptor) uint64 {
	fd := th.proc.fds.lowestFree()
	if op.Result.Kind == traces.ResultOK {
		fd = int(op.Result.Val)
	}
	th.proc.fds.access(t, sim.KindWrite)
	th.proc.fds.m[fd] = d
	return uint64(fd)
}

// memfdCreate makes a file of its own.
func (r *runner) memfdCreate(t *sim.Task, th *thread, op *traces.Op) (uint64, errno.Errno) {
	const mfdCloexec = 1
	f := r.sys.NewFile("/memfd:"+op.X.Name, true)
	if !r.captured {
		f.SetSize(0) // a capture need not show what gave it its size
	}
	f.Ref()
	r.fileList = append(r.fileList, f)
	return r.install(t, th, op, descriptor{&openFile{file: f}, op.A[1]&mfdCloexec != 0}), 0
}

// closeFD closes a descriptor. One that the trace never opened is somebody
// else's business when the trace says that it was open.
//
// Errors: EBADF.
func (r *runner) closeFD(t *sim.Task, th *thread, op *traces.Op) errno.Errno {
	fd := int(int32(op.A[0]))
	if _, ok := th.proc.fds.m[fd]; !ok {
		if op.Result.Kind == traces.ResultOK {
			return 0
		}
		return errno.EBADF
	}
	th.proc.fds.access(t, sim.KindWrite)
	delete(th.proc.fds.m, fd)
	return 0
}

// dup makes another descriptor of the same open file.
//
// Errors: EBADF.
func (r *runner) dupFD(t *sim.Task, th *thread, op *traces.Op) (uint64, errno.Errno) {
	d, ok := th.proc.fds.m[int(int32(op.A[0]))]
	if !ok {
		if op.Result.Kind == traces.ResultOK {
			return op.Result.Val, 0
		}
		return 0, errno.EBADF
	}
	d.cloexec = false
	th.proc.fds.access(t, sim.KindWrite)
	if op.Result.Kind == traces.ResultNone && op.N > 1 {
		th.proc.fds.m[int(op.A[1])] = d
		return op.A[1], 0
	}
	return r.install(t, th, op, d), 0
}

// closeOnExec drops the descriptors that execve closes, in order of their
// numbers, after the process has got a table of its own.
func (r *runner) closeOnExec(p *process) {
	if p.fds.users > 1 {
		p.fds.users--
		p.fds = r.dup(p.fds)
	}
	maps.DeleteFunc(p.fds.m, func(_ int, d descriptor) bool { return d.cloexec })
}

// closeAll drops every descriptor of a dead process.
func (r *runner) closeAll(p *process) {
	p.fds.users--
	if p.fds.users == 0 {
		clear(p.fds.m)
	}
}

// mappedFile returns the file that an mmap maps, nil for anonymous memory.
//
// Errors: EBADF for a descriptor that is not open, ENODEV never: what a device
// maps is its own file here.
func (r *runner) mappedFile(th *thread, op *traces.Op) (*mm.File, errno.Errno) {
	const mapAnonymous, mapShared = 0x20, 0x01
	if op.A[3]&mapAnonymous != 0 {
		return nil, 0
	}
	fd := int(int32(op.A[4]))
	path := ""
	if op.X != nil {
		path = op.X.Path
	}
	if d, ok := th.proc.fds.m[fd]; ok && d.f.file != nil && (path == "" || d.f.file.Path == path || strings.HasPrefix(path, "/memfd:")) {
		return zeroDevice(d.f.file, op.A[3]&mapShared != 0), 0
	}
	switch {
	case path != "":
		return zeroDevice(r.file(path), op.A[3]&mapShared != 0), 0
	case op.Result.Kind == traces.ResultOK:
		return r.file("fd:" + decimal(fd)), 0
	}
	return nil, errno.EBADF
}

// zeroDevice turns a private mapping of /dev/zero into anonymous memory.
//
// Kernel: mmap_zero, drivers/char/mem.c.
func zeroDevice(f *mm.File, shared bool) *mm.File {
	if f.Path == "/dev/zero" && !shared {
		return nil
	}
	return f
}

// kfdOf returns the KFD process behind a descriptor.
//
// Errors: EBADF when it is not open or was opened by another process, ENOTTY
// when it is no KFD descriptor.
//
// Kernel: kfd_ioctl, kfd_chardev.c.
func (th *thread) kfdOf(fd int) (*kfd.Process, errno.Errno) {
	d, ok := th.proc.fds.m[fd]
	switch {
	case !ok:
		return nil, errno.EBADF
	case d.f.dev != deviceKFD:
		return nil, errno.ENOTTY
	case d.f.opener != th.proc.mm:
		return nil, errno.EBADF
	}
	return d.f.kfd, 0
}

// kfd returns the KFD process of the thread's address space, nil if it has none.
func (th *thread) kfd() *kfd.Process { return th.r.drv.ProcessOf(th.proc.mm) }
