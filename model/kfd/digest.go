// SPDX-License-Identifier: MIT

package kfd

import (
	"github.com/kfdsim/kfdsim/model/gpu"
	"github.com/kfdsim/kfdsim/model/mm"
	"github.com/kfdsim/kfdsim/model/phys"
)

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
func (d *Driver) Digest() uint64 {
	return d.digest((*phys.Map).Digest, (*gpu.Device).Digest)
}

// Shape is Digest but for the numbers of frames: states that differ in these alone
// go on alike.
func (d *Driver) Shape() uint64 {
	return d.digest(func(m *phys.Map) uint64 { return m.Shape(0) }, (*gpu.Device).Shape)
}

// State is Digest with names in place of the numbers of frames.
func (d *Driver) State(n *phys.Names) uint64 {
	return d.digest(func(m *phys.Map) uint64 {
		return n.Map(m, func(_, v uint64) uint64 { return n.Frame(phys.PFN(v)) })
	}, func(g *gpu.Device) uint64 { return g.State(n) })
}

// digest is Digest with a hash for what is in a page array, and for a device.
func (d *Driver) digest(pages func(m *phys.Map) uint64, device func(g *gpu.Device) uint64) uint64 {
	h := Mix(0, d.used)
	for _, p := range d.procs {
		h = Mix(h, uint64(p.MM.ID()))
		h = mixBool(h, p.gone)
		if p.Info != nil {
			h = Mix(h, p.Info.digest(pages))
		}
		for _, pd := range p.devs {
			h = Mix(h, uint64(pd.evicted))
			for _, n := range pd.reasons {
				h = Mix(h, uint64(n))
			}
		}
	}
	for _, g := range d.GPUs {
		h = Mix(h, device(g.Device))
	}
	return h
}

func (i *ProcessInfo) digest(pages func(m *phys.Map) uint64) uint64 {
	h := Mix(0, i.evictedBOs)
	h = mixBool(h, i.restore.Pending())
	h = mixBool(h, i.restore.Running())
	for _, list := range [][]*Mem{i.bos, i.inval} {
		h = Mix(h, uint64(len(list)))
		for _, m := range list {
			h = Mix(h, m.digest(pages))
		}
	}
	return h
}

func (m *Mem) digest(pages func(m *phys.Map) uint64) uint64 {
	h := Mix(m.Handle(), uint64(m.Invalid))
	h = Mix(h, pages(&m.Pages))
	for k := range m.Ranges {
		r := &m.Ranges[k]
		h = Mix(h, uint64(r.Invalid)<<32|uint64(r.Absent))
		h = mixBool(h, r.HMM != nil)
		if f := r.HMM; f != nil {
			h = mixBool(h, f.NotifierSeq == f.Notifier.Seq())
			h = mixBool(h, f.Freed())
		}
		h = mixBool(h, r.dma)
		h = mixBool(h, r.noted)
	}
	if x, ok := m.Private.(Digester); ok {
		h = Mix(h, x.Digest())
	}
	m.MappedTo(func(pd *ProcessDevice) { h = Mix(h, uint64(pd.Dev.ID())) })
	return h
}
