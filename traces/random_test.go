// SPDX-License-Identifier: MIT

package traces

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// writer writes random traces, and the Ops that they must mean, which is all there is to know about the decoder.
type writer struct {
	t     *rapid.T
	lines []string
	ops   []Op
	tasks []*writtenTask
}

type writtenTask struct {
	tid    int
	halves string // what resumes the call that is open
	open   int    // index of its Op, or -1 while none is open
}

// blank is a space, or as many as anybody might write.
func (w *writer) blank() string {
	return rapid.SampledFrom([]string{" ", " ", "  ", "\t", "      "}).Draw(w.t, "blank")
}

func (w *writer) pad() string { return rapid.SampledFrom([]string{"", "", " "}).Draw(w.t, "pad") }

// number writes v in one of its forms.
func (w *writer) number(v uint64) string {
	forms := []string{fmt.Sprintf("%d", v), fmt.Sprintf("%#x", v), fmt.Sprintf("%#x /* x(, */", v)}
	if v != 0 {
		forms = append(forms, fmt.Sprintf("0%o", v))
	} else {
		forms = append(forms, "NULL")
	}
	if v%1024 == 0 {
		forms = append(forms, fmt.Sprintf("%dK", v/1024))
	}
	return rapid.SampledFrom(forms).Draw(w.t, "form")
}

// flags writes v as names of table, as a number, or mixed.
func (w *writer) flags(table *words, pick int) (text string, v uint64) {
	names := make([]string, 0, len(table.names))
	for name := range table.names {
		names = append(names, name)
	}
	slices.Sort(names)
	var terms []string
	for range rapid.IntRange(1, pick).Draw(w.t, "terms") {
		name := rapid.SampledFrom(names).Draw(w.t, "name")
		v |= table.names[name]
		if rapid.Bool().Draw(w.t, "raw") {
			name = fmt.Sprintf("%#x", table.names[name])
		}
		terms = append(terms, name)
	}
	return strings.Join(terms, "|"), v
}

// call draws a call: its name, its arguments as text, and its Op.
func (w *writer) call() (name string, args []string, o Op) {
	n := func(i int, v uint64) {
		o.A[i] = v
		args = append(args, w.number(v))
	}
	f := func(i int, table *words, pick int) {
		text, v := w.flags(table, pick)
		o.A[i] = v
		args = append(args, text)
	}
	addr := func() uint64 { return rapid.Uint64Range(0, 1<<47).Draw(w.t, "addr") &^ 0xfff }
	o.Ref = -1
	switch rapid.IntRange(0, 6).Draw(w.t, "call") {
	case 0:
		o.Call, name = CallMmap, "mmap"
		n(0, addr())
		n(1, rapid.Uint64().Draw(w.t, "length"))
		f(2, protWords, 3)
		f(3, mapWords, 4)
		o.A[4], args = ^uint64(0), append(args, "-1")
		n(5, addr())
	case 1:
		o.Call, name = CallMunmap, "munmap"
		n(0, addr())
		n(1, addr())
	case 2:
		o.Call, name = CallMadvise, "madvise"
		n(0, addr())
		n(1, addr())
		f(2, madviseWords, 1)
	case 3:
		o.Call, name = CallClose, "close"
		fd := rapid.Uint64Range(0, 99).Draw(w.t, "fd")
		o.A[0], args = fd, append(args, fmt.Sprintf("%d", fd)+rapid.SampledFrom([]string{"", "</a, b)>", "<TCP:[1:1->[::2]:3]>", "</dev/null<char 1:3>>(deleted)"}).Draw(w.t, "path"))
		if strings.HasSuffix(args[0], ")") && strings.Contains(args[0], "deleted") {
			args[0] = strings.TrimSuffix(args[0], "(deleted)")
		}
	case 4:
		o.Call, name = CallMbind, "mbind"
		n(0, addr())
		n(1, addr())
		f(2, policyWords, 1)
		mask := rapid.SliceOfN(rapid.Uint64(), 0, 3).Draw(w.t, "mask")
		var words []string
		for _, m := range mask {
			words = append(words, w.number(m))
		}
		args = append(args, "["+strings.Join(words, ","+w.pad())+"]")
		o.X = &Extra{}
		if len(mask) > 0 {
			o.X.NodeMask = mask
		}
		n(4, 64)
		f(5, moveWords, 2)
	case 5:
		o.Call, name = CallGPUWrite, "gpu.write"
		n(0, rapid.Uint64Range(0, 8).Draw(w.t, "gpu"))
		n(1, addr())
		n(2, addr())
		n(3, rapid.Uint64Range(0, 255).Draw(w.t, "byte"))
	default:
		o.Call, name = CallBrk, "brk"
		n(0, addr())
	}
	o.N = uint8(len(args))
	return name, args, o
}

