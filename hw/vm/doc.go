// SPDX-License-Identifier: MIT

// Package vm performs traces on a real kernel in a virtual machine, and returns the
// outcomes. It needs no GPU, no KVM and no root: Debian's own kernel under QEMU's
// software emulation, which with an instruction counter for a clock is reproducible to
// the bit.
//
//	packages.go  kernel, headers and kbuild, by package name, from apt
//	module.go    the observer module of kernel/observer, built against them
//	initramfs.go the archive that the kernel boots from
//	qemu.go      one virtual machine, with its time limit and its leftovers
//	run.go       a batch of traces: boot, stream, outcomes
//	guest/       what runs inside
//
// The guest is this very program: Perform puts the running executable into the
// archive, and its main function must call guest.Main when guest.Running says so. So
// the executable has to be statically linked.
//
// What is fetched and built is kept in a cache under names that say from what; it
// can be deleted at any time.
package vm
