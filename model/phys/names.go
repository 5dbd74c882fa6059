// SPDX-License-Identifier: MIT

package phys

// Names numbers frames and swap slots in the order in which they are met, for
// digests of states that differ only in which frame holds what: those go on alike.
type Names struct {
	m             *Memory
	frames, slots map[uint64]uint64
}

// namedRun is the longest run of frames that get a name each. The frames of longer
// ones count with their numbers, which tells states apart that could be one.
const namedRun = 512

// NewNames returns an empty set of names.
func (m *Memory) NewNames() *Names {
	return &Names{m, map[uint64]uint64{}, map[uint64]uint64{}}
}

// Frame returns a hash of the frame's name and all that is known of it but its
// number and its generation.
func (n *Names) Frame(pfn PFN) uint64 {
	name, ok := n.frames[uint64(pfn)]
	if !ok {
		name = uint64(len(n.frames))
		n.frames[uint64(pfn)] = name
	}
	f := n.m.Frame(pfn)
	h := mix(mix(name, uint64(n.m.NodeOf(pfn))), uint64(f.Count))
	if f.Allocated {
		h = mix(h, n.m.ContentDigest(pfn, 1))
	}
	return h
}

// Slot is Frame for a swap slot.
func (n *Names) Slot(slot uint64) uint64 {
	name, ok := n.slots[slot]
	if !ok {
		name = uint64(len(n.slots))
		n.slots[slot] = name
	}
	v, _ := n.m.slots.Get(slot)
	w := word(v)
	return mix(mix(name, uint64(w.count())), n.m.contents.hash(w.content()))
}

// Map returns a hash of a map whose values hold frames or slots, which name
// returns the name of, page by page. Runs that are too long for that count as they
// are.
func (n *Names) Map(of *Map, name func(page, v uint64) uint64) uint64 {
	h := uint64(hashSeed)
	for it := of.Iter(0, MaxPage); it.Next(); {
		r := &it.Run
		if r.Stride == 0 || r.Len() > namedRun {
			h = mix(mix(mix(h, r.Lo), r.Hi<<1|r.Stride), mix(name(r.Lo, r.V), r.V*r.Stride))
			if r.Stride != 0 {
				name(r.Hi-1, r.At(r.Hi-1))
			}
			continue
		}
		for i := r.Lo; i < r.Hi; i++ {
			h = mix(mix(h, i), name(i, r.At(i)))
		}
	}
	return h
}
