// SPDX-License-Identifier: MIT

package model

import (
	"strconv"
	"strings"

	"github.com/kfdsim/kfdsim/model/phys"
	"github.com/kfdsim/kfdsim/traces"
)

func hex(n uint64) string  { return "0x" + strconv.FormatUint(n, 16) }
func decimal(n int) string { return strconv.Itoa(n) }

// bytesText prints bytes as a trace does.
func bytesText(runs []phys.ByteRun) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, r := range runs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(hex(uint64(r.Byte)) + "*" + strconv.FormatUint(r.N, 10))
	}
	b.WriteByte('}')
	return b.String()
}

// recordedText prints the bytes that a trace records.
func recordedText(runs []traces.ByteRun) string {
	p := make([]phys.ByteRun, len(runs))
	for i, r := range runs {
		p[i] = phys.ByteRun{Byte: r.Byte, N: r.N}
	}
	return bytesText(p)
}
