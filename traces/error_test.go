// SPDX-License-Identifier: MIT

package traces

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	replayed = "the call is replayed, so every word of it must be known"
	cut      = "a capture that was cut in the middle ends like this"
)

var errorCases = map[string]struct{ text, want string }{
	"a line of something else": {"hello world\n", "t:1:1: not a line of strace: a call is written NAME(ARGUMENTS)"},
	"a garbled line":           {"1 brk(NULL) = 0\n1 \x01\x02\n", "t:2:3: not a line of strace: a call begins with its name"},
	"a number and no blank":    {"1x brk(NULL)\n", "t:1:1: not a line of strace: a line begins with a task's number, a time or a call"},
	"a task too large":         {"99999999999 brk(NULL)\n", "t:1:1: task number too large: a pid fits in 31 bits"},
	"a bad prefix":             {"[pid x] brk(NULL)\n", "t:1:1: bad task prefix: strace writes [pid NUMBER]"},
	"a bad time":               {"1 12:00x brk(NULL)\n", "t:1:3: not a time: strace prints SECONDS.FRACTION or HH:MM:SS here"},

	"a capture cut in a task":   {"31851", "t:1:6: the line ends before its event: " + cut},
	"a capture cut in a time":   {"31851 1795379514.70", "t:1:20: the line ends before its event: " + cut},
	"a capture cut in a name":   {"31851 1795379514.70 mma", "t:1:24: the line ends inside the name of a call: " + cut},
	"a capture cut in a call":   {"31851 1795379514.70 mmap(NULL, 40", "t:1:34: the line ends inside the arguments of mmap: " + cut},
	"a capture cut in a string": {"1 1.0 openat(AT_FDCWD, \"/de", "t:1:24: unterminated string: the line ends before its closing quote"},
	"a capture cut in a comment": {"1 1.0 execve(\"x\", [], 0x7 /* 35 v",
		"t:1:27: unterminated comment: the line ends before its */"},
	"a capture cut behind a call":  {"1 1.0 brk(NULL) =", "t:1:18: the line ends before the result: " + cut},
	"a capture cut in a number":    {"1 1.0 brk(NULL) = 0x7f", "t:1:23: the last line has no newline: " + cut},
	"a capture cut in an exit":     {"1 1.0 +++ exited wi", "t:1:20: the line ends inside the end of a task: " + cut},
	"a capture cut in a signal":    {"1 --- SIGCHLD {si_signo=", "t:1:25: the line ends inside a signal: " + cut},
	"a capture cut in read bytes":  {"1 cpu.read(0, 1) = {0x1*1", "t:1:26: the line ends inside the bytes of the result: " + cut},
	"a capture cut behind a break": {"fork(strace: Process 8 attached\n", "t:1:1: the line ends inside its event: " + cut},

	"a bracket that closes nothing": {"1 x(1])\n", "t:1:6: unbalanced \"]\": no \"[\" is open here"},
	"two commas":                    {"1 x(1, , 2)\n", "t:1:8: empty argument: a value is missing here"},
	"text behind a call":            {"1 brk(NULL) 5\n", "t:1:13: text after the call: only `= RESULT` may follow the closing parenthesis"},
	"a result that is none":         {"1 brk(NULL) = x\n", "t:1:15: not a result: a result is a number, ?, -1 ERRNO or the bytes of a read"},
	"a number that is none":         {"1 brk(NULL) = 0x\n", "t:1:15: bad result 0x: a result is a number, ?, -1 ERRNO or the bytes of a read"},
	"an unknown errno":              {"1 brk(NULL) = -1 EFOO (Foo)\n", "t:1:15: unknown errno EFOO: Linux on x86-64 has no such error"},
	"bytes as a call's result":      {"1 brk(NULL) = {0x1*1}\n", "t:1:15: bytes as the result of brk: only cpu.read and gpu.read see bytes"},
	"bytes that are none":           {"1 cpu.read(0, 1) = {0x100*1}\n", "t:1:20: bad bytes {0x100*1}: bytes are written {BYTE*COUNT, ...}"},

	"a flag that Linux does not have": {"1 mmap(NULL, 1, PROT_FOO, MAP_PRIVATE, -1, 0)\n",
		"t:1:17: unknown protection PROT_FOO: " + replayed},
	"a flag of another call": {"1 mmap(NULL, 1, PROT_READ, MAP_PRIVATE|MREMAP_FIXED, -1, 0)\n",
		"t:1:40: unknown mmap flag MREMAP_FIXED: " + replayed},
	"a string for a number": {"1 munmap(\"x\", 1)\n", "t:1:10: bad number \"x\": a number or names joined by | are expected here"},
	"a number beyond 64 bits": {"1 munmap(0x10000000000000000, 1)\n",
		"t:1:10: bad number 0x10000000000000000: a number or names joined by | are expected here"},
	"too few arguments":    {"1 munmap(0x1000) = 0\n", "t:1:16: munmap needs 2 arguments: there are 1"},
	"no arguments":         {"1 brk() = 0\n", "t:1:7: brk needs 1 argument: there are 0"},
	"too many arguments":   {"1 munmap(0x1000, 1, 2) = 0\n", "t:1:21: munmap takes 2 arguments: there are 3"},
	"a name for arguments": {"1 munmap(addr=0x1000, 1) = 0\n", "t:1:10: unknown field addr: munmap has no named arguments"},
	"an unknown clone3 field": {"1 clone3({flags=CLONE_VM, foo=1}, 88) = 2\n",
		"t:1:31: unknown field foo: clone3 takes Linux's struct clone_args"},

	"an unknown pseudo-call": {"1 gpu.poke(1)\n", "t:1:3: unknown pseudo-call gpu.poke: a dotted name is one of " + pseudoNames},
	"a value that is no byte": {"1 cpu.write(0x1000, 1, 0x100) = 0\n",
		"t:1:24: 0x100 is no byte: a byte is 0 to 0xff"},
	"a word that is not ASYNC": {"1 gpu.read(1, 0, 1, SYNC)\n", "t:1:21: unknown word SYNC: only ASYNC may stand here"},
	"a barrier without quotes": {"1 barrier(x)\n", "t:1:11: not a string: a name in double quotes is expected here"},

	"a field that an ioctl does not have": {"1 ioctl(3, AMDKFD_IOC_FREE_MEMORY_OF_GPU, {handel=1}) = 0\n",
		"t:1:44: unknown field handel: AMDKFD_IOC_FREE_MEMORY_OF_GPU has handle"},
	"an unknown allocation flag": {"1 ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU, {flags=KFD_FOO}) = 0\n",
		"t:1:51: unknown allocation flag KFD_FOO: " + replayed},
	"a field that is too large": {"1 ioctl(3, AMDKFD_IOC_ACQUIRE_VM, {drm_fd=4, gpu_id=0x100000000}) = 0\n",
		"t:1:53: 0x100000000 is too large: the field has 32 bits"},
	"a struct that is not known": {"1 ioctl(3, AMDKFD_IOC_DBG_TRAP, {pid=1}) = 0\n",
		"t:1:33: arguments of AMDKFD_IOC_DBG_TRAP: this ioctl is kept, but its struct is not part of the language"},
	"a range that is none": {"1 ioctl(3, AMDKFD_IOC_ALLOC_MEMORY_OF_GPU_BATCH, {ranges=[{start=1, len=2}]}) = 0\n",
		"t:1:73: unknown field len: its fields are start, size"},

	"a second half without a first": {"1 <... brk resumed>) = 0\n",
		"t:1:8: second half of brk without a first: task 1 began no call; `#: attach: yes` if the capture began in the middle"},
	"a second half of another call": {"1 brk(NULL <unfinished ...>\n1 <... mmap resumed>) = 0\n",
		"t:2:8: second half of mmap: task 1 is inside brk"},
	"two second halves": {"1 brk(NULL <unfinished ...>\n1 <... brk resumed>) = 0\n1 <... brk resumed>) = 0\n",
		"t:3:8: second half of brk without a first: task 1 began no call; `#: attach: yes` if the capture began in the middle"},
	"a call inside a call": {"1 brk(NULL <unfinished ...>\n1 munmap(0x1000, 1) = 0\n",
		"t:2:3: task 1 is still inside brk: its second half must come before the task's next call"},
	"an unknown flag in a first half": {"1 mmap(NULL, 1, PROT_FOO, MAP_PRIVATE, -1, 0 <unfinished ...>\n1 <... mmap resumed>) = 0\n",
		"t:1:17: unknown protection PROT_FOO: " + replayed},
	"an unknown flag in a second half": {"1 wait4(-1,  <unfinished ...>\n1 <... wait4 resumed>NULL, WFOO, NULL) = 2\n",
		"t:2:28: unknown wait option WFOO: " + replayed},

	"a task that nothing created": {"1 brk(NULL) = 0\n2 brk(NULL) = 0\n",
		"t:2:1: task 2 was never created: no fork or clone returns it; `#: attach: yes` if the capture began in the middle"},
	"an unknown signal": {"1 +++ killed by SIGFOO +++\n", "t:1:17: unknown signal SIGFOO: Linux on x86-64 has no such signal"},
	"a bad exit status": {"1 +++ exited with x +++\n", "t:1:19: bad exit status: a number is expected here"},

	"an unknown directive":        {"#: colour: red\n", "t:1:4: unknown directive colour: the keys are " + directiveKeys},
	"a directive without a key":   {"#: hello\n", "t:1:1: directive without a key: a directive is `#: key: value`"},
	"a directive without a value": {"#: ram:\n", "t:1:8: bad value of ram: there is none"},
	"a bad verdict":               {"#: result: batch=fine\n", "t:1:18: unknown verdict fine: the verdicts are " + strings.Join(Verdicts, ", ")},
	"a bad expectation":           {"#: result: batch\n", "t:1:12: bad expectation batch: it is written DESIGN=VERDICT"},
	"two verdicts for a design":   {"#: result: v2=ok\n#: result: v2=stuck\n", "t:2:12: second verdict for v2: each design has one"},
	"a bad size":                  {"#: ram: lots\n", "t:1:9: bad value of ram: a number of bytes, as 64M"},
	"a directive twice":           {"#: ram: 1M\n#: ram: 2M\n", "t:2:4: second ram directive: it may stand once"},
}

