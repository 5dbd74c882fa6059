// SPDX-License-Identifier: MIT

package wideseq

import "github.com/kfdsim/kfdsim/model/kfd"

// Known are the defects that the design can be made with; their code is shared
// (kfd/posted.go, kfd/fetch.go).
const Known = kfd.WatchedDefects

// Defects returns the defects that the design was made with.
func (d *Design) Defects() kfd.Defects { return d.defects }
