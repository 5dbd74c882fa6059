// SPDX-License-Identifier: MIT

package model

import (
	"fmt"
	"sort"
	"strings"

	"github.com/kfdsim/kfdsim/model/kfd"
	"github.com/kfdsim/kfdsim/model/kfd/batch"
	"github.com/kfdsim/kfdsim/model/kfd/mirror"
	"github.com/kfdsim/kfdsim/model/kfd/single"
)

// DesignInfo describes a design that can be run.
type DesignInfo struct {
	Name  string
	Story string // one line
	make  func() kfd.Design
}

var designs = []DesignInfo{
	{"batch", "one call for many ranges, one notifier per range (the series' v2, made correct); the reference",
		func() kfd.Design { return batch.New() }},
	{"mirror", "the smallest driver: one notifier per range, faults on access, no queues to stop",
		func() kfd.Design { return mirror.New() }},
	{"single", "one call per range: today's mainline path, and the user-space workaround for many ranges",
		func() kfd.Design { return single.New() }},
}

// Designs returns every design, by name.
func Designs() []DesignInfo { return designs }

// ErrUnknownDesign says that a name selects no design.
type ErrUnknownDesign struct{ Name string }

// Error lists the names there are.
func (e *ErrUnknownDesign) Error() string {
	var names []string
	for _, d := range designs {
		names = append(names, d.Name)
	}
	return fmt.Sprintf("design %q: not known: have %s", e.Name, strings.Join(names, ", "))
}

// FindDesign returns the design with a name.
func FindDesign(name string) (*DesignInfo, error) {
	i := sort.Search(len(designs), func(i int) bool { return designs[i].Name >= name })
	if i < len(designs) && designs[i].Name == name {
		return &designs[i], nil
	}
	return nil, &ErrUnknownDesign{name}
}
