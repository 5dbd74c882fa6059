// SPDX-License-Identifier: MIT

package mm

// Arguments of the system calls, with the values of x86-64.
//
// Kernel: include/uapi/asm-generic/mman-common.h, mman.h, include/uapi/linux/mman.h.

// Protection of mmap and mprotect.
const (
	ProtNone      = 0x0
	ProtRead      = 0x1
	ProtWrite     = 0x2
	ProtExec      = 0x4
	ProtSem       = 0x8
	ProtGrowsDown = 0x01000000
	ProtGrowsUp   = 0x02000000
)

// Flags of mmap.
const (
	MapShared         = 0x01
	MapPrivate        = 0x02
	MapSharedValidate = 0x03
	MapDroppable      = 0x08
	MapType           = 0x0f
	MapFixed          = 0x10
	MapAnonymous      = 0x20
	Map32Bit          = 0x40
	MapAbove4G        = 0x80
	MapGrowsDown      = 0x0100
	MapDenyWrite      = 0x0800
	MapExecutable     = 0x1000
	MapLocked         = 0x2000
	MapNoReserve      = 0x4000
	MapPopulate       = 0x8000
	MapNonBlock       = 0x10000
	MapStack          = 0x20000
	MapHugeTLB        = 0x40000
	MapSync           = 0x80000
	MapFixedNoReplace = 0x100000
	mapUninitialized  = 0x4000000
	mapHuge2MB        = 21 << 26
	mapHuge1GB        = 30 << 26

	// legacyMapMask are the flags that MAP_SHARED ignores when it does not know
	// them and MAP_SHARED_VALIDATE accepts (LEGACY_MAP_MASK).
	legacyMapMask = MapShared | MapPrivate | MapFixed | MapAnonymous | MapDenyWrite | MapExecutable |
		mapUninitialized | MapGrowsDown | MapLocked | MapNoReserve | MapPopulate | MapNonBlock |
		MapStack | MapHugeTLB | Map32Bit | MapAbove4G | mapHuge2MB | mapHuge1GB
)

// Flags of mremap.
const (
	MremapMayMove   = 1
	MremapFixed     = 2
	MremapDontUnmap = 4
)

// Flags of mlock2 and mlockall.
const (
	MlockOnFault = 1
	MclCurrent   = 1
	MclFuture    = 2
	MclOnFault   = 4
)

// Flags of msync.
const (
	MsAsync      = 1
	MsInvalidate = 2
	MsSync       = 4
)

// Advice of madvise.
const (
	MadvNormal         = 0
	MadvRandom         = 1
	MadvSequential     = 2
	MadvWillNeed       = 3
	MadvDontNeed       = 4
	MadvFree           = 8
	MadvRemove         = 9
	MadvDontFork       = 10
	MadvDoFork         = 11
	MadvMergeable      = 12
	MadvUnmergeable    = 13
	MadvHugePage       = 14
	MadvNoHugePage     = 15
	MadvDontDump       = 16
	MadvDoDump         = 17
	MadvWipeOnFork     = 18
	MadvKeepOnFork     = 19
	MadvCold           = 20
	MadvPageOut        = 21
	MadvPopulateRead   = 22
	MadvPopulateWrite  = 23
	MadvDontNeedLocked = 24
	MadvCollapse       = 25
	MadvHWPoison       = 100
	MadvSoftOffline    = 101
)

// Modes of fallocate.
//
// Kernel: include/uapi/linux/falloc.h.
const (
	FallocKeepSize  = 0x01
	FallocPunchHole = 0x02
)

// pageAlign rounds a length in bytes up to pages; it wraps to 0 near 2^64, as
// PAGE_ALIGN does.
func pageAlign(n uint64) uint64 { return (n + PageSize - 1) &^ (PageSize - 1) }

// pageOffset returns the offset of an address in its page.
func pageOffset(addr uint64) uint64 { return addr & (PageSize - 1) }
