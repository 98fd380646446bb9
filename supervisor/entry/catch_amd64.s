//go:build !portable

#include "textflag.h"

// The signals by which a processor tells of a fault: ILL 4, TRAP 5, BUS 7,
// FPE 8, SEGV 11, SYS 31.
#define FAULTS $0x800009b0

// nines_handler(signal DI, siginfo SI, context DX) writes the signal's number to the
// pipe. Real faults, and what this process sent itself (the runtime's SIGURG,
// a SIGPIPE of ours), are left to Go's handler, called as the kernel would. It
// may run on any thread between any two instructions: it touches no register
// but those that a system call may destroy, and no memory but its own.
TEXT nines_handler(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVL	8(SI), AX		// si_code
	TESTL	AX, AX
	JGT	kernel
	MOVL	16(SI), CX		// si_pid
	CMPL	CX, ·caught+0(SB)
	JEQ	runtime
note:
	MOVQ	DI, R8
	SUBQ	$24, SP
	MOVB	DI, 0(SP)
	MOVL	$1, AX			// write(pipe, SP, 1)
	MOVL	·caught+4(SB), DI
	MOVQ	SP, SI
	MOVL	$1, DX
	SYSCALL
	ADDQ	$24, SP
	CMPQ	AX, $1
	JEQ	done
	DECQ	R8
	LOCK
	BTSQ	R8, ·caught+16(SB)
done:
	RET
kernel:
	MOVQ	FAULTS, CX
	BTQ	DI, CX
	JCC	note
runtime:
	MOVQ	·caught+8(SB), AX
	JMP	AX

// func handlerPC() uintptr
TEXT ·handlerPC(SB),NOSPLIT,$0-8
	MOVQ	$nines_handler(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
