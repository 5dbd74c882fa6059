// SPDX-License-Identifier: MIT

package layers

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// row says what of ours a package may import. A name that ends in /* stands for
// the packages directly below it.
type row struct {
	name string
	may  []string
}

// rows are the packages from the bottom to the top; the first that fits counts.
var rows = []row{
	{"traces", nil},
	{"sim", nil},
	{"model/errno", nil},
	{"model/phys", []string{"sim", "model/errno"}},
	{"model/mm", []string{"sim", "model/errno", "model/phys"}},
	{"model/gpu", []string{"sim", "model/errno", "model/phys"}},
	{"model/kfd", []string{"sim", "model/errno", "model/phys", "model/mm", "model/gpu"}},
	{"model/kfd/*", []string{"sim", "model/errno", "model/phys", "model/mm", "model/gpu", "model/kfd"}},
	{"model", []string{"traces", "sim", "model/errno", "model/phys", "model/mm", "model/gpu", "model/kfd", "model/kfd/*"}},
	{"kernel", nil},
	{"hw/performer", nil},
	{"hw/vm/guest", []string{"traces", "hw/performer"}},
	{"hw/vm", []string{"traces", "kernel", "hw/vm/guest"}},
	{"hw", []string{"traces"}},
	{"docs", nil},
	{"docs/*", []string{"traces", "sim", "model/errno", "model/phys", "model/mm", "model/gpu", "model/kfd", "model"}},
	{"internal/*", nil},
	{"cmd/*", []string{"traces", "sim", "model", "model/phys", "hw", "hw/vm", "hw/vm/guest"}},
}

func matches(pattern, name string) bool {
	ok, _ := path.Match(pattern, name)
	return ok
}

// forbidden returns the imports of a package that its row does not allow; known
// is false for a package without a row.
func forbidden(name string, imports []string) (bad []string, known bool) {
	i := slices.IndexFunc(rows, func(r row) bool { return matches(r.name, name) })
	if i < 0 {
		return nil, false
	}
	for _, imp := range imports {
		own, ok := strings.CutPrefix(imp, module)
		if ok && !slices.ContainsFunc(rows[i].may, func(m string) bool { return matches(m, own) }) {
			bad = append(bad, own)
		}
	}
	return bad, true
}

func TestImportsPointDown(t *testing.T) {
	own, _ := ours(t)
	require.NotEmpty(t, own)
	for _, p := range own {
		bad, known := forbidden(p.name(), p.Imports)
		require.True(t, known, "%s has no row: say in this file what it may import", p.name())
		require.Empty(t, bad, "%s may not import these", p.name())
	}
}

func TestRowsForbidWhatTheyAreThereFor(t *testing.T) {
	for why, c := range map[string]struct{ name, imp string }{
		"mm never sees the GPU":                       {"model/mm", "model/gpu"},
		"mm never sees the driver":                    {"model/mm", "model/kfd"},
		"the GPU never sees mm":                       {"model/gpu", "model/mm"},
		"designs never import each other":             {"model/kfd/batch", "model/kfd/single"},
		"the shared driver knows no design":           {"model/kfd", "model/kfd/batch"},
		"the rows below model/ never see a trace":     {"model/kfd", "traces"},
		"traces import nothing of ours":               {"traces", "sim"},
		"sim imports nothing of ours":                 {"sim", "model/phys"},
		"hardware is not driven by the simulator":     {"hw", "sim"},
		"hardware is not driven by the model":         {"hw", "model"},
		"nothing imports a command":                   {"model", "cmd/kfdsim"},
		"the model does not know the hardware":        {"model", "hw"},
		"the command does not reach around the model": {"cmd/kfdsim", "model/kfd/batch"},
	} {
		bad, known := forbidden(c.name, []string{"fmt", module + c.imp})
		require.True(t, known, why)
		require.Equal(t, []string{c.imp}, bad, why)
	}
}
