// SPDX-License-Identifier: MIT

package layers

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// simulated says whether a package has to do the same in every run: all below
// model/, and sim.
func simulated(name string) bool {
	return name == "sim" || name == "model" || strings.HasPrefix(name, "model/")
}

// bannedImports are the clock, chance, other threads, and the world outside. Each
// stands for what is below it too.
var bannedImports = []string{
	"time", "os", "math/rand", "crypto/rand", "net", "io/fs", "io/ioutil", "syscall", "log", "embed",
	"sync", "runtime", "unsafe", "context", "path/filepath", "testing", "golang.org/x/sys",
}

func TestTheSimulatorIsDeterministic(t *testing.T) {
	own, all := ours(t)
	fset := token.NewFileSet()
	imp := exported{importer.ForCompiler(fset, "gc", exportData(all))}
	var found []string
	for _, p := range own {
		if !simulated(p.name()) {
			continue
		}
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			require.NoError(t, err)
			files = append(files, f)
		}
		leaks, err := leaksOf(fset, p.ImportPath, files, imp)
		require.NoError(t, err)
		found = append(found, leaks...)
	}
	require.Empty(t, found, "a line may say `// order: why it cannot leak`")
}

// leaksOf lists what could differ between two runs of a package, as
// `file:line: what`.
func leaksOf(fset *token.FileSet, path string, files []*ast.File, imp types.Importer) ([]string, error) {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	if _, err := (&types.Config{Importer: imp}).Check(path, fset, files, info); err != nil {
		return nil, err
	}
	l := &leakFinder{fset: fset, info: info}
	for _, f := range files {
		l.file(f)
	}
	return l.found, nil
}

// leakFinder looks through the files of one package.
type leakFinder struct {
	fset    *token.FileSet
	info    *types.Info
	excused map[int]bool // lines that an `// order:` comment covers
	sorted  map[ast.Node]bool
	found   []string
}

func (l *leakFinder) file(f *ast.File) {
	l.excused, l.sorted = map[int]bool{}, map[ast.Node]bool{}
	for _, g := range f.Comments {
		for _, c := range g.List {
			why, ok := strings.CutPrefix(c.Text, "// order: ")
			if ok && strings.TrimSpace(why) != "" {
				line := l.fset.Position(c.Pos()).Line
				l.excused[line] = true                            // behind the code
				l.excused[l.fset.Position(g.End()).Line+1] = true // above it
			}
		}
	}
	for _, s := range f.Imports {
		path, _ := strconv.Unquote(s.Path.Value)
		if slices.ContainsFunc(bannedImports, func(b string) bool { return path == b || strings.HasPrefix(path, b+"/") }) {
			l.leak(s, "import of "+path)
		}
	}
	ast.Inspect(f, l.node)
}

// leak notes a node, unless its line is excused.
func (l *leakFinder) leak(n ast.Node, what string) {
	at := l.fset.Position(n.Pos())
	if !l.excused[at.Line] {
		l.found = append(l.found, fmt.Sprintf("%s:%d: %s", filepath.Base(at.Filename), at.Line, what))
	}
}

// node looks at one node; calls come before their arguments.
func (l *leakFinder) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		l.leak(n, "go statement")
	case *ast.SelectStmt:
		l.leak(n, "select statement")
	case *ast.ChanType:
		l.leak(n, "channel")
	case *ast.RangeStmt:
		if t := l.info.Types[n.X].Type; t != nil {
			if _, isMap := t.Underlying().(*types.Map); isMap {
				l.leak(n, "range over a map")
			}
		}
	case *ast.CallExpr:
		switch l.callee(n) {
		case "slices.Sorted", "slices.SortedFunc", "slices.SortedStableFunc":
			l.sorted[ast.Unparen(n.Args[0])] = true
		case "maps.Keys", "maps.Values", "maps.All":
			if !l.sorted[n] {
				l.leak(n, "order of a map")
			}
		}
	case *ast.BasicLit:
		if n.Kind == token.STRING && strings.Contains(n.Value, "%p") {
			l.leak(n, "printed address")
		}
	}
	return true
}

// callee returns the function that is called as package.Name, empty for others.
func (l *leakFinder) callee(call *ast.CallExpr) string {
	fun := ast.Unparen(call.Fun)
	if x, ok := fun.(*ast.IndexExpr); ok {
		fun = x.X
	}
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	f, ok := l.info.Uses[sel.Sel].(*types.Func)
	if !ok || f.Pkg() == nil {
		return ""
	}
	return f.Pkg().Path() + "." + f.Name()
}

func TestLeakFinderFindsLeaks(t *testing.T) {
	_, all := ours(t)
	for name, c := range map[string]struct {
		imports, body string
		want          []string
	}{
		"range over a slice":                {"", "for range []int{} {}", nil},
		"range over a map":                  {"", "for range map[int]int{} {}", []string{"x.go:5: range over a map"}},
		"range over a map type with a name": {"", "type m map[int]int; for range (m{}) {}", []string{"x.go:5: range over a map"}},
		"range over a map that cannot leak": {"", "for range map[int]int{} {} // order: nothing is done", nil},
		"the reason above":                  {"", "// order: nothing\n// is done\nfor range map[int]int{} {}", nil},
		"an excuse without a reason":        {"", "for range map[int]int{} {} // order:", []string{"x.go:5: range over a map"}},
		"keys in order":                     {`"maps"; "slices"`, "slices.Sorted(maps.Keys(map[int]int{}))", nil},
		"keys as they come":                 {`"maps"; "slices"`, "slices.Collect(maps.Keys(map[int]int{}))", []string{"x.go:5: order of a map"}},
		"another thread":                    {"", "go println()", []string{"x.go:5: go statement"}},
		"a channel":                         {"", "_ = make(chan int)", []string{"x.go:5: channel"}},
		"the clock":                         {`_ "time"`, "", []string{"x.go:3: import of time"}},
		"chance, second version":            {`_ "math/rand/v2"`, "", []string{"x.go:3: import of math/rand/v2"}},
		"mathematics":                       {`_ "math/bits"`, "", nil},
		"an address":                        {`"fmt"`, `fmt.Printf("%p", nil)`, []string{"x.go:5: printed address"}},
	} {
		t.Run(name, func(t *testing.T) {
			fset := token.NewFileSet()
			src := "package x\n\nimport (" + c.imports + ")\nfunc f() {\n" + c.body + "\n}\n"
			f, err := parser.ParseFile(fset, "x.go", src, parser.ParseComments)
			require.NoError(t, err)
			imp := exported{importer.ForCompiler(fset, "gc", exportData(all))}
			got, err := leaksOf(fset, "x", []*ast.File{f}, imp)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

// exportData opens what the compiler wrote about a package.
func exportData(all map[string]*pkg) importer.Lookup {
	return func(path string) (io.ReadCloser, error) {
		p := all[path]
		if p == nil || p.Export == "" {
			return nil, fmt.Errorf("%s: no export data", path)
		}
		return os.Open(p.Export)
	}
}

// exported imports packages of which the compiler wrote export data. Others are
// empty: only the test of the leak finder asks for any.
type exported struct{ types.Importer }

// Import never fails.
func (e exported) Import(path string) (*types.Package, error) {
	if p, err := e.Importer.Import(path); err == nil {
		return p, nil
	}
	p := types.NewPackage(path, filepath.Base(path))
	p.MarkComplete()
	return p, nil
}
