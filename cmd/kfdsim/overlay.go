// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"io"
	"os"
	"path/filepath"

	"github.com/kfdsim/kfdsim/traces"
)

// overlayVerb turns the capture of an ordinary program into a trace whose memory
// a GPU uses.
func overlayVerb(c *command, f *flags, args []string) int {
	o := traces.OverlayOptions{}
	least, most := size(4<<10), size(4<<20)
	f.Var(&least, "min", "register no range shorter than `bytes`")
	f.Var(&most, "max", "register no range longer than `bytes`")
	f.IntVar(&o.Ranges, "ranges", 16, "`ranges` of one batch")
	f.IntVar(&o.Every, "every", 50, "`lines` of the capture between two actions")
	f.Uint64Var(&o.Seed, "seed", 0, "another `number` picks other ranges and actions")
	f.IntVar(&o.MaxBatches, "batches", 8, "`batches` that live at once")
	out := f.String("o", "", "write to `file` instead of standard output")
	args, status, done := f.parse(args)
	switch {
	case done:
		return status
	case len(args) != 1:
		return f.misused("%d traces: it takes one", len(args))
	case o.Ranges < 1 || o.Every < 1 || o.MaxBatches < 1:
		return f.misused("-ranges, -every and -batches are at least 1")
	}
	o.Min, o.Max = uint64(least), uint64(most)
	ins, forget, err := c.inputs(args)
	defer forget()
	if err != nil {
		return c.unusable("overlay", err)
	}
	var stats traces.OverlayStats
	write := func(w io.Writer) (err error) {
		stats, err = traces.Overlay(w, ins[0].name, c.stoppable(ins[0].open), o)
		return err
	}
	if err := c.writeTo(*out, write); err != nil {
		return c.unusable("overlay", err)
	}
	c.complain("overlay: %s: %d batches of %d ranges in all over process %d; %d ranges lost; %d GPU reads, %d GPU writes",
		args[0], stats.Batches, stats.Ranges, stats.Process, stats.Lost, stats.GPUReads, stats.GPUWrites)
	return exitOK
}

// writeTo lets write fill a file, which appears only when it is whole, or
// standard output.
func (c *command) writeTo(path string, write func(io.Writer) error) error {
	if path == "" {
		b := bufio.NewWriter(c.stdout)
		if err := write(b); err != nil {
			return err
		}
		return b.Flush()
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it has another name by then if all went well
	b := bufio.NewWriter(f)
	err = write(b)
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// stoppable makes what is opened fail at Ctrl-C.
func (c *command) stoppable(open func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		r, err := open()
		if err != nil {
			return nil, err
		}
		return &stoppableReader{r, c.interrupt}, nil
	}
}

type stoppableReader struct {
	io.ReadCloser
	interrupt <-chan struct{}
}

// Read reads, unless Ctrl-C was pressed.
func (s *stoppableReader) Read(p []byte) (int, error) {
	select {
	case <-s.interrupt:
		return 0, errInterrupted
	default:
		return s.ReadCloser.Read(p)
	}
}
