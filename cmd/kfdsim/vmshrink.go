// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kfdsim/kfdsim/hw/vm"
	"github.com/kfdsim/kfdsim/traces"
)

// shrink makes a trace smaller on which kernel and model diverge, and keeps it in a
// file. Every round is one boot.
func (r *vmRun) shrink(t vm.Trace, first judged) (path string, err error) {
	same := func(j judged) bool {
		return j.verdict == "surprise" && j.d != nil && first.d != nil && j.d.What == first.d.What
	}
	judge := func(candidates [][]byte) ([]bool, error) {
		var batch []vm.Trace
		var of []int
		ok := make([]bool, len(candidates))
		for i, text := range candidates {
			if _, err := traces.Parse(t.Name, bytes.NewReader(text)); err == nil {
				batch, of = append(batch, vm.Trace{Name: t.Name, Text: text}), append(of, i)
			}
		}
		if len(batch) == 0 {
			return ok, nil
		}
		k := 0
		_, err := r.boot(batch, func(o *traces.Outcome) {
			if j, err := judgeOutcome(batch[k], o); err == nil {
				ok[of[k]] = same(j)
			}
			k++
		})
		return ok, err
	}
	text := t.Text
	if first.d != nil && first.d.Line > 0 {
		// What comes behind the divergence has nothing to do with it.
		lines := bytes.SplitAfter(text, []byte("\n"))
		text = bytes.Join(lines[:min(first.d.Line, len(lines))], nil)
	}
	small, err := traces.MinimizeInRounds(text, judge)
	if err != nil {
		return "", err
	}
	path = filepath.Join(os.TempDir(), "kfdsim-shrunk-"+filepath.Base(t.Name))
	return path, os.WriteFile(path, small, 0o644)
}

// shrinkFirst shrinks the first surprise and says how to see it again.
func (r *vmRun) shrinkFirst(t vm.Trace, j judged) error {
	path, err := r.shrink(t, j)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.out, "%s, shrunk:\n%s\nTo replay: %s vm diff %s\n\n", t.Name, text, r.c.self, shellWord(path))
	return nil
}