func TestEveryErrorSaysWhereWhatAndWhy(t *testing.T) {
	for name, c := range errorCases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("t", strings.NewReader(c.text))
			require.EqualError(t, err, c.want)
			require.EqualError(t, Check("t", strings.NewReader(c.text)), c.want)
			var one *Error
			require.True(t, errors.As(err, &one))
			require.Equal(t, "t", one.File)
		})
	}
}

func TestTenErrorsAreEnough(t *testing.T) {
	_, err := Parse("t", strings.NewReader(strings.Repeat("garbage\n", 50)))
	var all Errors
	require.True(t, errors.As(err, &all))
	require.Len(t, all, 10)
	require.Equal(t, 10, all[9].Line)
}

func TestUnknownWordsInCallsThatAreNotReplayedAreNoError(t *testing.T) {
	tr, err := Parse("t", strings.NewReader("1 prctl(PR_FOO, {bar=BAZ}) = 0\n1 ioctl(0</dev/tty>, FOO, {a=b}) = 0\n1 prctl(PR_BAR) = 0\n"))
	require.NoError(t, err)
	require.Empty(t, tr.Ops)
	require.Equal(t, []NameCount{{"ioctl", 1}, {"prctl", 2}}, tr.Skipped)
}

// TestACaptureMayBeCutAnywhere cuts a capture at every byte: the result is a trace only where a line ends.
func TestACaptureMayBeCutAnywhere(t *testing.T) {
	text := []byte("7 1.5 fork() = 8\n7 1.6 wait4(-1,  <unfinished ...>\n8 1.7 brk(0x1000 /* x */) = 0x1000 <0.1>\n8 1.8 +++ exited with 0 +++\n" +
		"7 1.9 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 8\n7 2.0 --- SIGCHLD {si_signo=SIGCHLD} ---\n" +
		"7 2.1 openat(AT_FDCWD</tmp>, \"a\\\"\", O_RDONLY|O_CLOEXEC) = 3</tmp/a>\n7 2.2 madvise(0x1000, 4096, MADV_DONTNEED) = -1 EINVAL (Invalid argument)\n")
	require.NoError(t, Check("t", bytes.NewReader(text)))
	for n := 1; n < len(text); n++ {
		err := Check("t", bytes.NewReader(text[:n]))
		if text[n-1] == '\n' {
			require.NoError(t, err, "cut behind line %d", bytes.Count(text[:n], []byte("\n")))
			continue
		}
		var bad *Error
		require.True(t, errors.As(err, &bad), "cut behind %q", text[:n])
		require.Equal(t, 1+bytes.Count(text[:n], []byte("\n")), bad.Line)
	}
}
