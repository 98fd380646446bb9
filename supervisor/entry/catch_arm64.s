//go:build !portable

#include "textflag.h"

#define FAULTS $0x800009b0

// nines_handler(signal R0, siginfo R1, context R2): see catch_amd64.s.
TEXT nines_handler(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVD	$·caught+0(SB), R10
	MOVW	8(R1), R3		// si_code
	CMP	$0, R3
	BGT	kernel
	MOVW	16(R1), R4		// si_pid
	MOVW	0(R10), R5
	CMP	R4, R5
	BEQ	runtime
note:
	MOVD	R0, R9
	SUB	$16, RSP
	MOVB	R0, 0(RSP)
	MOVW	4(R10), R0		// write(pipe, RSP, 1)
	MOVD	RSP, R1
	MOVD	$1, R2
	MOVD	$64, R8
	SVC
	ADD	$16, RSP
	CMP	$1, R0
	BEQ	done
	SUB	$1, R9, R9
	MOVD	$1, R4
	LSL	R9, R4, R4
	ADD	$16, R10, R5
again:
	LDAXR	(R5), R6
	ORR	R4, R6, R6
	STLXR	R6, (R5), R7
	CBNZ	R7, again
done:
	RET
kernel:
	MOVD	FAULTS, R4
	LSR	R0, R4, R4
	TBZ	$0, R4, note
runtime:
	MOVD	8(R10), R4
	JMP	(R4)

// func handlerPC() uintptr
TEXT ·handlerPC(SB),NOSPLIT,$0-8
	MOVD	$nines_handler(SB), R0
	MOVD	R0, ret+0(FP)
	RET
