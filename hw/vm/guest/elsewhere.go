// SPDX-License-Identifier: MIT

//go:build !(linux && amd64)

package guest

// Running is false: guests are Linux on x86-64.
func Running() bool { return false }

// Main is never called.
func Main() { panic("BUG: no guest") }
