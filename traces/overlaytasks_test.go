// SPDX-License-Identifier: MIT

package traces

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	ovThread = "clone(child_stack=0x1000, flags=CLONE_VM|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD"
	ovArena  = "1 mmap(NULL, 1M, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x100000\n"
)

func TestOverlayNeverSpeaksForATaskInsideACall(t *testing.T) {
	out, _ := overlaid(t, "x", ovArena+"1 "+ovThread+") = 2\n"+
		lines("2 futex(%d) = 0\n", 5)+"1 wait4(-1,  <unfinished ...>\n"+lines("2 futex(%d) = 0\n", 30)+
		"2 futex(9 <unfinished ...>\n1 <... wait4 resumed>NULL, 0, NULL) = 5\n"+lines("1 close(%d) = 0\n", 30), OverlayOptions{Every: 1})
	judged(t, out, 4096)
	inside := map[string]bool{}
	for line := range strings.Lines(out) {
		tid, rest, _ := strings.Cut(line, " ")
		if ours(line) {
			require.False(t, inside[tid], line)
		}
		if strings.Contains(rest, "<unfinished") || strings.Contains(rest, "resumed>") {
			inside[tid] = strings.Contains(rest, "<unfinished")
		}
	}
	tasks := strings.Join(body(out), " ")
	require.Contains(t, tasks, " 2 ")
	require.Contains(t, tasks, " 1 ")
}

func TestOverlayWaitsWhileEveryTaskIsInsideACall(t *testing.T) {
	out, _ := overlaid(t, "x", ovArena+"1 fork() = 9\n1 wait4(9,  <unfinished ...>\n"+lines("9 close(%d) = 0\n", 20)+
		"9 exit_group(0) = ?\n1 <... wait4 resumed>NULL, 0, NULL) = 9\n1 close(3) = 0\n1 close(4) = 0\n", OverlayOptions{Every: 1})
	judged(t, out, 4096)
	require.Contains(t, strings.Join(body(out), " "), "-1"+strings.Repeat(" -9", 21)+" -1 1 ")
}

func TestOverlayTrustsNoMemoryThatACallInFlightMayTake(t *testing.T) {
	for name, call := range map[string]string{
		"munmap":             "munmap(0x100000, 1M",
		"mprotect":           "mprotect(0x100000, 1M, PROT_READ",
		"mremap":             "mremap(0x100000, 1M, 2M, MREMAP_MAYMOVE",
		"mremap onto it":     "mremap(0x900000, 1M, 1M, MREMAP_MAYMOVE|MREMAP_FIXED, 0x100000",
		"mmap over it":       "mmap(0x100000, 1M, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0",
		"a guard page":       "madvise(0x100000, 1M, MADV_GUARD_INSTALL",
		"a call without end": "munmap(0x100000, 0xffffffffffff0000",
		"brk":                "brk(0x100000",
	} {
		t.Run(name, func(t *testing.T) {
			text := ovArena
			if name == "brk" {
				text = "1 brk(NULL) = 0x100000\n1 brk(0x200000) = 0x200000\n"
			}
			text += "1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x40000\n1 " + ovThread + ") = 2\n" +
				lines("1 close(%d) = 0\n", 20) + "2 " + call + " <unfinished ...>\n" + lines("1 close(%d) = 0\n", 60)
			for seed := range uint64(8) {
				out, _ := overlaid(t, "x", text, OverlayOptions{Every: 1, Seed: seed})
				tr, _ := judged(t, out, 4096)
				for _, o := range tr.Ops[flightBegins(tr):] {
					if o.Call == CallIoctl && o.X.KFD.NR == 0x28 {
						for _, r := range o.X.KFD.Ranges {
							require.Equal(t, uint64(0x40000), r.Start)
						}
					}
				}
			}
		})
	}
}

func flightBegins(tr *Trace) int {
	for i, o := range tr.Ops {
		if o.Phase == Unfinished {
			return i
		}
	}
	return len(tr.Ops)
}

func TestOverlayUsesMemoryOnceTheCallThatGivesItReturned(t *testing.T) {
	const none = "1 mmap(NULL, 64K, PROT_NONE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x100000\n"
	const again = "1 mmap(NULL, 64K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x100000\n"
	for name, c := range map[string]struct{ before, call, result, after string }{
		"mprotect": {none, "mprotect(0x100000, 64K, PROT_READ|PROT_WRITE", "0", ""},
		"mmap":     {"", "mmap(NULL, 64K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0", "0x100000", ""},
		"munmap":   {none, "munmap(0x100000, 64K", "0", again},
		"brk":      {"1 brk(NULL) = 0x100000\n", "brk(0x200000", "0x200000", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := c.before + "1 " + ovThread + ") = 2\n2 " + c.call + " <unfinished ...>\n" + lines("1 close(%d) = 0\n", 5) +
				"2 <... " + name + " resumed>) = " + c.result + "\n" + c.after + lines("1 close(%d) = 0\n", 20)
			out, _ := overlaid(t, "x", text, OverlayOptions{Every: 1})
			judged(t, out, 4096)
			before, after, _ := strings.Cut(out, " resumed>")
			require.NotContains(t, before, "_BATCH")
			require.Contains(t, after, "_BATCH")
		})
	}
}

