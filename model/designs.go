// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/kfd/mirror"
	"github.com/kfdsim/kfdsim/model/kfd/multi"
	"github.com/kfdsim/kfdsim/model/kfd/pinned"
	"github.com/kfdsim/kfdsim/model/kfd/single"
	"github.com/kfdsim/kfdsim/model/kfd/wide"
	"github.com/kfdsim/kfdsim/model/kfd/wideseq"
)

// DesignInfo describes a design that can be run: one that is correct, or one with
// defects.
type DesignInfo struct {
	// Name is what selects the design, as it is printed: defects in the order of
	// the table.
	Name  string
	Story string // one line
	// Defects are those that it has.
	Defects kfd.Defects

	known kfd.Defects // that it could have
	make  func(...kfd.Defect) kfd.Design
}

// designs are the correct designs, by name.
var designs = []DesignInfo{
	{Name: "batch", Story: "one call for many ranges, one notifier per range (the series' v2, made correct); the reference",
		known: batch.Known, make: func(d ...kfd.Defect) kfd.Design { return batch.New(d...) }},
	{Name: "mirror", Story: "the smallest driver: one notifier per range, faults on access, no queues to stop",
		make: func(...kfd.Defect) kfd.Design { return mirror.New() }},
	{Name: "multi", Story: "batch with one fetch of all invalid ranges under one seq: hmm_range_fault on an array, as the review asked",
		known: multi.Known, make: func(d ...kfd.Defect) kfd.Design { return multi.New(d...) }},
	{Name: "single", Story: "one call per range: today's mainline path, and the user-space workaround for many ranges",
		known: single.Known, make: func(d ...kfd.Defect) kfd.Design { return single.New(d...) }},
	{Name: "wide", Story: "one notifier over all ranges and what is between them, a tree of ranges (the series' v4, made correct)",
		known: wide.Known, make: func(d ...kfd.Defect) kfd.Design { return wide.New(d...) }},
	{Name: "wideseq", Story: "wide with a seq for each range: invalidations between the ranges beat no fetch",
		known: wideseq.Known, make: func(d ...kfd.Defect) kfd.Design { return wideseq.New(d...) }},
}

// pinnedDesign is right where memory stays where it is, and nowhere else: it is
// not one of the correct designs.
var pinnedDesign = DesignInfo{Name: "pinned", Story: "pins the pages, no notifier (the series' v1): stale as soon as the CPU takes a page away; not part of all",
	make: func(...kfd.Defect) kfd.Design { return pinned.New() }}

// postedVersion is a design with the defects that it had when it was posted or
// released.
type postedVersion struct {
	name, design, story string
	defects             kfd.Defects
}

// versions are what was posted and released, by name.
var versions = []postedVersion{
	{"single@6.1", "single", "mainline in Linux 6.1: no look at the seq, counters instead",
		kfd.DefectsOf(kfd.D15, kfd.D17, kfd.NoReadRetry)},
	{"single@6.12", "single", "mainline in Linux 6.12.117",
		kfd.DefectsOf(kfd.D15, kfd.D17)},
	{"single@6.12.113", "single", "mainline in Linux 6.12 before the fix of CVE-2026-63879",
		kfd.DefectsOf(kfd.D15, kfd.D17, kfd.SeqPerPiece)},
	{"single@6.12.115", "single", "mainline in Linux 6.12.114 to 6.12.116: stalls of a second",
		kfd.DefectsOf(kfd.D15, kfd.D17, kfd.StaleSeq)},
	{"v1", "pinned", "the series as posted on 12 November 2025", 0},
	{"v2", "batch", "the series as posted on 4 January 2026",
		kfd.DefectsOf(kfd.D1, kfd.D2, kfd.D3, kfd.D6, kfd.D7, kfd.D8, kfd.D9, kfd.D14, kfd.D17)},
	{"v3", "wide", "the series as posted on 6 February 2026",
		kfd.DefectsOf(kfd.D2, kfd.D3, kfd.D4, kfd.D8, kfd.D9, kfd.D10, kfd.D11, kfd.D14, kfd.D17)},
	{"v4", "wide", "the series as posted on 9 February 2026",
		kfd.DefectsOf(kfd.D2, kfd.D3, kfd.D5, kfd.D6, kfd.D8, kfd.D9, kfd.D11, kfd.D12, kfd.D14, kfd.D17)},
}

// Designs returns the correct designs, by name.
func Designs() []DesignInfo { return designs }

// PostedVersions returns what is not correct: the design that pins its pages, and
// designs as they were posted or released, with their defects, by name.
func PostedVersions() []DesignInfo {
	out := []DesignInfo{pinnedDesign}
	for i := range versions {
		v := &versions[i]
		d := *designNamed(v.design)
		d.Name, d.Story, d.Defects = v.name, v.story, v.defects
		out = append(out, d)
	}
	return out
}

// ErrUnknownDesign says that a name selects no design.
type ErrUnknownDesign struct {
	Name string
	Why  string
}

// Error says why, and lists the names there are where that helps.
func (e *ErrUnknownDesign) Error() string { return fmt.Sprintf("design %q: %s", e.Name, e.Why) }

