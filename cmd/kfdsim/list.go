// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/traces"
)

// listNames are the lists that there are.
const listNames = "designs, defects, properties, windows or traces"

// listVerb prints what there is to choose from.
func listVerb(c *command, f *flags, args []string) int {
	asJSON := f.Bool("json", false, "print one JSON document")
	args, status, done := f.parse(args)
	switch {
	case done:
		return status
	case len(args) != 1:
		return f.misused("name one list: " + listNames)
	}
	t, err := listOf(args[0])
	if err != nil {
		c.complain("list: %v", err)
		return exitUsage
	}
	if *asJSON {
		err = t.writeJSON(c.stdout)
	} else {
		err = t.write(c.stdout)
	}
	if err != nil {
		c.complain("list: %v", err)
		return exitUsage
	}
	return exitOK
}

// table is a list: every row has a cell for every column.
type table struct {
	columns []string
	rows    [][]string
}

// listOf makes the list with a name.
func listOf(name string) (*table, error) {
	switch name {
	case "designs":
		t := &table{columns: []string{"design", "story"}}
		for _, d := range append(model.Designs(), model.PostedVersions()...) {
			t.rows = append(t.rows, []string{d.Name, d.Story})
		}
		return t, nil
	case "defects":
		return listDefects(), nil
	case "properties":
		t := &table{columns: []string{"property", "verdict", "protects", "source"}}
		for _, p := range model.Properties() {
			t.rows = append(t.rows, []string{p.Name, p.Word, p.Protects, p.Source})
		}
		return t, nil
	case "windows":
		t := &table{columns: []string{"window", "story"}}
		for _, w := range model.Windows() {
			t.rows = append(t.rows, []string{w.Name, w.Story})
		}
		return t, nil
	case "traces":
		return listTraces(traces.Corpus())
	}
	return nil, fmt.Errorf("%s: not a list: %s", name, listNames)
}

// listDefects lists what a design can be made with: where it was posted, where it
// can be added (design+defect), what it leads to.
func listDefects() *table {
	t := &table{columns: []string{"defect", "posted", "design", "verdict", "source", "story"}}
	for _, d := range model.Defects() {
		t.rows = append(t.rows, []string{d.Name, orDash(strings.Join(model.VersionsWith(d.Defect), ",")),
			orDash(strings.Join(d.Designs, ",")), orDash(d.Word), d.Source, d.Story})
	}
	return t
}

// orDash is what an empty cell shows.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// listTraces lists a corpus with the question that each trace asks.
func listTraces(corpus fs.FS) (*table, error) {
	t := &table{columns: []string{"trace", "question"}}
	err := fs.WalkDir(corpus, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		question, err := questionOf(corpus, path)
		t.rows = append(t.rows, []string{path, question})
		return err
	})
	return t, err
}

// questionOf reads the head of a trace: directives stand before the first call.
func questionOf(corpus fs.FS, path string) (string, error) {
	f, err := corpus.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r := traces.NewReader(path, f)
	for {
		l, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return "", nil
		case err != nil:
			return "", err
		case l.Kind == traces.LineDirective && string(l.Key) == "question":
			return string(l.Text), nil
		case l.Kind != traces.LineDirective && l.Kind != traces.LineComment && l.Kind != traces.LineBlank:
			return "", nil
		}
	}
}

// write prints the table for people.
func (t *table) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, strings.ToUpper(strings.Join(t.columns, "\t")))
	for _, row := range t.rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// writeJSON prints an array with an object for every row.
func (t *table) writeJSON(w io.Writer) error {
	doc := []map[string]string{}
	for _, row := range t.rows {
		object := map[string]string{}
		for i, name := range t.columns {
			object[name] = row[i]
		}
		doc = append(doc, object)
	}
	return writeJSON(w, doc)
}
