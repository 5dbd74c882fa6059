// SPDX-License-Identifier: MIT

package model

import (
	"maps"
	"slices"

	"github.com/kfdsim/kfdsim/model/kfd"
)

// state hashes all that decides what the run does next, but for the tasks, and
// for which frame or swap slot has what number. It means something when every task
// rests: then nobody has anything in mind that is not in here.
func (r *runner) state() uint64 {
	h := uint64(r.phase)
	for _, th := range r.lives {
		h = kfd.Mix(h, uint64(th.at+1)<<32|uint64(len(th.queue)))
		switch {
		case th.task == nil:
			h = kfd.Mix(h, 1)
		case th.dead:
			h = kfd.Mix(h, 2)
		}
	}
	for _, p := range r.procs {
		if p != nil {
			h = kfd.Mix(h, p.state())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.barriers)) {
		b := r.barriers[name]
		for _, l := range b.lives {
			h = kfd.Mix(h, uint64(b.arrived[l]))
		}
	}
	names := r.sys.Mem.NewNames()
	h = kfd.Mix(h, r.sys.State(names))
	return kfd.Mix(h, r.drv.State(names))
}

// state hashes what the process has open and what it calls things.
func (p *process) state() uint64 {
	h := kfd.Mix(uint64(p.label)<<1, uint64(p.mm.ID()))
	if p.dead {
		h = kfd.Mix(h, 1)
	}
	h = kfd.Mix(h, uint64(len(p.threads))<<32|uint64(len(p.children)))
	for _, fd := range slices.Sorted(maps.Keys(p.fds.m)) {
		h = kfd.Mix(h, uint64(fd)<<8|uint64(p.fds.m[fd].f.dev))
	}
	for _, label := range slices.Sorted(maps.Keys(p.labels.bos)) {
		h = kfd.Mix(h, label)
		for _, x := range p.labels.bos[label].handles {
			h = kfd.Mix(h, x)
		}
	}
	for _, label := range slices.Sorted(maps.Keys(p.labels.queues)) {
		h = kfd.Mix(h, uint64(label)<<32|uint64(p.labels.queues[label]))
	}
	return h
}
