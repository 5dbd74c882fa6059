// SPDX-License-Identifier: MIT

package traces

import (
	"encoding/hex"
	"io"
)

// HashString returns Hash in hexadecimal.
func (t *Trace) HashString() string { return hex.EncodeToString(t.Hash[:]) }

// Parse reads, checks and decodes a whole trace. The error is Errors if the trace is at fault, else the reader's.
func Parse(name string, r io.Reader) (*Trace, error) {
	d := newDecoder(name, true)
	if err := d.run(NewReader(name, r)); err != nil {
		return nil, err
	}
	return d.trace, nil
}
