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

// writeDocument prints results as one JSON array.
func writeDocument(w io.Writer, results []*model.Result) error {
	docs := []document{}
	for _, res := range results {
		d := document{Result: res, OK: res.OK()}
		if f := res.Failure; f != nil {
			d.Failure = &documentFailure{f.Verdict, f.Property, f.Title, f.Detail, f.Task, f.Step, f.Time, nil}
			for _, e := range lastEvents(res) {
				d.Failure.History = append(d.Failure.History, e.Task.Name()+": "+e.String())
			}
		}
		docs = append(docs, d)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(docs)
}
