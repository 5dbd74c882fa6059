// SPDX-License-Identifier: MIT

package multi

import "github.com/kfdsim/kfdsim/model/kfd"

// Known are the defects that the design can be made with; their code is shared.
const Known = 1<<kfd.D2 | 1<<kfd.D8 | 1<<kfd.D14 | kfd.SharedDefects

// Defects returns the defects that the design was made with.
func (d *Design) Defects() kfd.Defects { return d.defects }
