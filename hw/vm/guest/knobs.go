// SPDX-License-Identifier: MIT

//go:build linux && amd64

package guest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kfdsim/kfdsim/traces"
)

const (
	thp = "/sys/kernel/mm/transparent_hugepage/"
	ksm = "/sys/kernel/mm/ksm/"
)

// setKnobs keeps the kernel from doing anything to memory on its own.
func setKnobs() error {
	for _, k := range [][2]string{
		{"/proc/sys/vm/page-cluster", "0"}, // swap in what is asked for
		{"/proc/sys/vm/overcommit_memory", "0"},
		{"/proc/sys/vm/compaction_proactiveness", "0"},
		{thp + "khugepaged/scan_sleep_millisecs", "4000000000"},
		{thp + "khugepaged/alloc_sleep_millisecs", "0"},
		{thp + "khugepaged/defrag", "0"},
		{thp + "defrag", "never"},
		{ksm + "sleep_millisecs", "0"},
		{ksm + "pages_to_scan", "100000"},
	} {
		if err := os.WriteFile(k[0], []byte(k[1]), 0); err != nil {
			return err
		}
	}
	// Newer kernels leave out pages that did not merge before.
	if _, err := os.Stat(ksm + "smart_scan"); err == nil {
		if err := os.WriteFile(ksm+"smart_scan", []byte("0"), 0); err != nil {
			return err
		}
	}
	return keepScanning()
}

// keepScanning gives ksmd and khugepaged something to scan, so that their scans end
// and are counted also when no trace has anything for them.
func keepScanning() error {
	mem, err := unix.Mmap(-1, 0, 4<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	copy(mem, "nothing else is like this page")
	if err := unix.Madvise(mem[:page], unix.MADV_MERGEABLE); err != nil {
		return err
	}
	return unix.Madvise(mem, unix.MADV_HUGEPAGE)
}

// largest is the size of a mapping, in bytes, that the machine cannot populate and
// the observer module does not fetch any more.
const largest = 1 << 30

// maps returns the length of the largest mapping that a trace makes.
func maps(tr *traces.Trace) (n uint64) {
	for i := range tr.Ops {
		if op := &tr.Ops[i]; op.Call == traces.CallMmap {
			n = max(n, op.A[1])
		}
	}
	return n
}

// needs sets what a trace asks for. It returns why it cannot be had.
func (m *machine) needs(tr *traces.Trace) (string, error) {
	d := &tr.Directives
	mode := "madvise"
	if slices.Contains(d.Needs, "thp") {
		mode = "always"
	}
	switch {
	case maps(tr) >= largest:
		return "the machine has too little memory for a mapping that large", nil
	case d.RAM >= 0 || d.Swap >= 0:
		return "the machine has the memory it has", nil
	case d.Limit >= 0 || d.Memlock >= 0:
		return "no limits here", nil
	case d.Nodes > 2:
		return "the machine has two nodes", nil
	}
	return "", os.WriteFile(thp+"enabled", []byte(mode), 0)
}

// until waits until a counter of the kernel has gone up by n.
func until(path string, n int) error {
	read := func() (int, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(string(b)))
	}
	first, err := read()
	if err != nil {
		return err
	}
	for range 5000 {
		time.Sleep(time.Millisecond)
		now, err := read()
		if err != nil {
			return err
		}
		if now >= first+n {
			return nil
		}
	}
	return fmt.Errorf("%s stays at %d", path, first)
}

// mergePages lets ksmd merge what it can, or gives every merged page a frame of
// its own.
func mergePages(unmerge bool) error {
	if unmerge {
		return os.WriteFile(ksm+"run", []byte("2"), 0)
	}
	if err := os.WriteFile(ksm+"run", []byte("1"), 0); err != nil {
		return err
	}
	// A page is merged in the second scan after its last change, at the earliest.
	if err := until(ksm+"full_scans", 4); err != nil {
		return err
	}
	return os.WriteFile(ksm+"run", []byte("0"), 0)
}

// collapse lets khugepaged scan everything.
func collapse() error {
	sleep := thp + "khugepaged/scan_sleep_millisecs"
	if err := os.WriteFile(sleep, []byte("1"), 0); err != nil {
		return err
	}
	if err := until(thp+"khugepaged/full_scans", 3); err != nil {
		return err
	}
	return os.WriteFile(sleep, []byte("4000000000"), 0)
}

// bytesAt returns the address of a slice's bytes.
func bytesAt(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
