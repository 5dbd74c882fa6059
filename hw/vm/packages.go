// SPDX-License-Identifier: MIT

//go:build linux && amd64

package vm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Kernel is a kernel that can be booted, and modules be built for.
type Kernel struct {
	Series  string // e.g. 6.12
	Release string // e.g. 6.12.3+deb12-amd64, as uname prints it
	// Dir is where its packages are unpacked.
	Dir string
}

// image, headers and modules are where Debian puts them.
func (k *Kernel) image() string { return filepath.Join(k.Dir, "boot", "vmlinuz-"+k.Release) }
func (k *Kernel) headers() string {
	return filepath.Join(k.Dir, "usr", "src", "linux-headers-"+k.Release)
}
func (k *Kernel) modules() string {
	return filepath.Join(k.Dir, "lib", "modules", k.Release, "kernel")
}

// cacheDir returns the directory for what can be made again.
func cacheDir() (string, error) {
	if d := os.Getenv("KFDSIM_CACHE"); d != "" {
		return d, os.MkdirAll(d, 0o755)
	}
	d, err := os.UserCacheDir()
	if err != nil {
		return "", missing("no cache directory", "set KFDSIM_CACHE to one")
	}
	d = filepath.Join(d, "kfdsim")
	return d, os.MkdirAll(d, 0o755)
}

// FindKernel returns the newest kernel of a series that is in the cache or that apt
// has. With fetch it asks apt first.
//
// Errors: *Unsupported.
func FindKernel(series string, fetch bool) (*Kernel, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	kernels := filepath.Join(cache, "kernels")
	have, err := filepath.Glob(filepath.Join(kernels, series+".*", "complete"))
	if err != nil {
		return nil, err
	}
	if len(have) > 0 && !fetch {
		newest := ""
		for _, h := range have {
			if r := filepath.Base(filepath.Dir(h)); newest == "" || newer(r, newest) {
				newest = r
			}
		}
		return &Kernel{series, newest, filepath.Join(kernels, newest)}, nil
	}
	release, err := newestRelease(series)
	if err != nil {
		return nil, err
	}
	k := &Kernel{series, release, filepath.Join(kernels, release)}
	if _, err := os.Stat(filepath.Join(k.Dir, "complete")); err == nil {
		return k, nil
	}
	return k, k.fetch()
}

// newer says whether a release is of a later version, number by number.
func newer(a, b string) bool {
	numbers := regexp.MustCompile(`[0-9]+`)
	x, y := numbers.FindAllString(a, -1), numbers.FindAllString(b, -1)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return len(x[i]) > len(y[i]) || len(x[i]) == len(y[i]) && x[i] > y[i]
		}
	}
	return len(x) > len(y)
}

// newestRelease asks apt for kernels of a series.
func newestRelease(series string) (string, error) {
	if _, err := exec.LookPath("apt-cache"); err != nil {
		return "", missing("no apt on this machine", "kernels are Debian's packages: run this on Debian or Ubuntu, or in a container of it")
	}
	out, err := exec.Command("apt-cache", "search", "--names-only", `^linux-image-`+regexp.QuoteMeta(series)+`\.[0-9.+a-z-]*-amd64$`).Output()
	if err != nil {
		return "", missing("apt-cache fails", "%v", err)
	}
	newest := ""
	for _, line := range strings.Split(string(out), "\n") {
		name, _, _ := strings.Cut(line, " ")
		r := strings.TrimPrefix(name, "linux-image-")
		if r == name || strings.Contains(r, "-rt-") || strings.Contains(r, "-cloud-") || strings.HasPrefix(r, series+"-") {
			continue
		}
		if newest == "" || newer(r, newest) {
			newest = r
		}
	}
	if newest == "" {
		return "", missing("apt has no kernel linux-image-"+series+".*-amd64", "run apt-get update, or add the distribution that has it")
	}
	return newest, nil
}

// fetch downloads and unpacks the packages of a kernel.
func (k *Kernel) fetch() error {
	cache := filepath.Dir(filepath.Dir(k.Dir))
	sweep(cache, "fetch-")
	tmp, err := os.MkdirTemp(cache, fmt.Sprintf("fetch-%d-", os.Getpid()))
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	common := strings.TrimSuffix(k.Release, "-amd64") + "-common"
	kbuild := "linux-kbuild-" + strings.TrimSuffix(k.Release, "-amd64")
	if exec.Command("apt-cache", "show", kbuild).Run() != nil {
		kbuild = "linux-kbuild-" + k.Series
	}
	c := exec.Command("apt-get", "download", "-qq",
		"linux-image-"+k.Release, "linux-headers-"+k.Release, "linux-headers-"+common, kbuild)
	c.Dir = tmp
	if out, err := c.CombinedOutput(); err != nil {
		return missing("apt-get download fails", "%v: %s", err, bytes.TrimSpace(out))
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return err
	}
	root := filepath.Join(tmp, "root")
	for _, d := range debs {
		if out, err := exec.Command("dpkg-deb", "-x", d, root).CombinedOutput(); err != nil {
			return missing("dpkg-deb fails", "%v: %s", err, bytes.TrimSpace(out))
		}
	}
	if err := os.MkdirAll(filepath.Dir(k.Dir), 0o755); err != nil {
		return err
	}
	made := Kernel{k.Series, k.Release, root}
	if err := made.relocate(k.Dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "complete"), nil, 0o644); err != nil {
		return err
	}
	if err := os.Rename(root, k.Dir); err != nil && !errors.Is(err, os.ErrExist) {
		if _, err2 := os.Stat(filepath.Join(k.Dir, "complete")); err2 != nil {
			return err
		}
	}
	return nil
}

// relocate lets the headers' Makefile find the others where they are now, not in
// /usr/src.
func (k *Kernel) relocate(dir string) error {
	path := filepath.Join(k.headers(), "Makefile")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text = bytes.ReplaceAll(text, []byte("/usr/src/"), []byte(filepath.Join(dir, "usr", "src")+"/"))
	return os.WriteFile(path, text, 0o644)
}
