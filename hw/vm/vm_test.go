// SPDX-License-Identifier: MIT

//go:build linux && amd64

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kfdsim/kfdsim/hw/vm/guest"
	"github.com/kfdsim/kfdsim/kernel"
	"github.com/kfdsim/kfdsim/traces"
)

// TestMain lets the test be the first process of its own guest.
func TestMain(m *testing.M) {
	if guest.Running() {
		guest.Main()
	}
	os.Exit(m.Run())
}

func TestTheNewestReleaseIsByNumber(t *testing.T) {
	for _, c := range [][2]string{
		{"6.12.100+deb12-amd64", "6.12.99+deb12-amd64"},
		{"6.12.10+deb13-amd64", "6.12.10+deb12-amd64"},
		{"6.1.0-56-amd64", "6.1.0-9-amd64"},
	} {
		require.True(t, newer(c[0], c[1]), c)
		require.False(t, newer(c[1], c[0]), c)
	}
}

func TestAnArchiveIsWhatTheKernelUnpacks(t *testing.T) {
	var b bytes.Buffer
	c := &cpio{w: &b}
	c.dir("dev")
	c.char("dev/null", 1, 3)
	c.file("init", []byte("hello"))
	require.NoError(t, c.end())
	text := b.Bytes()
	require.Zero(t, len(text)%4)
	require.Equal(t, "070701", string(text[:6]))
	require.Equal(t, 4, bytes.Count(text, []byte("070701")))
	i := bytes.Index(text, []byte("init\x00"))
	require.Zero(t, (i-110)%4, "a header begins at a multiple of four")
	require.Equal(t, "hello", string(text[i+5+(-(i+5)&3):][:5]))
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("without the tool cpio: its opinion is not asked")
	}
	cmd := exec.Command("cpio", "-t")
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, "dev\ndev/null\ninit\n", string(out))
}

func TestTheSourcesOfTheModuleAreThere(t *testing.T) {
	for _, name := range []string{"Kbuild", "kfdsim_observer.c", "observer.h"} {
		text, err := fs.ReadFile(kernel.Observer(), name)
		require.NoError(t, err)
		require.Contains(t, string(text), "SPDX-License-Identifier: GPL-2.0 OR MIT")
	}
}

// TestAMachineWithoutToolsIsToldWhatItLacks: no QEMU, no apt.
func TestAMachineWithoutToolsIsToldWhatItLacks(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("KFDSIM_CACHE", t.TempDir())
	_, err := Perform(context.Background(), Options{}, []Trace{{Name: "x"}}, nil)
	var u *Unsupported
	require.True(t, errors.As(err, &u), "%v", err)
	require.Contains(t, u.Error(), "apt")
	m := &machine{limit: time.Second}
	_, err = m.boot(context.Background(), t.TempDir(), &bytes.Buffer{})
	require.True(t, errors.As(err, &u), "%v", err)
	require.Contains(t, u.Error(), "qemu-system-x86")
}

// The program in the place of QEMU never ends.
func TestAMachineThatHangsIsEnded(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, qemu), []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	m := &machine{limit: 100 * time.Millisecond}
	_, err := m.boot(context.Background(), t.TempDir(), &bytes.Buffer{})
	require.ErrorIs(t, err, ErrTimeout)
}

func TestWhatADeadProgramLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	dead := exec.Command("true")
	require.NoError(t, dead.Run())
	gone := filepath.Join(dir, fmt.Sprintf("kfdsim-vm-%d-1", dead.Process.Pid))
	mine := filepath.Join(dir, fmt.Sprintf("kfdsim-vm-%d-2", os.Getpid()))
	other := filepath.Join(dir, "kfdsim-vm-x")
	for _, d := range []string{gone, mine, other} {
		require.NoError(t, os.MkdirAll(filepath.Join(d, "sub"), 0o755))
	}
	sweep(dir, "kfdsim-vm-")
	require.NoDirExists(t, gone)
	require.DirExists(t, mine)
	require.DirExists(t, other)
}

// ready skips a test where no kernel and no QEMU are at hand. Nothing is fetched.
func ready(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine, which takes half a minute")
	}
	if _, err := exec.LookPath(qemu); err != nil {
		t.Skip("no " + qemu)
	}
	cache, err := cacheDir()
	require.NoError(t, err)
	have, err := filepath.Glob(filepath.Join(cache, "kernels", "6.12.*", "complete"))
	require.NoError(t, err)
	if len(have) == 0 {
		t.Skip("no kernel in the cache: kfdsim vm run fetches one")
	}
}

func TestAGuestPerformsTheSameTraceTwiceAlike(t *testing.T) {
	ready(t)
	var batch []Trace
	for range 2 {
		batch = append(batch, Trace{"fork.trace", []byte("1 mmap(0x10000, 8K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n" +
			"1 cpu.write(0x10000, 8K, 0x11)\n1 fork() = 2\n2 cpu.write(0x10000, 4K, 0x22)\n1 cpu.read(0x10000, 8K)\n2 cpu.read(0x10000, 8K)\n2 cpu.read(0x30000, 1)\n")})
	}
	var got []*traces.Outcome
	rep, err := Perform(context.Background(), Options{Limit: 2 * time.Minute}, batch, func(o *traces.Outcome) { got = append(got, o) })
	var u *Unsupported
	if errors.As(err, &u) {
		t.Skip(u.Error())
	}
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, string(got[0].AppendText(nil)), string(got[1].AppendText(nil)))
	require.Equal(t, []string{"0x10000", "0", "0", "0", "{0x11*8192}", "{0x22*4096, 0x11*4096}", "-1 EFAULT"}, results(got[0]), "%s", rep.Console)
}

func results(o *traces.Outcome) (out []string) {
	for i := range o.Steps {
		out = append(out, o.Steps[i].Result)
	}
	return out
}
