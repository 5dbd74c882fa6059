// SPDX-License-Identifier: MIT

package vm

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	texts := map[string][]byte{}
	for _, f := range files {
		if f.IsDir() {
			continue
		}
		text, err := fs.ReadFile(src, f.Name())
		if err != nil {
			return "", err
		}
		texts[f.Name()] = text
		fmt.Fprintf(h, "%s %d\n%s", f.Name(), len(text), text)
	}
	path := filepath.Join(cache, "modules", fmt.Sprintf("%s-%x.ko", name, h.Sum(nil)[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := checkTools(k); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, "module-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	for n, text := range texts {
		if err := os.WriteFile(filepath.Join(tmp, n), text, 0o644); err != nil {
			return "", err
		}
	}
	c := exec.Command("make", "-s", "-C", k.headers(), "M="+tmp, "W=1", "modules")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s for %s: %w\n%s", name, k.Release, err, bytes.TrimSpace(out))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.Rename(filepath.Join(tmp, name+".ko"), path)
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
