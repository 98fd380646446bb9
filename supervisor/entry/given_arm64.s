#include "textflag.h"

// nines_start: see given_amd64.s.
TEXT nines_start(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	SUB	$64, RSP
	MOVD	$1, R19		// signal
	MOVD	$0, R20		// those ignored
next:
	MOVD	R19, R0		// rt_sigaction(R19, 0, RSP, 8)
	MOVD	$0, R1
	MOVD	RSP, R2
	MOVD	$8, R3
	MOVD	$134, R8
	SVC
	CBNZ	R0, not
	MOVD	0(RSP), R4
	CMP	$1, R4		// SIG_IGN
	BNE	not
	SUB	$1, R19, R5
	MOVD	$1, R6
	LSL	R5, R6, R6
	ORR	R6, R20, R20
not:
	ADD	$1, R19
	CMP	$64, R19
	BLE	next
	MOVD	$·given+0(SB), R19
	MOVD	R20, 8(R19)
	MOVD	$0, R0		// rt_sigprocmask(SIG_BLOCK, 0, given+16, 8)
	MOVD	$0, R1
	ADD	$16, R19, R2
	MOVD	$8, R3
	MOVD	$135, R8
	SVC
	MOVD	$-1, R4
	MOVD	R4, 0(RSP)	// all signals
	MOVD	ZR, 8(RSP)	// no time
	MOVD	ZR, 16(RSP)
	MOVD	$0, R20		// those pending
take:
	MOVD	RSP, R0		// rt_sigtimedwait(RSP, 0, RSP+8, 8)
	MOVD	$0, R1
	ADD	$8, RSP, R2
	MOVD	$8, R3
	MOVD	$137, R8
	SVC
	CMP	$0, R0
	BLE	none
	SUB	$1, R0, R5
	MOVD	$1, R6
	LSL	R5, R6, R6
	ORR	R6, R20, R20
	B	take
none:
	MOVD	R20, 24(R19)
	MOVD	$1, R4
	MOVD	R4, 0(R19)
	ADD	$64, RSP
	JMP	_rt0_arm64_linux(SB)
