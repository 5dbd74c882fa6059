// SPDX-License-Identifier: MIT

package kfd

import (
	"fmt"

	"github.com/kfdsim/kfdsim/sim"
)

// SMIKind is the kind of an SMI event.
//
// Kernel: enum kfd_smi_event, include/uapi/linux/kfd_ioctl.h.
type SMIKind uint8

// The events that user memory causes; the values are the kernel's ids, except
// that a rescheduled restore is told from a restore.
const (
	SMIVMFault            SMIKind = 1
	SMIEviction           SMIKind = 9
	SMIRestore            SMIKind = 10
	SMIRestoreRescheduled SMIKind = 0x80 | SMIRestore
)

// SMIEvent is one line of the driver's event stream.
type SMIEvent struct {
	Kind    SMIKind
	Time    sim.Time
	MM      int    // whose
	Name    string // the first task of the address space
	GPU     int
	Trigger Trigger // SMIEviction, SMIRestore
}

// String prints the event as the driver does, without its time stamp.
//
// Kernel: kfd_smi_events.c.
func (e SMIEvent) String() string {
	switch e.Kind {
	case SMIVMFault:
		return fmt.Sprintf("1 %s:gpu%d", e.Name, e.GPU)
	case SMIEviction:
		return fmt.Sprintf("9 -%s %x %d", e.Name, e.GPU, e.Trigger)
	case SMIRestore:
		return fmt.Sprintf("a -%s %x 0", e.Name, e.GPU)
	}
	return fmt.Sprintf("a -%s %x R", e.Name, e.GPU)
}

// smi appends an event.
//
// Simplified: model/FIDELITY.md K-SMI.
func (d *Driver) smi(_ *sim.Task, e SMIEvent) {
	e.Time = d.Sim.Now()
	d.SMI = append(d.SMI, e)
}

// smiRescheduled reports that the restore of a process has to be repeated.
//
// Kernel: kfd_smi_event_queue_restore_rescheduled.
func (d *Driver) smiRescheduled(t *sim.Task, p *Process) {
	t.Log(fnResched, uint64(p.MM.ID()), 0, 0)
	for _, pd := range p.devs {
		d.smi(t, SMIEvent{Kind: SMIRestoreRescheduled, MM: p.MM.ID(), Name: p.MM.Name, GPU: pd.Dev.ID(), Trigger: TriggerUserptr})
	}
}
