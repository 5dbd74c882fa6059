// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMinimizeKeepsWhatMatters(t *testing.T) {
	const text = `#: question: anything?
#: ram: 64M
# a comment
1 mmap(0x10000, 64K, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0) = 0x10000
1 ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400000000, total_size=0x6000, ranges=[{start=0x10000, size=8K}, {start=0x20000, size=0x2000}, {start=0x30000, size=0x2000}], gpu_id=1}) = 0
1 gpu.read(1, 0x400000000, 8K)
1 sleep(1)
`
	got := Minimize([]byte(text), func(text []byte) bool {
		return bytes.Contains(text, []byte("0x20000")) && bytes.Contains(text, []byte("gpu.read")) && bytes.Contains(text, []byte("ram"))
	})
	require.Equal(t, `#: ram: 64M
1 ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {va_addr=0x400000000, total_size=0x1000, ranges=[{start=0x20000, size=0x1000}], gpu_id=1}) = 0
1 gpu.read(1, 0x400000000, 0x1000)
`, string(got))
}

func TestMinimizeOfWhatNeverFailsIsTheTextItself(t *testing.T) {
	text := "# x\n1 sleep(1)\n"
	require.Equal(t, text, string(Minimize([]byte(text), func([]byte) bool { return false })))
}

// TestMinimizeFindsTheLinesThatAreNeeded whatever they are.
func TestMinimizeFindsTheLinesThatAreNeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "lines")
		var text, want strings.Builder
		need := map[string]bool{}
		for i := range n {
			line := "sleep(" + strings.Repeat("1", i+1) + ")\n"
			text.WriteString(line)
			if rapid.IntRange(0, 4).Draw(t, "needed") == 0 {
				need[line] = true
				want.WriteString(line)
			}
		}
		got := Minimize([]byte(text.String()), func(text []byte) bool {
			has := 0
			for line := range strings.Lines(string(text)) {
				if need[line] {
					has++
				}
			}
			return has == len(need)
		})
		if string(got) != want.String() {
			t.Fatalf("%q, want %q", got, want.String())
		}
	})
}

func TestACounterexampleStandsBehindTheTrace(t *testing.T) {
	c := &Counterexample{Design: "batch+D3", Lines: LineSpan{2, 3}, Schedule: []string{"1 x2 @00000001,", "2 x1 @00000002"}}
	text := AppendCounterexample(nil, []byte("#: question: what?\nsleep(1)\nsleep(2)"), c)
	require.Equal(t, "#: question: what?\nsleep(1)\nsleep(2)\n#: design: batch+D3\n#: lines: 2-3\n"+
		"#: schedule: 1 x2 @00000001,\n#: schedule: 2 x1 @00000002\n", string(text))
	tr := mustLoad(t, string(text))
	got := tr.Directives.Counterexample
	require.Equal(t, 6, got.Line)
	got.File, got.Line = "", 0
	require.Equal(t, *c, got)
	other := AppendCounterexample(nil, text, &Counterexample{Design: "wide"})
	require.Equal(t, "#: question: what?\nsleep(1)\nsleep(2)\n#: design: wide\n", string(other), "one interleaving at a time")
}
