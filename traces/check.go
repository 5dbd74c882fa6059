// SPDX-License-Identifier: MIT

package traces

import "io"

// Check checks a trace as Parse does, in memory that grows with the number of its tasks and the length of its longest
// line, not with the number of its lines.
func Check(name string, r io.Reader) error {
	return newDecoder(name, false).run(NewReader(name, r))
}
