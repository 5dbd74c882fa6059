// SPDX-License-Identifier: MIT

//go:build linux && amd64

package guest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kfdsim/kfdsim/hw/performer"
	"github.com/kfdsim/kfdsim/traces"
)

// Where things are in the guest.
const (
	// Batch holds the traces, as AppendTrace writes them.
	Batch = "/batch"
	// ModuleList names the modules to load, in order, one a line.
	ModuleList = "/modules"
	// Marker exists in a guest and nowhere else.
	Marker  = "/kfdsim-guest"
	program = "/performer"
	// Ready is the line that comes before all outcomes, Done the one after.
	Ready = "kfdsim guest on "
	Done  = "kfdsim guest done"
)

// Running says whether this program was started as the first process of a guest.
func Running() bool {
	if os.Getpid() != 1 {
		return false
	}
	_, err := os.Stat(Marker)
	return err == nil
}

// AppendTrace appends a trace to a batch.
func AppendTrace(dst []byte, name string, text []byte) []byte {
	dst = fmt.Appendf(dst, "%d %s\n", len(text), name)
	return append(dst, text...)
}

// Main performs the batch and powers the machine off. It does not return.
func Main() {
	debug.SetGCPercent(400)
	err := start()
	if err != nil {
		fmt.Fprintf(os.Stderr, "kfdsim guest failed: %v\n", err)
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func start() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		os.MkdirAll(m[1], 0o755)
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	out, err := openLine("/dev/ttyS1")
	if err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := swapOn("/dev/zram0", 512<<20); err != nil {
		return err
	}
	if err := setKnobs(); err != nil {
		return err
	}
	if err := os.WriteFile(program, performer.Program(), 0o755); err != nil {
		return err
	}
	m, err := newMachine()
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 1<<16)
	fmt.Fprintf(w, "%s%s\n", Ready, m.kernel)
	w.Flush()
	began := time.Now()
	n, err := m.performBatch(w)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "kfdsim guest: %d traces, %d lines in %.1f s of its time\n", n, m.lines, time.Since(began).Seconds())
	fmt.Fprintln(w, Done)
	return w.Flush()
}

// openLine opens a serial line that passes bytes on as they are.
func openLine(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	tio, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	tio.Oflag &^= unix.OPOST
	tio.Lflag &^= unix.ECHO | unix.ICANON
	return f, unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, tio)
}

func loadModules() error {
	list, err := os.ReadFile(ModuleList)
	if err != nil {
		return err
	}
	for _, path := range strings.Fields(string(list)) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("loading %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

// swapOn makes a compressed swap device.
func swapOn(dev string, size int64) error {
	if err := os.WriteFile("/sys/block/"+filepath.Base(dev)+"/disksize", []byte(strconv.FormatInt(size, 10)), 0); err != nil {
		return err
	}
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	const page = 4096
	b := make([]byte, page)
	copy(b[page-10:], "SWAPSPACE2")
	le := func(at int, v uint32) {
		b[at], b[at+1], b[at+2], b[at+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
	le(1024, 1) // version
	le(1028, uint32(size/page-1))
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	path := append([]byte(dev), 0)
	if _, _, e := unix.Syscall(unix.SYS_SWAPON, uintptr(bytesAt(path)), 0, 0); e != 0 {
		return fmt.Errorf("swapon %s: %w", dev, e)
	}
	return nil
}

// performBatch performs every trace of the batch.
func (m *machine) performBatch(w *bufio.Writer) (int, error) {
	f, err := os.Open(Batch)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	for n := 0; ; n++ {
		head, err := r.ReadString('\n')
		if err == io.EOF {
			return n, nil
		}
		size, name, ok := strings.Cut(strings.TrimSuffix(head, "\n"), " ")
		k, err2 := strconv.Atoi(size)
		if err != nil || err2 != nil || !ok {
			return n, fmt.Errorf("%s: %q is no trace", Batch, head)
		}
		text := make([]byte, k)
		if _, err := io.ReadFull(r, text); err != nil {
			return n, err
		}
		tr, err := traces.Parse(name, bytes.NewReader(text))
		if err != nil {
			return n, err
		}
		o, err := m.perform(tr)
		if err != nil {
			return n, fmt.Errorf("%s: %w", name, err)
		}
		w.Write(o.AppendText(nil))
		w.Flush()
	}
}
