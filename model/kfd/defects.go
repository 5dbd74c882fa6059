// SPDX-License-Identifier: MIT

package kfd

import "math/bits"

// Defect is a known or planted bug: one switch. What it switches is in the
// defects.go of the designs that have it, or here where the code is shared; what
// it is called and where it comes from is in DefectTable. One that lies below the
// driver, in model/gpu or model/mm, is handed down by New (SkipFlush).
type Defect uint8

// Defects of the posted series (D1 to D17), of mainline, and invented ones.
const (
	D1 Defect = iota
	D2
	D3
	D4
	D5
	D6
	D7
	D8
	D9
	D10
	D11
	D12
	D13
	D14
	D15
	D16
	D17
	LastSeqOnly
	NoReadRetry
	SeqAfterFault
	SeqAlone
	SeqPerPiece
	SkipFlush
	StaleSeq
	numDefects
)

// Defects is a set of defects.
type Defects uint64

// DefectsOf returns the set of some defects.
func DefectsOf(list ...Defect) Defects {
	s := Defects(0)
	for _, d := range list {
		s |= 1 << d
	}
	return s
}

// Has says whether a defect is in the set.
func (s Defects) Has(d Defect) bool { return s>>d&1 != 0 }

// Any says whether one of several defects is in the set.
func (s Defects) Any(o Defects) bool { return s&o != 0 }

// Len returns how many defects are in the set.
func (s Defects) Len() int { return bits.OnesCount64(uint64(s)) }

// List returns the defects of the set in the order of the table.
func (s Defects) List() []Defect {
	var out []Defect
	for d := Defect(0); d < numDefects; d++ {
		if s.Has(d) {
			out = append(out, d)
		}
	}
	return out
}

// Defective is a Design that was made with defects. The shared driver asks for
// those that lie in its own code.
type Defective interface {
	Defects() Defects
}

// DefectsOfDesign returns the defects that a design was made with.
func DefectsOfDesign(d Design) Defects {
	if x, ok := d.(Defective); ok {
		return x.Defects()
	}
	return 0
}

// HasDefect says whether the design of a BO's driver has a defect.
func HasDefect(m *Mem, x Defect) bool { return m.P.drv.has(x) }

// has says whether the design of the driver has a defect.
func (d *Driver) has(x Defect) bool { return d.defects.Has(x) }

// SharedDefects are those that lie in the code of the driver that designs share:
// any design with a restore worker can have them.
const SharedDefects Defects = 1<<D9 | 1<<SkipFlush
