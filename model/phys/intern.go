// SPDX-License-Identifier: MIT

package phys

import (
	"fmt"
	"slices"
)

// token stands for the bytes of one page: 0 to 255 for a page of that byte throughout, above that an entry of the table of mixed
// contents. Equal pages have equal tokens. Which token a mixed page has depends on history, so tokens never leave the package.
type token uint32

const (
	firstMixed token = 256
	tokenLimit       = 1 << contentBits
)

// span is a stretch of equal bytes in a page: the offset of its end (1 to PageSize) << 8 | the byte. It begins where the one before ends.
type span uint32

func makeSpan(end uint32, b byte) span { return span(end<<8 | uint32(b)) }

func (s span) end() uint64 { return uint64(s >> 8) }
func (s span) byte() byte  { return byte(s) }

// mixed is an entry of the table.
type mixed struct {
	spans []span // at least two, neighbours differ
	hash  uint64
	refs  uint64 // frames and swap slots with these bytes; 0 is a free entry
	next  token  // the next entry of the same bucket; 0 is none
}

// contents interns pages.
type contents struct {
	table   []mixed
	unused  []token // free entries; the last one is used first
	buckets []token // first entry of the bucket hash % len; a power of two, at least as many as entries in use

	edit []span // for overlay
}

func (c *contents) entry(t token) *mixed { return &c.table[t-firstMixed] }

// hold adds n pages with the bytes of t.
func (c *contents) hold(t token, n uint64) {
	if t >= firstMixed {
		c.entry(t).refs += n
	}
}

// drop removes n pages with the bytes of t.
func (c *contents) drop(t token, n uint64) {
	if t < firstMixed {
		return
	}
	e := c.entry(t)
	if e.refs < n {
		panic(fmt.Sprintf("BUG: content %d has %d pages, %d dropped", t, e.refs, n))
	}
	if e.refs -= n; e.refs > 0 {
		return
	}
	at := c.bucket(e.hash)
	for *at != t {
		at = &c.entry(*at).next
	}
	*at = e.next
	c.unused = append(c.unused, t)
}

func (c *contents) bucket(hash uint64) *token { return &c.buckets[hash&uint64(len(c.buckets)-1)] }

// grow doubles the buckets.
func (c *contents) grow() {
	c.buckets = make([]token, max(16, 2*len(c.buckets)))
	for k := range c.table {
		if e := &c.table[k]; e.refs > 0 {
			b := c.bucket(e.hash)
			e.next, *b = *b, firstMixed+token(k)
		}
	}
}

// spansOf returns the bytes of t. one lends the room for a page that is one byte throughout.
func (c *contents) spansOf(t token, one *[1]span) []span {
	if t < firstMixed {
		one[0] = makeSpan(PageSize, byte(t))
		return one[:]
	}
	return c.entry(t).spans
}

// overlay returns the page t with the bytes [from, to) replaced by b. A new token is held by nobody yet: hold it at once.
func (c *contents) overlay(t token, from, to uint64, b byte) token {
	var one [1]span
	old := c.spansOf(t, &one)
	c.edit = c.edit[:0]
	k := 0
	for ; old[k].end() <= from && from > 0; k++ {
		c.push(old[k].end(), old[k].byte())
	}
	if from > 0 {
		c.push(from, old[k].byte())
	}
	c.push(to, b)
	for ; k < len(old); k++ {
		if old[k].end() > to {
			c.push(old[k].end(), old[k].byte())
		}
	}
	return c.intern(c.edit)
}

// push appends the bytes up to end to the page that is being edited.
func (c *contents) push(end uint64, b byte) {
	if last := len(c.edit) - 1; last >= 0 {
		if c.edit[last].end() >= end {
			return
		}
		if c.edit[last].byte() == b {
			c.edit[last] = makeSpan(uint32(end), b)
			return
		}
	}
	c.edit = append(c.edit, makeSpan(uint32(end), b))
}

// intern returns the token of a page.
func (c *contents) intern(spans []span) token {
	if len(spans) == 1 {
		return token(spans[0].byte())
	}
	h := uint64(hashSeed)
	for _, s := range spans {
		h = mix(h, uint64(s))
	}
	if len(c.table)-len(c.unused) >= len(c.buckets) {
		c.grow()
	}
	b := c.bucket(h)
	for t := *b; t != 0; t = c.entry(t).next {
		if e := c.entry(t); e.hash == h && slices.Equal(e.spans, spans) {
			return t
		}
	}
	var t token
	if n := len(c.unused); n > 0 {
		t = c.unused[n-1]
		c.unused = c.unused[:n-1]
	} else {
		if t = firstMixed + token(len(c.table)); t >= tokenLimit {
			panic("BUG: too many different pages")
		}
		c.table = append(c.table, mixed{})
	}
	e := c.entry(t)
	*e = mixed{spans: append(e.spans[:0], spans...), hash: h, next: *b}
	*b = t
	return t
}

// hash returns a hash of the bytes of t, which does not depend on the token.
func (c *contents) hash(t token) uint64 {
	if t < firstMixed {
		return mix(hashSeed, uint64(makeSpan(PageSize, byte(t))))
	}
	return c.entry(t).hash
}
