// SPDX-License-Identifier: MIT

//go:build linux && amd64

package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kfdsim/kfdsim/hw/performer"
	"github.com/kfdsim/kfdsim/traces"
)

// The observer's ioctls, kernel/observer/observer.h.
const (
	device = "/dev/kfdsim_observer"

	obsRegister   = 3<<30 | 32<<16 | 'O'<<8 | 1
	obsUnregister = 1<<30 | 32<<16 | 'O'<<8 | 2
	obsCheck      = 1<<30 | 32<<16 | 'O'<<8 | 3
	obsFetch      = 1<<30 | 24<<16 | 'O'<<8 | 4
	obsAccess     = 1<<30 | 32<<16 | 'O'<<8 | 5

	fetchWrite = 2

	pfnValid = 1 << 63
	pfnWrite = 1 << 62

	eventSize = 56
	eventLost = 0xffffffff
)

// eventNames are those of enum mmu_notifier_event, include/linux/mmu_notifier.h.
var eventNames = []string{"UNMAP", "CLEAR", "PROTECTION_VMA", "PROTECTION_PAGE", "SOFT_DIRTY", "RELEASE", "MIGRATE", "EXCLUSIVE"}

// struct observer_range lies at the beginning of a task's buffer.
func (m *machine) rangeCall(t *performer.Task, fd int, cmd uint64, addr, n, tag uint64, id uint32) (uint32, error) {
	b := t.Buf()
	binary.LittleEndian.PutUint64(b[0:], addr)
	binary.LittleEndian.PutUint64(b[8:], n)
	binary.LittleEndian.PutUint64(b[16:], tag)
	binary.LittleEndian.PutUint32(b[24:], id)
	_, err := t.Call(unix.SYS_IOCTL, uint64(fd), cmd, t.BufAddr())
	return binary.LittleEndian.Uint32(b[24:]), err
}

// maxPages is how many pages the buffer of a task has room for.
const maxPages = (performer.BufSize - 64) / 8

// fetchCall makes one attempt to fetch n pages.
func fetchCall(t *performer.Task, fd int, id uint32, n uint64) ([]traces.Frame, error) {
	if n > maxPages {
		return nil, fmt.Errorf("a range of %d pages: %w", n, unix.E2BIG)
	}
	b := t.Buf()
	binary.LittleEndian.PutUint32(b[0:], id)
	binary.LittleEndian.PutUint32(b[4:], fetchWrite)
	binary.LittleEndian.PutUint64(b[8:], t.BufAddr()+64)
	binary.LittleEndian.PutUint64(b[16:], n)
	if _, err := t.Call(unix.SYS_IOCTL, uint64(fd), obsFetch, t.BufAddr()); err != nil {
		return nil, err
	}
	frames := make([]traces.Frame, n)
	for i := range frames {
		p := binary.LittleEndian.Uint64(b[64+8*i:])
		frames[i] = traces.Frame{Number: p & (1<<56 - 1), Present: p&pfnValid != 0, Write: p&pfnWrite != 0, Order: uint8(p >> 56 & 31)}
	}
	return frames, nil
}

// accessCall reads or writes bytes of a range through its pages; the bytes are in
// the buffer from 64 on.
func accessCall(t *performer.Task, fd int, id uint32, write bool, off, n uint64) error {
	b := t.Buf()
	binary.LittleEndian.PutUint32(b[0:], id)
	binary.LittleEndian.PutUint32(b[4:], 0)
	if write {
		b[4] = 1
	}
	binary.LittleEndian.PutUint64(b[8:], off)
	binary.LittleEndian.PutUint64(b[16:], n)
	binary.LittleEndian.PutUint64(b[24:], t.BufAddr()+64)
	_, err := t.Call(unix.SYS_IOCTL, uint64(fd), obsAccess, t.BufAddr())
	return err
}

// drain takes the callbacks off the observer's log: it tells the outcome, and the
// ranges that they hit.
func (r *run) drain() error {
	for {
		n, err := unix.Read(r.m.log, r.m.events)
		if err != nil {
			return fmt.Errorf("reading the log of %s: %w", device, err)
		}
		for b := r.m.events[:n]; len(b) > 0; b = b[eventSize:] {
			event := binary.LittleEndian.Uint32(b[24:])
			if event == eventLost {
				return errors.New("the observer lost callbacks")
			}
			tag := binary.LittleEndian.Uint64(b[0:])
			if tag>>32 != r.m.runs {
				continue // of a trace before
			}
			k := uint32(tag)
			start, end := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
			block := binary.LittleEndian.Uint32(b[28:]) != 0
			name := fmt.Sprintf("EVENT_%d", event)
			if int(event) < len(eventNames) {
				name = eventNames[event]
			}
			r.obs.Invalidated(int(k), name, start, end, !block)
			if block && int(k) < len(r.ranges) {
				r.ranges[k].invalidate()
			}
		}
		if n < len(r.m.events) {
			return nil
		}
	}
}

// openLog opens the device for its log.
func openLog() (int, error) {
	f, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: device, Err: err}
	}
	return f, nil
}