func TestOverlayExpectsNoBytesWhileAMemoryCallIsInFlight(t *testing.T) {
	out, _ := overlaid(t, "x", ovArena+"1 "+ovThread+") = 2\n2 madvise(0x100000, 1M, MADV_DONTNEED <unfinished ...>\n"+
		lines("1 close(%d) = 0\n", 20)+"2 <... madvise resumed>) = 0\n"+lines("1 close(%d) = 0\n", 20), OverlayOptions{Every: 1})
	judged(t, out, 4096)
	_, out, _ = strings.Cut(out, "<unfinished")
	during, after, _ := strings.Cut(out, " resumed>")
	require.Contains(t, during, "gpu.read")
	require.NotContains(t, during, ") = {0x")
	require.Contains(t, after, ") = {0x")
}

func TestOverlayNeverSpeaksForAThreadThatExits(t *testing.T) {
	out, _ := overlaid(t, "x", ovArena+"1 "+ovThread+") = 2\n2 exit(0) = ?\n"+lines("1 close(%d) = 0\n", 30)+
		"2 +++ exited with 0 +++\n"+lines("1 close(%d) = 0\n", 5), OverlayOptions{Every: 1})
	judged(t, out, 4096)
	_, after, _ := strings.Cut(out, "2 exit(0)")
	require.NotContains(t, body(after), "2")
}

func TestOverlayOfAProgramThatUsedKFDOnlyBeforeItsExecve(t *testing.T) {
	out, _ := overlaid(t, "x", "1 openat(AT_FDCWD, \"/dev/kfd\", O_RDWR|O_CLOEXEC) = 3</dev/kfd>\n1 execve(\"/bin/a\", NULL, NULL) = 0\n"+
		ovArena+lines("1 close(%d) = 0\n", 5), OverlayOptions{Every: 1})
	judged(t, out, 4096)
}

func TestOverlayPicksTheProcessThatExecsIntoTheMostMemory(t *testing.T) {
	out, st := overlaid(t, "x", ovArena+"1 vfork( <unfinished ...>\n"+
		"5 munmap(0x100000, 4096) = 0\n5 execve(\"/bin/b\", NULL, NULL <unfinished ...>\n1 <... vfork resumed>) = 5\n5 <... execve resumed>) = 0\n"+
		"5 mmap(NULL, 512M, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x40000000\n"+lines("5 close(%d) = 0\n", 20)+
		"5 exit_group(0) = ?\n5 +++ exited with 0 +++\n1 exit_group(0) = ?\n", OverlayOptions{Every: 1})
	judged(t, out, 4096)
	require.Equal(t, 5, st.Process)
	tasks := strings.Join(body(out), " ")
	require.True(t, strings.HasPrefix(tasks, "-1 -1 -5 -5 -1 -5 5 5 5 5 -5"), tasks)
	require.True(t, strings.HasSuffix(tasks, " 5 -5 -5 -1"), tasks)
}

func TestOverlayKeepsKFDToTheParentOfAFork(t *testing.T) {
	text := ovArena + lines("1 close(%d) = 0\n", 10) + "1 fork() = 2\n2 munmap(0x100000, 1M) = 0\n" + lines("2 close(%d) = 0\n", 20) +
		lines("1 close(%d) = 0\n", 20) + "2 exit_group(0) = ?\n1 exit_group(0) = ?\n"
	out, st := overlaid(t, "x", text, OverlayOptions{Every: 1})
	judged(t, out, 4096)
	require.NotContains(t, body(out), "2")
	require.Zero(t, st.Lost, "what the child unmaps is the child's")
}

func TestOverlayEndsBeforeItsProcessDoes(t *testing.T) {
	for name, end := range map[string]string{
		"exit_group":              "2 exit_group(0) = ?\n1 +++ exited with 0 +++\n2 +++ exited with 0 +++\n",
		"exit_group in two parts": "2 exit_group(0 <unfinished ...>\n1 +++ exited with 0 +++\n2 <... exit_group resumed>) = ?\n",
		"the last thread's exit":  "1 exit(0) = ?\n1 +++ exited with 0 +++\n2 exit(0) = ?\n2 +++ exited with 0 +++\n",
		"a signal":                "2 +++ killed by SIGSEGV +++\n1 +++ killed by SIGSEGV +++\n",
		"its own SIGKILL":         "1 kill(1, SIGKILL <unfinished ...>\n1 +++ killed by SIGKILL +++\n2 +++ killed by SIGKILL +++\n",
		"the end of the file":     "",
	} {
		t.Run(name, func(t *testing.T) {
			text := ovArena + "1 " + ovThread + ") = 2\n" + lines("1 close(%d) = 0\n", 40)
			out, _ := overlaid(t, "x", text+end, OverlayOptions{Every: 1})
			_, r := judged(t, out, 4096)
			require.LessOrEqual(t, len(r.batches), 4, "most batches are freed")
			at := strings.LastIndex(out, "FREE_MEMORY_OF_GPU")
			require.Positive(t, at)
			if last, _, _ := strings.Cut(end, "\n"); !strings.HasPrefix(last, "1 exit(") {
				_, behind, _ := strings.Cut(out[at:], "\n")
				require.Equal(t, end, behind)
			}
		})
	}
}

