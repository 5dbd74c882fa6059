// SPDX-License-Identifier: MIT

package traces

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzOverlay(f *testing.F) {
	f.Add(goldenCapture, uint64(1))
	f.Add("7 clone(flags=SIGCHLD <unfinished ...>\n7 +++ killed by SIGKILL +++\n8 mmap(NULL, 8192, 3, 0x22, -1, 0) = 0x10000\n8 close(1) = 0\n8 close(1) = 0\n", uint64(2))
	f.Add("#: attach: yes\n3 brk(0x8000) = 0x8000\n4 brk(0x18000) = 0x18000\n4 execve(\"a\" <unfinished ...>\n4 <... execve resumed>) = 0\n4 +++ exited with 0 +++\n3 close(1) = 0\n", uint64(3))
	f.Add("mmap(NULL, 1M, 3, 0x22, -1, 0) = 0x100000\nclone(flags=CLONE_VM|CLONE_VFORK) = 9\n[pid 9] mremap(0x100000, 8K, 16K, 5, 0) = 0x200000\n[pid 9] exit(0) = ?\n+++ exited with 0 +++\n", uint64(4))
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		_, err := Parse("x", strings.NewReader(text))
		if err != nil {
			_, overlayErr := Overlay(io.Discard, "x", reopen(text), OverlayOptions{})
			require.Error(t, overlayErr)
			return
		}
		out, err := overlaidOrNothing(text, OverlayOptions{Every: 1, Ranges: 4, Seed: seed})
		require.NoError(t, err)
		if out != "" {
			_, err = Parse("overlaid", strings.NewReader(out))
			require.NoError(t, err)
		}
	})
}
