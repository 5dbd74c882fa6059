// SPDX-License-Identifier: MIT

//go:build linux && amd64

package vm

import (
	"bytes"
	"fmt"
	"io"
)

// cpio writes an archive in the form that the kernel unpacks at boot: newc. It needs
// neither root nor a tool.
//
// Kernel: Documentation/driver-api/early-userspace/buffer-format.rst.
type cpio struct {
	w   io.Writer
	ino int
	err error
}

// File types.
const (
	typeDir  = 0o040000
	typeFile = 0o100000
	typeChar = 0o020000
)

// entry appends one entry; dev is the device number of a character device.
func (c *cpio) entry(name string, mode uint32, data []byte, major, minor int) {
	if c.err != nil {
		return
	}
	c.ino++
	var b bytes.Buffer
	fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
	b.WriteString(name)
	b.WriteByte(0)
	pad(&b)
	if _, c.err = c.w.Write(b.Bytes()); c.err != nil {
		return
	}
	if _, c.err = c.w.Write(data); c.err != nil {
		return
	}
	_, c.err = c.w.Write(make([]byte, -len(data)&3))
}

func pad(b *bytes.Buffer) { b.Write(make([]byte, -b.Len()&3)) }

func (c *cpio) dir(name string) { c.entry(name, typeDir|0o755, nil, 0, 0) }

func (c *cpio) file(name string, data []byte) { c.entry(name, typeFile|0o755, data, 0, 0) }

func (c *cpio) char(name string, major, minor int) { c.entry(name, typeChar|0o666, nil, major, minor) }

// end appends the entry that ends an archive.
func (c *cpio) end() error {
	c.entry("TRAILER!!!", 0, nil, 0, 0)
	return c.err
}
