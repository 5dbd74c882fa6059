// SPDX-License-Identifier: MIT

package kfd

import "github.com/kfdsim/kfdsim/model/mm"

// ProcessOf returns the live process of an address space, nil if it has none.
func (d *Driver) ProcessOf(m *mm.MM) *Process { return d.byMM[m] }

// Mems returns the BOs of the process by GPU and handle.
func (p *Process) Mems() []*Mem {
	var out []*Mem
	for _, pd := range p.devs {
		for h := uint32(0); h < pd.nextHandle; h++ {
			if m := pd.handles[h]; m != nil {
				out = append(out, m)
			}
		}
	}
	return out
}

// Mix folds a value into a digest.
func Mix(h, v uint64) uint64 {
	h ^= v
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func mixBool(h uint64, b bool) uint64 {
	if b {
		return Mix(h, 1)
	}
	return Mix(h, 2)
}

// Digester is what a Design keeps in Mem.Private and that decides what happens next:
// a seq that is nobody's notifier in the tree, a table that changes.
type Digester interface {
	Digest() uint64
}

// Digest hashes everything that decides what the driver does next. What only
// counts up (statistics, SMI lines) is left out.
func (d *Driver) Digest() uint64 { return d.digest(true) }

// Shape is Digest but for the numbers of frames: states that differ in these alone
// go on alike.
func (d *Driver) Shape() uint64 { return d.digest(false) }

func (d *Driver) digest(frames bool) uint64 {
	h := Mix(0, d.used)
	for _, p := range d.procs {
		h = Mix(h, uint64(p.MM.ID()))
		h = mixBool(h, p.gone)
		if p.Info != nil {
			h = Mix(h, p.Info.digest(frames))
		}
		for _, pd := range p.devs {
			h = Mix(h, uint64(pd.evicted))
		}
	}
	for _, g := range d.GPUs {
		if frames {
			h = Mix(h, g.Digest())
		} else {
			h = Mix(h, g.Shape())
		}
	}
	return h
}

func (i *ProcessInfo) digest(frames bool) uint64 {
	h := Mix(0, i.evictedBOs)
	h = mixBool(h, i.restore.Pending())
	h = mixBool(h, i.restore.Running())
	for _, list := range [][]*Mem{i.bos, i.inval} {
		h = Mix(h, uint64(len(list)))
		for _, m := range list {
			h = Mix(h, m.digest(frames))
		}
	}
	return h
}

func (m *Mem) digest(frames bool) uint64 {
	h := Mix(m.Handle(), uint64(m.Invalid))
	if frames {
		h = Mix(h, m.Pages.Digest())
	} else {
		h = Mix(h, m.Pages.Shape(0))
	}
	for k := range m.Ranges {
		r := &m.Ranges[k]
		h = Mix(h, uint64(r.Invalid)<<32|uint64(r.Absent))
		h = mixBool(h, r.HMM != nil)
		if r.HMM != nil {
			h = mixBool(h, r.HMM.NotifierSeq == r.HMM.Notifier.Seq())
		}
		h = mixBool(h, r.dma)
	}
	m.MappedTo(func(pd *ProcessDevice) { h = Mix(h, uint64(pd.Dev.ID())) })
	if x, ok := m.Private.(Digester); ok {
		h = Mix(h, x.Digest())
	}
	return h
}
