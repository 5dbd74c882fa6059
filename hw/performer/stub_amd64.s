// SPDX-License-Identifier: MIT

#include "textflag.h"

// The whole user space of a performed process: a loop that takes orders from its
// slot of the control area. It has no stack and no data of its own, so that a
// process can consist of it, the area, and what its trace maps. It runs at
// stubAddr, not where the linker puts it: everything in it is relative.
//
// R15: the task's slot. R14: the slot of the child that a clone makes.
//
// Offsets in a slot, as in area.go:
//   0 state   8 op   16 six arguments   64 result   72 done   80 child

#define SYS_mmap 9
#define SYS_futex 202

TEXT stub<>(SB),NOSPLIT|NOFRAME,$0
	JMP	entry
	PCALIGN	$16
fault:
	// SIGSEGV and SIGBUS come here on the alternate stack. In an access it is left at
	// once. Behind a system call (MADV_HWPOISON) they mean nothing: rt_sigreturn.
	CMPQ	8(R15), $0x10000
	JGE	lost
	ADDQ	$8, SP
	MOVQ	$15, AX
	SYSCALL
lost:
	MOVQ	$0, SP
	MOVQ	$-14, AX
	JMP	done

entry:
	// execve comes here: map the area; its first word says whose slot this is.
	MOVQ	$0x3f0000100000, DI
	MOVQ	$0x1000000, SI
	MOVQ	$3, DX // PROT_READ|PROT_WRITE
	MOVQ	$0x11, R10 // MAP_SHARED|MAP_FIXED
	MOVQ	$900, R8
	MOVQ	$0, R9
	MOVQ	$SYS_mmap, AX
	SYSCALL
	MOVQ	$0x3f0000100000, BX
	MOVQ	0(BX), R15
	MOVQ	$0, AX
	MOVQ	$0, SP

done:
	MOVQ	AX, 64(R15)
	MOVL	$0, 0(R15)
	MOVL	$1, 72(R15)
	LEAQ	72(R15), DI
	MOVQ	$1, SI // FUTEX_WAKE
	MOVQ	$1, DX
	MOVQ	$SYS_futex, AX
	SYSCALL

loop:
	MOVL	0(R15), AX
	CMPL	AX, $1
	JEQ	run
	MOVQ	R15, DI
	MOVQ	$0, SI // FUTEX_WAIT
	MOVL	AX, DX
	MOVQ	$0, R10
	MOVQ	$SYS_futex, AX
	SYSCALL
	JMP	loop

run:
	MOVQ	80(R15), R14
	MOVQ	8(R15), AX
	MOVQ	16(R15), DI
	MOVQ	24(R15), SI
	MOVQ	32(R15), DX
	MOVQ	40(R15), R10
	MOVQ	48(R15), R8
	MOVQ	56(R15), R9
	CMPQ	AX, $0x10000
	JEQ	fill
	CMPQ	AX, $0x10001
	JEQ	copy
	SYSCALL
	TESTQ	AX, AX
	JNE	done
	TESTQ	R14, R14
	JEQ	done
	MOVQ	R14, R15 // the child
	JMP	done

fill:
	// DI: where, SI: how many bytes, DX: eight times the byte
	MOVQ	DX, AX
	CLD
	CMPQ	SI, $8
	JLT	bytes
	// No word may lie across two pages: one of them may be missing.
	MOVQ	DI, CX
	NEGQ	CX
	ANDQ	$7, CX
	SUBQ	CX, SI
	REP; STOSB
	MOVQ	SI, CX
	SHRQ	$3, CX
	REP; STOSQ
	ANDQ	$7, SI
bytes:
	MOVQ	SI, CX
	REP; STOSB
	MOVQ	$0, AX
	JMP	done

copy:
	// DI: to, SI: from, DX: how many bytes
	MOVQ	DX, CX
	SHRQ	$3, CX
	CLD
	REP; MOVSQ
	MOVQ	DX, CX
	ANDQ	$7, CX
	REP; MOVSB
	MOVQ	$0, AX
	JMP	done

	// The end, for program.
	BYTE $0x0f; BYTE $0x0b; BYTE $0x6b; BYTE $0x66; BYTE $0x64; BYTE $0x73; BYTE $0x69; BYTE $0x6d
	RET

// func stubText() uintptr
TEXT ·stubText(SB),NOSPLIT,$0-8
	LEAQ	stub<>(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
