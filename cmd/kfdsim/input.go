// SPDX-License-Identifier: MIT

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kfdsim/kfdsim/traces"
)

// errInterrupted is what reading returns at Ctrl-C.
var errInterrupted = errors.New("interrupted")

// input is a trace that the command line names.
type input struct {
	name string // as written
	path string // where it can be read more than once
}

// open opens the trace.
func (in *input) open() (io.ReadCloser, error) { return traces.Open(in.path) }

// load reads the whole trace.
func (in *input) load() (*traces.Trace, error) {
	r, err := in.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return traces.Parse(in.name, r)
}

// text reads the whole trace as it is written.
func (in *input) text() ([]byte, error) {
	r, err := in.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// check reads the whole trace and keeps nothing of it.
func (in *input) check() error {
	r, err := in.open()
	if err != nil {
		return err
	}
	defer r.Close()
	return traces.Check(in.name, r)
}

// inputs makes the traces of a command line readable as often as needed: standard
// input is copied to a file. The caller calls forget in the end.
func (c *command) inputs(names []string) (ins []input, forget func(), err error) {
	forget = func() {}
	for _, n := range names {
		in := input{name: n, path: n}
		if n == "-" {
			for i := range ins {
				if ins[i].name == "-" {
					return nil, forget, errors.New("-: standard input can be read once")
				}
			}
			if in.path, err = c.spool(); err != nil {
				return nil, forget, err
			}
			forget = func() { os.Remove(in.path) }
		}
		ins = append(ins, in)
	}
	return ins, forget, nil
}

// unusable says why a verb that needs its whole input ends.
func (c *command) unusable(verb string, err error) int {
	if errors.Is(err, errInterrupted) {
		return c.interrupted(verb)
	}
	c.badInput(verb, err)
	return exitUsage
}

// spool copies standard input, as it is, to a temporary file.
func (c *command) spool() (path string, err error) {
	f, err := os.CreateTemp("", "kfdsim-stdin-*")
	if err != nil {
		return "", err
	}
	if !c.await(func() { _, err = io.Copy(f, c.stdin) }) {
		os.Remove(f.Name())
		return "", errInterrupted
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("-: %w", err)
	}
	return f.Name(), nil
}

// keep returns a path under which the trace can be replayed later. Standard input
// is kept under a name that its contents decide, so that a replay of the same
// input is the same command.
func (in *input) keep() (string, error) {
	if in.name != "-" {
		return in.name, nil
	}
	data, err := os.ReadFile(in.path)
	if err != nil {
		return "", err
	}
	return keepBytes(data)
}

// keepBytes writes a trace to a temporary file whose name its contents decide.
func keepBytes(data []byte) (string, error) {
	sum := sha256.Sum256(data)
	path := filepath.Join(os.TempDir(), "kfdsim-"+hex.EncodeToString(sum[:6])+".trace")
	return path, os.WriteFile(path, data, 0o644)
}

// counterexample writes the trace with an interleaving to a file, or to one of its
// own if path is empty, and returns its name.
func (in *input) counterexample(path string, c *traces.Counterexample) (string, error) {
	text, err := in.text()
	if err != nil {
		return "", err
	}
	text = traces.AppendCounterexample(nil, text, c)
	if path == "" {
		return keepBytes(text)
	}
	return path, os.WriteFile(path, text, 0o644)
}

// resultFile says, in an error, that the file of -o could not be written after the
// work, or would take the place of a trace that was named. No file is fine.
func resultFile(path string, ins []input) error {
	if path == "" {
		return nil
	}
	if path == "-" {
		return errors.New("-o takes the name of a file: - is none")
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("-o: %w", err)
	} else if !dir.IsDir() {
		return fmt.Errorf("-o %s: %s is no directory", path, filepath.Dir(path))
	}
	old, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("-o: %w", err)
	case old.IsDir():
		return fmt.Errorf("-o %s: it is a directory", path)
	}
	for _, in := range ins {
		if x, err := os.Stat(in.path); err == nil && os.SameFile(old, x) {
			return fmt.Errorf("-o %s: it is the trace itself", path)
		}
	}
	return nil
}