// FindDesign returns the design with a name: a correct one (batch), a posted
// version (v2, single@6.12), and either with defects added or taken away
// (batch+D3, v2-D2).
//
// Errors: *ErrUnknownDesign.
func FindDesign(name string) (*DesignInfo, error) {
	bad := func(format string, a ...any) (*DesignInfo, error) {
		return nil, &ErrUnknownDesign{name, fmt.Sprintf(format, a...)}
	}
	end := strings.IndexAny(name, "+-")
	if end < 0 {
		end = len(name)
	}
	d, defects := findBase(name[:end])
	if d == nil {
		return bad("not known: have %s", strings.Join(designNames(), ", "))
	}
	info := *d
	var plus, minus kfd.Defects
	for rest := name[end:]; rest != ""; {
		sign := rest[0]
		x, n := defectAt(rest[1:])
		switch {
		case n == 0:
			word, _, _ := strings.Cut(rest[1:], "+")
			return bad("%s is no defect: see kfdsim list defects", word)
		case x.Info().Word == "":
			return bad("%s: %s", x, x.Info().Story)
		case info.known == 0:
			return bad("%s has no defects to switch on", d.Name)
		case !info.known.Has(x):
			return bad("%s cannot have the defect %s: have %s", d.Name, x, namesOf(info.known, ", "))
		case plus.Has(x) || minus.Has(x):
			return bad("%s is named twice", x)
		case sign == '+' && defects.Has(x):
			return bad("it has the defect %s as it is", x)
		case sign == '+':
			plus |= kfd.DefectsOf(x)
		default:
			minus |= kfd.DefectsOf(x)
		}
		rest = rest[1+n:]
	}
	had := defects | plus
	for _, x := range plus.List() {
		had |= x.Info().Brings
	}
	if missing := minus &^ had; missing != 0 {
		return bad("it does not have the defect %s", missing.List()[0])
	}
	info.Name = name[:end] + signed("+", plus) + signed("-", minus)
	info.Defects = had &^ minus
	if info.Defects != 0 && info.Story == designNamed(d.Name).Story {
		info.Story = d.Name + " with " + namesOf(info.Defects, " ")
	}
	return &info, nil
}

// isNameOf says whether a name, perhaps with its defects in another order, is that
// of the design whose printed name is design.
func isNameOf(name, design string) bool {
	if name == design {
		return true
	}
	d, err := FindDesign(name)
	return err == nil && d.Name == design
}

// findBase returns what a name without signs stands for: a design and the defects
// that it has.
func findBase(name string) (*DesignInfo, kfd.Defects) {
	if d := designNamed(name); d != nil {
		return d, 0
	}
	for i := range versions {
		if v := &versions[i]; v.name == name {
			return designNamed(v.design), v.defects
		}
	}
	return nil, 0
}

func designNamed(name string) *DesignInfo {
	i := sort.Search(len(designs), func(i int) bool { return designs[i].Name >= name })
	if i < len(designs) && designs[i].Name == name {
		return &designs[i]
	}
	if name == pinnedDesign.Name {
		return &pinnedDesign
	}
	return nil
}

// designNames returns the names without signs.
func designNames() []string {
	var names []string
	for _, d := range designs {
		names = append(names, d.Name)
	}
	names = append(names, pinnedDesign.Name)
	for _, v := range versions {
		names = append(names, v.name)
	}
	return names
}

// defectAt returns the defect whose name s begins with, the longest if there are
// several, and its length; 0 if there is none.
func defectAt(s string) (kfd.Defect, int) {
	found, n := kfd.Defect(0), 0
	for i := range kfd.DefectTable {
		name := kfd.DefectTable[i].Name
		if rest, ok := strings.CutPrefix(s, name); ok && len(name) > n && (rest == "" || rest[0] == '+' || rest[0] == '-') {
			found, n = kfd.DefectTable[i].Defect, len(name)
		}
	}
	return found, n
}

// signed prints a set with a sign before each name.
func signed(sign string, s kfd.Defects) string {
	if s == 0 {
		return ""
	}
	return sign + namesOf(s, sign)
}

func namesOf(s kfd.Defects, sep string) string {
	var names []string
	for _, d := range s.List() {
		names = append(names, d.String())
	}
	return strings.Join(names, sep)
}

// Defect describes a defect and where it can be switched on.
type Defect struct {
	*kfd.DefectInfo
	Designs []string // by name
}

// Defects returns every defect: D1 to D17, then the others by name.
func Defects() []Defect {
	var out []Defect
	for i := range kfd.DefectTable {
		x := Defect{DefectInfo: &kfd.DefectTable[i]}
		for _, d := range designs {
			if d.known.Has(x.Defect) {
				x.Designs = append(x.Designs, d.Name)
			}
		}
		out = append(out, x)
	}
	return out
}

// VersionsWith returns the posted versions that have a defect, by name.
func VersionsWith(x kfd.Defect) []string {
	var out []string
	for i := range versions {
		if versions[i].defects.Has(x) {
			out = append(out, versions[i].name)
		}
	}
	return slices.Clip(out)
}
