// SPDX-License-Identifier: MIT

package traces

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestASplitCallIsOneCallAtItsFirstLine(t *testing.T) {
	tr := mustLoad(t, "7 wait4(-1,  <unfinished ...>\n7 --- SIGCHLD {si_signo=SIGCHLD} ---\n7 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], WNOHANG, NULL) = 31859\n")
	require.Equal(t, []Op{
		{Line: 1, TID: 7, Call: CallWait4, Phase: Unfinished, Ref: 1, N: 4, A: [6]uint64{^uint64(0), 0, 1}, Result: ok(31859)},
		{Line: 3, TID: 7, Call: CallResume, Ref: 0, Result: ok(31859)},
	}, tr.Ops)
}

func TestACallThatNeverEndsKeepsWhatWasWritten(t *testing.T) {
	tr := mustLoad(t, "7 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0 <unfinished ...>\n7 +++ killed by SIGKILL +++\n")
	require.Equal(t, []Op{
		{Line: 1, TID: 7, Call: CallMmap, Phase: Unfinished, Ref: -1, N: 6, A: [6]uint64{0, 4096, 1, 0x22, ^uint64(0), 0}, Result: unknownResult},
		{Line: 2, TID: 7, Call: CallKilled, Ref: -1, N: 1, A: [6]uint64{9}},
	}, tr.Ops)
	tr = mustLoad(t, "7 wait4(-1,  <unfinished ...>\n")
	require.Equal(t, Op{Line: 1, TID: 7, Call: CallWait4, Phase: Unfinished, Ref: -1, N: 1, A: [6]uint64{^uint64(0)}, Result: unknownResult}, tr.Ops[0])
}

func TestASplitIoctlKeepsBothItsStructs(t *testing.T) {
	tr := mustLoad(t, "7 ioctl(3</dev/kfd>, AMDKFD_IOC_MAP_MEMORY_TO_GPU, {handle=1, device_ids=[1]} <unfinished ...>\n7 <... ioctl resumed> => {n_success=1}) = 0\n"+
		"7 ioctl(3</dev/tty>, TCGETS,  <unfinished ...>\n7 <... ioctl resumed>{B38400 opost}) = 0\n")
	require.Len(t, tr.Ops, 2)
	require.Equal(t, &KFDArgs{NR: 0x18, Handle: 1, DeviceIDs: []uint32{1}, NDevices: 1, OutNSuccess: 1, HasOutNSuccess: true}, tr.Ops[0].X.KFD)
	require.Equal(t, []NameCount{{"ioctl", 1}}, tr.Skipped)
}

func TestAThreadsExecveGoesOnAsItsLeader(t *testing.T) {
	tr := mustLoad(t, oddities["a thread's execve supersedes its leader"])
	require.Equal(t, []Op{
		{Line: 1, TID: 7, Call: CallClone, Ref: -1, N: 2, A: [6]uint64{0x10900, 0x7f00}, Result: ok(8)},
		{Line: 3, TID: 8, Call: CallExecve, Phase: Unfinished, Ref: 3, N: 3, Result: ok(0), X: &Extra{Path: "/bin/true"}},
		{Line: 4, TID: 7, Call: CallSuperseded, Ref: -1, N: 1, A: [6]uint64{8}},
		{Line: 5, TID: 7, Call: CallResume, Ref: 1, Result: ok(0)},
		{Line: 6, TID: 7, Call: CallExitGroup, Ref: -1, N: 1, Result: unknownResult},
	}, tr.Ops)
}

// whose returns the task of every Op.
func whose(t *testing.T, text string) (tids []int) {
	for _, o := range mustLoad(t, text).Ops {
		tids = append(tids, o.TID)
	}
	return tids
}

func TestLinesWithoutPrefixFindTheirTask(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []int
	}{
		"alone it is task 1":                   {"brk(NULL)\n", []int{1}},
		"its prefix comes late":                {oddities["the first task gets its prefix late"], []int{7, 7, 8, 7, 8, 7, 7, 7}},
		"only a child has a prefix":            {"fork() = 8\n[pid 8] exit(0) = ?\n[pid 8] +++ exited with 0 +++\nbrk(NULL)\n", []int{1, 8, 8, 1}},
		"the child is all that lives":          {"[pid 7] fork() = 8\n[pid 7] +++ exited with 0 +++\nbrk(NULL)\n", []int{7, 7, 8}},
		"the resumed half tells the number":    {"fork( <unfinished ...>\n[pid 8] brk(NULL)\n[pid 7] <... fork resumed>) = 8\n", []int{7, 8, 7}},
		"a number that a child has is left it": {"fork() = 1\n1 brk(NULL)\n", []int{0, 1}},
	} {
		require.Equal(t, c.want, whose(t, c.text), name)
	}
	require.Equal(t, 7, mustLoad(t, oddities["the first task gets its prefix late"]).FirstTID)
}

func TestAChildMaySpeakBeforeItIsCreated(t *testing.T) {
	tr := mustLoad(t, "7 fork( <unfinished ...>\n8 brk(NULL) = 0x1000\n7 <... fork resumed>) = 8\n")
	require.Equal(t, []int{7, 8, 7}, []int{tr.Ops[0].TID, tr.Ops[1].TID, tr.Ops[2].TID})
	require.Equal(t, ok(8), tr.Ops[0].Result)
}

func TestTheChildOfACloneThatNeverReturnsIsFound(t *testing.T) {
	for _, text := range []string{
		"7 fork( <unfinished ...>\n8 brk(NULL) = 0x1000\n7 +++ killed by SIGKILL +++\n",
		"7 fork( <unfinished ...>\n8 brk(NULL) = 0x1000\n7 <... fork resumed>) = ?\n7 +++ killed by SIGKILL +++\n",
		"7 fork() = ?\n8 brk(NULL) = 0x1000\n",
	} {
		require.Equal(t, Result{Kind: ResultUnknown, Val: 8}, mustLoad(t, text).Ops[0].Result)
	}
	_, err := Parse("t", strings.NewReader("7 fork() = ?\n8 brk(NULL) = 0x1000\n9 brk(NULL) = 0x1000\n"))
	require.ErrorContains(t, err, "t:3:1: task 9 was never created")
}

func TestAnAttachedCaptureMayBeginInTheMiddle(t *testing.T) {
	tr := mustLoad(t, "#: attach: yes\n7 <... futex resumed>) = 0\n8 brk(NULL) = 0x1000\n9 brk(NULL) = 0x1000\n")
	require.Len(t, tr.Ops, 2)
	require.Equal(t, []NameCount{{"futex", 1}}, tr.Skipped)
	require.Equal(t, 7, tr.FirstTID)
}

func TestANumberMayBeUsedAgain(t *testing.T) {
	mustLoad(t, "7 fork() = 8\n8 exit_group(0 <unfinished ...>\n8 +++ exited with 0 +++\n7 fork() = 8\n8 brk(NULL) = 0x1000\n")
	mustLoad(t, "7 fork() = 8\n8 pause( <unfinished ...>\n8 +++ killed by SIGKILL +++\n8 brk(NULL) = 0x1000\n7 fork() = 8\n")
	mustLoad(t, "7 fork() = 8\n8 +++ exited with 0 +++\n7 fork( <unfinished ...>\n8 brk(NULL) = 0x1000\n7 <... fork resumed>) = 8\n8 +++ exited with 0 +++\n")
}
