// SPDX-License-Identifier: MIT

package phys

import "math/bits"

// Hashing is our own because it has to be the same on every machine and for ever: digests are printed and compared.
const (
	hashSeed = 0x9e3779b97f4a7c15
	hashMul  = 0xd6e8feb86659fd93
)

// mix returns h with v folded in. Order matters.
func mix(h, v uint64) uint64 {
	hi, lo := bits.Mul64(h^v^hashMul, hashSeed^bits.RotateLeft64(v, 32))
	return hi ^ lo ^ bits.RotateLeft64(h, 23)
}

// Digest returns a hash of the map's contents. Equal contents have the equal digest, however they came about.
func (m *Map) Digest() uint64 {
	h := uint64(hashSeed)
	for it := m.Iter(0, MaxPage); it.Next(); {
		h = mix(mix(mix(h, it.Run.Lo), it.Run.Hi<<1|it.Run.Stride), it.Run.V)
	}
	return mix(h, m.pages)
}

// Shape returns a hash of which pages are set, and of those bits of their values that keep has. A stride counts through other bits.
func (m *Map) Shape(keep uint64) uint64 {
	h := uint64(hashSeed)
	var cur Run // of pages that look alike
	for it := m.Iter(0, MaxPage); it.Next(); {
		v := it.Run.V & keep
		if cur.Hi == it.Run.Lo && cur.V == v && cur.Hi > cur.Lo {
			cur.Hi = it.Run.Hi
			continue
		}
		h = mix(mix(mix(h, cur.Lo), cur.Hi), cur.V)
		cur = Run{it.Run.Lo, it.Run.Hi, v, 0}
	}
	return mix(mix(mix(h, cur.Lo), cur.Hi), cur.V)
}

// Equal reports whether m and n set the same pages to the same values.
func (m *Map) Equal(n *Map) bool {
	if m.pages != n.pages {
		return false
	}
	a, b := m.Iter(0, MaxPage), n.Iter(0, MaxPage)
	for a.Next() {
		if !b.Next() || a.Run != b.Run {
			return false
		}
	}
	return true
}

// Digest returns a hash of all that the future of m depends on: frames with generations, counts and bytes, which are poisoned, swap slots, and
// where allocation goes on. It walks all runs of frames and slots.
func (m *Memory) Digest() uint64 {
	h := uint64(hashSeed)
	for k := range m.nodes {
		h = mix(mix(h, m.nodes[k].next), m.nodes[k].end)
	}
	h = mix(mix(h, m.swapFree.next), m.swapFree.end)
	h = mix(h, m.poisoned.Digest())
	for _, of := range [2]*Map{&m.frames, &m.slots} {
		// Equal words are equal pages, so the runs are cut alike whatever the tokens are.
		for it := of.Iter(0, MaxPage); it.Next(); {
			w := word(it.Run.V)
			h = mix(mix(h, it.Run.Lo), it.Run.Hi)
			h = mix(mix(h, uint64(w.gen())<<32|uint64(w.count())), m.contents.hash(w.content()))
		}
		h = mix(h, of.Len())
	}
	return h
}
