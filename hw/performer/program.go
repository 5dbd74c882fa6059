// SPDX-License-Identifier: MIT

//go:build linux && amd64

package performer

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"unsafe"
)

// Where a performed process has its code: 0x1000 into the file's only segment.
const (
	base     = 0x3f0000000000
	stubAddr = base + pageSize
	// faultAddr is the handler of SIGSEGV and SIGBUS.
	faultAddr = stubAddr + 16
	pageSize  = 4096
)

// stubText returns where the linker put the stub.
func stubText() uintptr

// stubEnd stands behind the stub.
var stubEnd = []byte{0x0f, 0x0b, 'k', 'f', 'd', 's', 'i', 'm'}

// stubCode returns the machine code of the stub.
func stubCode() []byte {
	text := unsafe.Slice((*byte)(pointerTo(stubText())), pageSize)
	return text[:bytes.Index(text, stubEnd)]
}

// pointerTo turns an address that is not Go's into a pointer.
func pointerTo(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// Program returns an ELF executable that holds the stub and nothing else. Written
// to a file, it is what Start runs and what a performed execve runs again.
func Program() []byte {
	code := stubCode()
	var out bytes.Buffer
	put := func(v any) { binary.Write(&out, binary.LittleEndian, v) }
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: stubAddr,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	put(h)
	size := uint64(pageSize + len(code))
	put(elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: pageSize})
	put(elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16})
	out.Write(make([]byte, pageSize-out.Len()))
	out.Write(code)
	return out.Bytes()
}
