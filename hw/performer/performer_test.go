// SPDX-License-Identifier: MIT

//go:build linux && amd64

package performer

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// started returns a process, which dies with the test.
func started(t *testing.T) *Task {
	program := filepath.Join(t.TempDir(), "performer")
	require.NoError(t, os.WriteFile(program, Program(), 0o755))
	a, err := New(program)
	require.NoError(t, err)
	task, err := a.Start()
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, syscall.Kill(task.PID, syscall.SIGKILL))
		_, err := syscall.Wait4(task.PID, nil, 0, nil)
		require.NoError(t, err)
		require.NoError(t, a.Close())
	})
	return task
}

func (t *Task) mmap(addr, n uint64) error {
	_, err := t.Call(unix.SYS_MMAP, addr, n, 3, 0x32, ^uint64(0), 0)
	return err
}

func (t *Task) load(addr, n uint64) (seen []byte, err error) {
	err = t.Load(addr, n, func(b []byte) { seen = append(seen, b...) })
	return seen, err
}

func TestAProcessHasMemoryAtAnyAddress(t *testing.T) {
	task := started(t)
	for _, addr := range []uint64{0x10000, 0x400000, 0xc000000000, 0x555555560000, 0x7fffffffe000} {
		require.NoError(t, task.mmap(addr, 4096))
		require.NoError(t, task.Fill(addr+5, 100, 0x42))
		got, err := task.load(addr, 106)
		require.NoError(t, err)
		require.Equal(t, byte(0), got[4])
		require.Equal(t, byte(0x42), got[5])
		require.Equal(t, byte(0x42), got[104])
		require.Equal(t, byte(0), got[105])
	}
}

func TestAnAccessThatFaultsComesBack(t *testing.T) {
	task := started(t)
	require.NoError(t, task.mmap(0x10000, 8192))
	for range 1000 {
		require.Equal(t, syscall.EFAULT, task.Fill(0x11000, 8192, 0x11))
	}
	got, err := task.load(0x11000, 4096)
	require.NoError(t, err)
	require.Equal(t, byte(0x11), got[4095], "what lies before the fault is written")
	_, err = task.load(0x9000000, 1)
	require.Equal(t, syscall.EFAULT, err)
}

func TestAForkHasItsOwnMemory(t *testing.T) {
	task := started(t)
	require.NoError(t, task.mmap(0x10000, 4096))
	require.NoError(t, task.Fill(0x10000, 4096, 0x11))
	child, err := task.Clone(uint64(unix.SIGCHLD), false)
	require.NoError(t, err)
	require.NoError(t, child.Fill(0x10000, 4096, 0x22))
	got, err := task.load(0x10000, 1)
	require.NoError(t, err)
	require.Equal(t, []byte{0x11}, got)
	require.Equal(t, syscall.EFAULT, child.Fill(0x20000, 1, 0))
	child.Begin(unix.SYS_EXIT_GROUP, 7)
	pid, err := task.Call(unix.SYS_WAIT4, uint64(child.PID), 0, 0, 0)
	require.NoError(t, err)
	require.Equal(t, uint64(child.PID), pid)
}

func TestAThreadSharesMemory(t *testing.T) {
	task := started(t)
	const thread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	other, err := task.Clone(thread, false)
	require.NoError(t, err)
	require.NoError(t, other.mmap(0x10000, 4096))
	require.NoError(t, task.Fill(0x10000, 1, 0x33))
	got, err := other.load(0x10000, 1)
	require.NoError(t, err)
	require.Equal(t, []byte{0x33}, got)
}

func TestExecveStartsAfresh(t *testing.T) {
	task := started(t)
	child, err := task.Clone(unix.CLONE_VM|unix.CLONE_VFORK|uint64(unix.SIGCHLD), true)
	require.NoError(t, err)
	_, err = task.Wait(10 * time.Millisecond)
	require.Equal(t, ErrBusy, err, "vfork waits")
	require.NoError(t, child.mmap(0x10000, 4096))
	require.NoError(t, child.Execve())
	_, err = task.Wait(patience)
	require.NoError(t, err)
	require.NoError(t, task.Fill(0x10000, 1, 0x33), "the child mapped it for its parent")
	require.Equal(t, syscall.EFAULT, child.Fill(0x10000, 1, 0x33))
	require.NoError(t, child.mmap(0x10000, 4096))
	require.NoError(t, child.Fill(0x10000, 1, 0x33))
	require.NoError(t, syscall.Kill(child.PID, syscall.SIGKILL))
}

func BenchmarkCall(b *testing.B) {
	program := filepath.Join(b.TempDir(), "performer")
	require.NoError(b, os.WriteFile(program, Program(), 0o755))
	a, err := New(program)
	require.NoError(b, err)
	task, err := a.Start()
	require.NoError(b, err)
	for b.Loop() {
		if _, err := task.Call(unix.SYS_GETPPID); err != nil {
			b.Fatal(err)
		}
	}
	syscall.Kill(task.PID, syscall.SIGKILL)
}
