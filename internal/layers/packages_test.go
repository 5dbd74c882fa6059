// SPDX-License-Identifier: MIT

package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is the import path that all of ours begin with.
const module = "github.com/kfdsim/kfdsim/"

// root is the repository, seen from this directory.
var root = filepath.Join("..", "..")

// pkg is a package as `go list -json` describes it.
type pkg struct {
	ImportPath string
	Dir        string
	Export     string // file with its types
	Imports    []string
	GoFiles    []string // without tests
	Standard   bool
}

// name is the path of the package in the repository.
func (p *pkg) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// listed asks the go command once for all tests: ours, and all that they need.
var listed = sync.OnceValues(func() ([]*pkg, error) {
	cmd := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Dir,Export,Imports,GoFiles,Standard", "./...")
	cmd.Dir = root
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New(err.Error() + ": " + errs.String())
	}
	var all []*pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &pkg{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

// ours returns the packages of this repository, and every package by its path.
func ours(t *testing.T) (own []*pkg, all map[string]*pkg) {
	list, err := listed()
	require.NoError(t, err)
	all = map[string]*pkg{}
	for _, p := range list {
		all[p.ImportPath] = p
		if strings.HasPrefix(p.ImportPath, module) {
			own = append(own, p)
		}
	}
	return own, all
}
