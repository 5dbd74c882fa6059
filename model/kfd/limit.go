// SPDX-License-Identifier: MIT

package kfd

// SystemMemLimit returns the driver's own limit for user and system memory on a
// machine with ram bytes.
//
// Kernel: amdgpu_amdkfd_gpuvm_init_mem_limits, amdgpu_amdkfd_gpuvm.c.
func SystemMemLimit(ram uint64) uint64 {
	l := ram - ram/64
	if l < 3<<30 {
		return l / 2
	}
	return l - 3<<29
}

// reserveMemLimit charges size bytes; false means that the limit forbids it.
//
// Kernel: amdgpu_amdkfd_reserve_mem_limit.
//
// Simplified: model/FIDELITY.md K-LIMIT.
func (d *Driver) reserveMemLimit(size uint64) bool {
	if size > d.limit || d.used > d.limit-size {
		return false
	}
	d.used += size
	return true
}

// unreserveMemLimit gives size bytes back.
//
// Kernel: amdgpu_amdkfd_unreserve_mem_limit.
func (d *Driver) unreserveMemLimit(size uint64) {
	if size > d.used {
		panic("BUG: memory limit below zero")
	}
	d.used -= size
}

// MemUsed returns the bytes charged, MemLimit the most that can be.
func (d *Driver) MemUsed() uint64 { return d.used }

// MemLimit returns the limit in bytes.
func (d *Driver) MemLimit() uint64 { return d.limit }
