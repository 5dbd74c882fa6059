// SPDX-License-Identifier: MIT

//go:build linux && amd64

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// machine describes one virtual machine.
type machine struct {
	kernel, initrd string
	cmdline        string
	// limit ends it however far it is.
	limit time.Duration
}

const qemu = "qemu-system-x86_64"

// boot runs a machine until it powers itself off. What it writes to its second
// serial line goes to out; its console is returned.
//
// Errors: *Unsupported without QEMU, ErrTimeout, or that of QEMU.
func (m *machine) boot(ctx context.Context, dir string, out io.Writer) (console []byte, err error) {
	path, err := exec.LookPath(qemu)
	if err != nil {
		return nil, missing("no "+qemu+" on this machine", "apt-get install --no-install-recommends qemu-system-x86")
	}
	log := filepath.Join(dir, "console")
	args := []string{
		"-nodefaults", "-no-reboot", "-display", "none", "-m", "1536M", "-cpu", "qemu64",
		"-kernel", m.kernel, "-initrd", m.initrd, "-append", m.cmdline,
		"-chardev", "file,id=console,path=" + log, "-serial", "chardev:console",
		"-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out",
		// One processor whose clock counts instructions: every run is the same.
		"-smp", "1", "-accel", "tcg", "-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm", "-seed", "1",
	}
	ctx, cancel := context.WithTimeout(ctx, m.limit)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	// QEMU dies with this program, whatever ends it: with the thread that started it,
	// which therefore has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	c.Stdout, c.Stderr = out, &stderr
	err = c.Run()
	console, _ = os.ReadFile(log)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = ErrTimeout
	case ctx.Err() != nil:
		err = ctx.Err()
	case err != nil:
		err = fmt.Errorf("%s: %w: %s", qemu, err, strings.TrimSpace(stderr.String()))
	}
	return console, err
}

// ErrTimeout says that a machine was ended because it took too long.
var ErrTimeout = errors.New("the virtual machine took too long and was ended")
