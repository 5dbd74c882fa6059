// SPDX-License-Identifier: MIT

//go:build linux && amd64

package vm

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kfdsim/kfdsim/kernel"
)

// buildModule builds a module from its sources, and returns the path of its .ko. It
// is kept under the hash of what it was made from.
func (k *Kernel) buildModule(src fs.FS, name string) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	files, err := fs.ReadDir(src, ".")
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, k.Release)
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		text, err := fs.ReadFile(src, f.Name())
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", f.Name(), len(text), text)
	}
	path := filepath.Join(cache, "modules", fmt.Sprintf("%s-%x.ko", name, h.Sum(nil)[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := checkTools(k); err != nil {
		return "", err
	}
	_, ko, err := k.make(src, name)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, writeWhole(path, ko)
}

// writeWhole writes a file so that nobody ever finds a part of it.
func writeWhole(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "part-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(text); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// make runs the kernel's build system on a copy of a module's sources. It returns what
// that said, and the module.
func (k *Kernel) make(src fs.FS, name string, args ...string) (said, ko []byte, err error) {
	tmp, err := os.MkdirTemp("", "kfdsim-module-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(tmp)
	if err := os.CopyFS(tmp, src); err != nil {
		return nil, nil, err
	}
	c := exec.Command("make", append([]string{"-s", "-C", k.headers(), "M=" + tmp, "modules"}, args...)...)
	if said, err = c.CombinedOutput(); err != nil {
		return said, nil, fmt.Errorf("building %s for %s: %w\n%s", name, k.Release, err, bytes.TrimSpace(said))
	}
	ko, err = os.ReadFile(filepath.Join(tmp, name+".ko"))
	return said, ko, err
}

// BuildObserver builds the observer module with every warning that the kernel's build
// system and sparse have, and says to w what they say.
//
// Errors: *Unsupported; an error when there is a warning.
func BuildObserver(o Options, w io.Writer) error {
	if o.Series == "" {
		o.Series = "6.12"
	}
	k, err := FindKernel(o.Series, o.Fetch)
	if err != nil {
		return err
	}
	if err := checkTools(k); err != nil {
		return err
	}
	args := []string{"W=1"}
	if _, err := exec.LookPath("sparse"); err == nil {
		args = append(args, "C=2")
	} else {
		fmt.Fprintln(w, "without sparse: it is not installed")
	}
	said, _, err := k.make(kernel.Observer(), "kfdsim_observer", args...)
	out := warnings(said)
	fmt.Fprintf(w, "kfdsim_observer for %s, %s: %d bytes of warnings\n%s", k.Release, strings.Join(args, " "), len(out), out)
	if err == nil && len(out) > 0 {
		err = errors.New("the build of the module is not silent")
	}
	return err
}

// warnings returns what the build said, but for its note that headers without a vmlinux
// (Debian's of 6.1) have no BTF.
func warnings(said []byte) (out []byte) {
	for line := range bytes.Lines(said) {
		if !bytes.HasPrefix(line, []byte("Skipping BTF generation")) {
			out = append(out, line...)
		}
	}
	return out
}

// checkTools looks for what the kernel's build system runs.
func checkTools(k *Kernel) error {
	var lacking []string
	tools := []string{"make", "gcc-12"}
	if _, err := os.Stat(filepath.Join(k.headers(), "vmlinux")); err == nil {
		tools = append(tools, "pahole") // it would fail behind the build and take the module with it
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			lacking = append(lacking, map[string]string{"pahole": "dwarves"}[tool]+map[string]string{"make": "make", "gcc-12": "gcc-12"}[tool])
		}
	}
	if len(lacking) > 0 {
		return missing("modules cannot be built here", "apt-get install %s", strings.Join(lacking, " "))
	}
	return nil
}

// koFile is a kernel module.
type koFile struct {
	name string
	text []byte
}

// withDependencies returns modules of the kernel's own and what they need, in the
// order in which they can be loaded. One that is built in is left out.
func (k *Kernel) withDependencies(names ...string) (out []koFile, err error) {
	paths := map[string]string{}
	err = filepath.WalkDir(k.modules(), func(path string, d fs.DirEntry, err error) error {
		if name, _, ok := strings.Cut(filepath.Base(path), ".ko"); ok {
			paths[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	loaded := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = strings.ReplaceAll(name, "-", "_")
		path, ok := paths[name]
		if !ok || loaded[name] {
			return nil
		}
		loaded[name] = true
		text, err := readModule(path)
		if err != nil {
			return err
		}
		needs, err := dependencies(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		out = append(out, koFile{name, text})
		return nil
	}
	for _, n := range names {
		if err := add(n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// readModule reads a module, unpacked.
func readModule(path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".xz") {
		return os.ReadFile(path)
	}
	out, err := exec.Command("xz", "-dc", path).Output()
	if err != nil {
		return nil, missing("xz fails", "%v: apt-get install xz-utils", err)
	}
	return out, nil
}

// dependencies returns the modules that a module says it needs.
func dependencies(text []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("no section .modinfo")
	}
	info, err := s.Data()
	if err != nil {
		return nil, err
	}
	for _, field := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
