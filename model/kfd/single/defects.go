// SPDX-License-Identifier: MIT

package single

import "github.com/kfdsim/kfdsim/model/kfd"

// Known are the defects that the design can be made with; their code is shared
// (kfd/posted.go).
const Known = 1<<kfd.D15 | kfd.WatchedDefects&^(1<<kfd.D2|1<<kfd.D3|1<<kfd.D4|1<<kfd.D5|1<<kfd.D6|1<<kfd.D8|1<<kfd.D12|1<<kfd.D14|1<<kfd.LastSeqOnly)

// Defects returns the defects that the design was made with.
func (d *Design) Defects() kfd.Defects { return d.defects }