// result draws a result.
func (w *writer) result() (string, Result) {
	switch rapid.IntRange(0, 3).Draw(w.t, "result") {
	case 0:
		return "?", unknownResult
	case 1:
		errno := rapid.SampledFrom([]int{1, 12, 14, 22, 133}).Draw(w.t, "errno")
		return rapid.SampledFrom([]string{"-1 " + ErrnoName(errno) + " (Some text)", "-" + ErrnoName(errno), "-1  " + ErrnoName(errno) + " <0.000012>"}).
			Draw(w.t, "error"), failed(int32(errno))
	case 2:
		v := rapid.Uint64().Draw(w.t, "value")
		return fmt.Sprintf("%#x", v) + rapid.SampledFrom([]string{"", " (x)", " <0.1>", "</dev/kfd>"}).Draw(w.t, "trail"), ok(v)
	}
	return "0", ok(0)
}

func (w *writer) head(t *writtenTask) string {
	head := fmt.Sprintf("%d", t.tid)
	if rapid.Bool().Draw(w.t, "bracket") {
		head = fmt.Sprintf("[pid %5d]", t.tid)
	}
	return head + w.blank() + rapid.SampledFrom([]string{"", "1.5 ", "12:00:00.1 [00007f00] "}).Draw(w.t, "time")
}

// step writes one line of a random task, or two halves of a call as separate steps.
func (w *writer) step(int) {
	t := rapid.SampledFrom(w.tasks).Draw(w.t, "task")
	line := len(w.lines) + 1
	if t.open >= 0 {
		text, result := w.result()
		w.lines = append(w.lines, w.head(t)+t.halves+")"+w.blank()+"= "+text)
		w.ops[t.open].Ref, w.ops[t.open].Result = int32(len(w.ops)), result
		w.ops = append(w.ops, Op{Line: line, TID: t.tid, Call: CallResume, Ref: int32(t.open), Result: result})
		t.open = -1
		return
	}
	if len(w.tasks) < 5 && rapid.IntRange(0, 9).Draw(w.t, "fork") == 0 {
		child := &writtenTask{tid: 100 + len(w.tasks), open: -1}
		w.tasks = append(w.tasks, child)
		w.lines = append(w.lines, fmt.Sprintf("%sfork()%s= %d", w.head(t), w.blank(), child.tid))
		w.ops = append(w.ops, Op{Line: line, TID: t.tid, Call: CallClone, Ref: -1, A: [6]uint64{17}, Result: ok(uint64(child.tid))})
		return
	}
	name, args, o := w.call()
	o.Line, o.TID = line, t.tid
	w.ops = append(w.ops, o)
	if rapid.IntRange(0, 3).Draw(w.t, "split") == 0 {
		at := rapid.IntRange(0, len(args)).Draw(w.t, "at")
		first, second := strings.Join(args[:at], ", "), strings.Join(args[at:], ", ")
		if at > 0 && at < len(args) {
			if rapid.Bool().Draw(w.t, "comma") {
				first += ", "
			} else {
				second = ", " + second
			}
		}
		w.lines = append(w.lines, w.head(t)+name+"("+first+" <unfinished ...>")
		t.halves, t.open = "<... "+name+" resumed>"+second, len(w.ops)-1
		o := &w.ops[t.open]
		o.Phase, o.Result = Unfinished, unknownResult
		return
	}
	text, result := w.result()
	w.ops[len(w.ops)-1].Result = result
	w.lines = append(w.lines, w.head(t)+name+"("+w.pad()+strings.Join(args, w.pad()+","+w.blank())+w.pad()+")"+w.blank()+"="+w.blank()+text)
}

func TestRandomTracesMeanWhatTheirWriterMeant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &writer{t: t, tasks: []*writtenTask{{tid: 100, open: -1}}}
		for i := range rapid.IntRange(1, 30).Draw(t, "steps") {
			w.step(i)
		}
		for _, task := range w.tasks {
			for task.open >= 0 {
				w.tasks = []*writtenTask{task}
				w.step(0)
			}
		}
		text := strings.Join(w.lines, "\n") + "\n"
		tr, err := Parse("random", strings.NewReader(text))
		require.NoError(t, err, text)
		require.Equal(t, w.ops, tr.Ops, text)
		requireSound(t, []byte(text))
	})
}
