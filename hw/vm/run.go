// SPDX-License-Identifier: MIT

//go:build linux && amd64

package vm

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kfdsim/kfdsim/hw/vm/guest"
	"github.com/kfdsim/kfdsim/kernel"
	"github.com/kfdsim/kfdsim/traces"
)

// session is one call of Perform.
type session struct {
	o      Options
	k      *Kernel
	dir    string
	report *Report
	each   func(*traces.Outcome)
}

// Perform boots a kernel and performs the traces one after the other, each with
// fresh processes. It calls each with every outcome, in order. A trace that brings
// the machine down has an outcome that says so, and the others are performed on a
// machine of their own.
//
// Errors: *Unsupported when something is missing here, ErrTimeout, ctx's.
func Perform(ctx context.Context, o Options, batch []Trace, each func(*traces.Outcome)) (*Report, error) {
	if o.Series == "" {
		o.Series = "6.12"
	}
	if o.Limit == 0 {
		o.Limit = 10 * time.Minute
	}
	sweep(os.TempDir(), "kfdsim-vm-")
	dir, err := os.MkdirTemp("", fmt.Sprintf("kfdsim-vm-%d-", os.Getpid()))
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s := &session{o: o, dir: dir, report: &Report{}, each: each}
	if s.k, err = FindKernel(o.Series, o.Fetch); err != nil {
		return nil, err
	}
	s.report.Kernel = "Linux " + s.k.Release
	base, err := s.baseArchive()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	for len(batch) > 0 {
		done, err := s.boot(ctx, base, batch)
		if err != nil {
			return s.report, err
		}
		batch = batch[done:]
	}
	s.report.Took = time.Since(start)
	return s.report, nil
}

// sweep removes the directories of programs that did not get to remove theirs.
func sweep(dir, prefix string) {
	left, _ := filepath.Glob(filepath.Join(dir, prefix+"*"))
	for _, path := range left {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), prefix), "-")
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			os.RemoveAll(path)
		}
	}
}

// boot performs as many traces as one machine can, and says how many.
func (s *session) boot(ctx context.Context, base []byte, batch []Trace) (int, error) {
	initrd := filepath.Join(s.dir, "initrd")
	if err := writeArchive(initrd, base, batch); err != nil {
		return 0, err
	}
	m := &machine{kernel: s.k.image(), initrd: initrd, cmdline: cmdline, limit: s.o.Limit}
	s.report.Boots++
	r, w := io.Pipe()
	res := make(chan stream, 1)
	go func() { res <- s.follow(r) }()
	console, err := m.boot(ctx, s.dir, w)
	w.Close()
	got := <-res
	s.report.Console = console
	switch {
	case got.err != nil:
		return got.outcomes, got.err
	case err != nil && (got.outcomes == 0 || !errors.Is(err, ErrTimeout)):
		return got.outcomes, err
	case got.done:
		return len(batch), nil
	case !got.ready:
		return 0, fmt.Errorf("the guest did not start:\n%s", tail(console, 30))
	case got.outcomes >= len(batch):
		return len(batch), nil
	}
	// The machine went down, or was ended, in the middle of a trace.
	crash := lastMessage(console)
	if err != nil {
		crash = err.Error()
	}
	s.each(&traces.Outcome{Trace: batch[got.outcomes].Name, By: s.report.Kernel, Crash: crash})
	return got.outcomes + 1, nil
}

// stream is what came over the line.
type stream struct {
	outcomes    int
	ready, done bool
	err         error
}

// follow reads outcomes from the line as they come.
func (s *session) follow(r io.Reader) (got stream) {
	start := time.Now()
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<26)
	var text []byte
	for in.Scan() {
		line := in.Text()
		switch {
		case strings.HasPrefix(line, guest.Ready):
			got.ready = true
			if s.report.Boot == 0 {
				s.report.Boot = time.Since(start)
			}
			continue
		case line == guest.Done:
			got.done = true
			continue
		case text == nil && !strings.HasPrefix(line, "outcome "):
			s.report.Messages = append(s.report.Messages, line)
			continue
		}
		text = append(append(text, line...), '\n')
		if line != "end" {
			continue
		}
		o, err := traces.ParseOutcome("the guest", text)
		if err != nil {
			got.err = err
			break
		}
		text = nil
		got.outcomes++
		s.each(o)
	}
	io.Copy(io.Discard, r)
	return got
}

// cmdline makes the kernel do nothing to memory by itself, and the same each time.
const cmdline = "console=ttyS0 loglevel=4 panic=-1 nokaslr norandmaps random.trust_cpu=off " +
	"numa=fake=2 numa_balancing=disable mitigations=off nopti 8250.nr_uarts=4"

// baseArchive makes the part of the archive that is the same for every batch.
func (s *session) baseArchive() ([]byte, error) {
	exe, err := s.executable()
	if err != nil {
		return nil, err
	}
	observer, err := s.k.buildModule(kernel.Observer(), "kfdsim_observer")
	if err != nil {
		return nil, err
	}
	modules, err := s.k.withDependencies("zram")
	if err != nil {
		return nil, err
	}
	own, err := os.ReadFile(observer)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	c := &cpio{w: &b}
	for _, d := range []string{"dev", "proc", "sys", "tmp", "modules.d"} {
		c.dir(d)
	}
	c.char("dev/console", 5, 1)
	c.char("dev/null", 1, 3)
	c.file("init", exe)
	c.file(strings.TrimPrefix(guest.Marker, "/"), nil)
	var list strings.Builder
	for _, m := range append(modules, koFile{"kfdsim_observer", own}) {
		name := "modules.d/" + m.name + ".ko"
		c.file(name, m.text)
		fmt.Fprintf(&list, "/%s\n", name)
	}
	c.file(strings.TrimPrefix(guest.ModuleList, "/"), []byte(list.String()))
	return []byte(b.String()), c.err
}

// executable returns the program that runs in the guest.
func (s *session) executable() ([]byte, error) {
	path := s.o.Executable
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, missing(filepath.Base(path)+" is not statically linked, so it cannot run in the guest", "build it with CGO_ENABLED=0")
		}
	}
	return os.ReadFile(path)
}

// writeArchive writes what the kernel boots from: the base, and the batch.
func writeArchive(path string, base []byte, batch []Trace) error {
	var text []byte
	for _, t := range batch {
		text = guest.AppendTrace(text, t.Name, t.Text)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	w.Write(base)
	c := &cpio{w: w, ino: 1 << 16}
	c.file(strings.TrimPrefix(guest.Batch, "/"), text)
	if err := c.end(); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// tail returns the last lines of a text.
func tail(text []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(text), "\r", "")), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// lastMessage returns the line of a console that says best what went wrong.
func lastMessage(console []byte) string {
	text := tail(console, 200)
	for _, word := range []string{"kfdsim guest failed", "BUG:", "Kernel panic", "Oops", "panic:"} {
		if i := strings.Index(text, word); i >= 0 {
			line, _, _ := strings.Cut(text[i:], "\n")
			return line
		}
	}
	return "the machine went down without a word"
}
