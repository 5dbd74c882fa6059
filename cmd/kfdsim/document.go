// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"io"

	"github.com/kfdsim/kfdsim/model"
	"github.com/kfdsim/kfdsim/sim"
)

// document is a result as JSON prints it: the result, and what only reports need.
type document struct {
	*model.Result
	OK      bool             `json:"ok"`
	Failure *documentFailure `json:"failure,omitempty"`
}

// documentFailure is a broken property.
type documentFailure struct {
	Verdict  string   `json:"verdict"`
	Property string   `json:"property"`
	Title    string   `json:"title"`
	Detail   string   `json:"detail"`
	Task     string   `json:"task,omitempty"`
	Step     uint64   `json:"step"`
	TimeNS   sim.Time `json:"time_ns"`
	History  []string `json:"history"` // the last events, oldest first: "task: event"
}

// exploration is an exploration as JSON prints it.
type exploration struct {
	*model.Exploration
	OK       bool      `json:"ok"`
	Failed   *document `json:"failed,omitempty"`
	Schedule string    `json:"schedule,omitempty"` // of the execution that failed
}

// documentOf returns a result as JSON prints it.
func documentOf(res *model.Result) document {
	d := document{Result: res, OK: res.OK()}
	if f := res.Failure; f != nil {
		d.Failure = &documentFailure{f.Verdict, f.Property, f.Title, f.Detail, f.Task, f.Step, f.Time, nil}
		for _, e := range res.Excerpt() {
			d.Failure.History = append(d.Failure.History, e.Task.Name()+": "+e.String())
		}
	}
	return d
}

// writeDocument prints results as one JSON array.
func writeDocument(w io.Writer, results []*model.Result) error {
	docs := []document{}
	for _, res := range results {
		docs = append(docs, documentOf(res))
	}
	return writeJSON(w, docs)
}

// writeExplorations prints explorations as one JSON array.
func writeExplorations(w io.Writer, found []*model.Exploration) error {
	docs := []exploration{}
	for _, e := range found {
		d := exploration{Exploration: e, OK: e.OK()}
		if e.Failed != nil {
			failed := documentOf(e.Failed)
			d.Failed, d.Schedule = &failed, e.Failed.Schedule.String()
		}
		docs = append(docs, d)
	}
	return writeJSON(w, docs)
}

func writeJSON(w io.Writer, docs any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(docs)
}