func TestOverlayFollowsAChildThatComesBeforeItsCloneReturns(t *testing.T) {
	const big = "mmap(NULL, 1G, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x40000000\n"
	out, st := overlaid(t, "x", ovArena+"1 "+ovThread+") = 2\n1 "+ovThread+" <unfinished ...>\n2 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>\n"+
		"7 "+big+"1 <... clone resumed>) = 8\n8 close(1) = 0\n2 <... clone resumed>) = 7\n"+lines("7 close(%d) = 0\n", 20), OverlayOptions{Every: 1})
	tr, _ := judged(t, out, 4096)
	require.Equal(t, 7, st.Process)
	require.Equal(t, 1, tr.FirstTID)
	require.NotContains(t, body(out), "8")
}

func TestOverlayHasTheFormOfTheLinesAroundIt(t *testing.T) {
	const arena = "mmap(NULL, 1M, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x100000\n"
	for name, c := range map[string]struct{ prefix, head string }{
		"number and time":       {"12 1.5 ", "12 1.5 "},
		"padded number":         {"12    10:11:12 ", "12 10:11:12 "},
		"bracket":               {"[pid 12] ", "[pid 12] "},
		"bracket with name":     {"[pid 12<sh>] 3.4 ", "[pid 12<sh>] 3.4 "},
		"neither":               {"", ""},
		"time only":             {"2.000001 ", "2.000001 "},
		"instruction addresses": {"12 [00007f3a1b2c3d4e] ", "12 "},
	} {
		t.Run(name, func(t *testing.T) {
			out, _ := overlaid(t, "x", c.prefix+arena+lines(c.prefix+"close(%d) = 0\n", 6), OverlayOptions{Every: 1})
			judged(t, out, 4096)
			require.Contains(t, "\n"+out, "\n"+c.head+`openat(AT_FDCWD, "/dev/kfd", O_RDWR|O_CLOEXEC) = 900</dev/kfd>`+"\n")
		})
	}
}

func TestOverlayOfATerminalsTraceNamesItsTasks(t *testing.T) {
	text := strings.TrimPrefix(ovArena, "1 ") + ovThread + ") = 31\nstrace: Process 31 attached\n" + lines("[pid 30] close(%d) = 0\n", 20) +
		lines("[pid 31] close(%d) = 0\n", 20) + lines("close(%d) = 0\n", 20) + "[pid 31] exit(0) = ?\n[pid 31] +++ exited with 0 +++\n" + lines("close(%d) = 0\n", 10)
	out, st := overlaid(t, "x", text, OverlayOptions{Every: 1})
	judged(t, out, 4096)
	require.Equal(t, 30, st.Process)
	require.Contains(t, out, "\n[pid 31] gpu.")
	require.Contains(t, out, "\n[pid 30] gpu.")
	_, alone, _ := strings.Cut(out, "\nclose(0)")
	alone, _, _ = strings.Cut(alone, "\nclose(19)")
	require.Contains(t, alone, "\n[pid 31] gpu.", "a line without task would be the first one's")
	_, after, _ := strings.Cut(out, "+++ exited")
	require.NotContains(t, after, "[pid")
}

func TestOverlayNeedsMemoryForWhatLivesOnly(t *testing.T) {
	var b strings.Builder
	b.WriteString(`1 execve("/bin/a", NULL, NULL) = 0` + "\n")
	for i := range 20000 {
		fmt.Fprintf(&b, "1 mmap(NULL, 64K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = %#x\n", 0x100000+i%7*0x10000)
		fmt.Fprintf(&b, "1 fork() = %d\n%d exit_group(0) = ?\n%d +++ exited with 0 +++\n", 2+i, 2+i, 2+i)
	}
	f := newFollower("x", strings.NewReader(b.String()), nil, 4096)
	for l, err := f.next(); err == nil; l, err = f.next() {
		f.follow(l)
	}
	require.Empty(t, f.d.errs)
	require.Len(t, f.threads, 1)
	require.LessOrEqual(t, len(f.procs[0].space.regions), 7)
	require.Nil(t, f.procs[1].space)
}
