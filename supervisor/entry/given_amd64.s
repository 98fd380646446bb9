#include "textflag.h"

// nines_start is where the program begins when it was linked with
// -E=nines_start. It notes which signals are ignored and blocked, because
// nobody can tell any more once Go's runtime has put its handlers in their
// place; takes those that are pending and blocked, because the runtime unblocks
// some before it can handle them, which would end us; and goes on to where Go
// programs begin. There is no Go stack and no g yet; the kernel's stack must be
// left as it is.
TEXT nines_start(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	SUBQ	$64, SP
	MOVQ	$1, BX		// signal
	XORQ	R12, R12	// those ignored
next:
	MOVQ	$13, AX		// rt_sigaction(BX, 0, SP, 8)
	MOVQ	BX, DI
	XORQ	SI, SI
	MOVQ	SP, DX
	MOVQ	$8, R10
	SYSCALL
	TESTQ	AX, AX
	JNE	not
	CMPQ	0(SP), $1	// SIG_IGN
	JNE	not
	LEAQ	-1(BX), CX
	BTSQ	CX, R12
not:
	INCQ	BX
	CMPQ	BX, $64
	JLE	next
	MOVQ	R12, ·given+8(SB)
	MOVQ	$14, AX		// rt_sigprocmask(SIG_BLOCK, 0, given+16, 8)
	XORQ	DI, DI
	XORQ	SI, SI
	MOVQ	$·given+16(SB), DX
	MOVQ	$8, R10
	SYSCALL
	MOVQ	$-1, 0(SP)	// all signals
	MOVQ	$0, 8(SP)	// no time
	MOVQ	$0, 16(SP)
	XORQ	R12, R12	// those pending
take:
	MOVQ	$128, AX	// rt_sigtimedwait(SP, 0, SP+8, 8)
	MOVQ	SP, DI
	XORQ	SI, SI
	LEAQ	8(SP), DX
	MOVQ	$8, R10
	SYSCALL
	CMPQ	AX, $0
	JLE	none
	LEAQ	-1(AX), CX
	BTSQ	CX, R12
	JMP	take
none:
	MOVQ	R12, ·given+24(SB)
	MOVQ	$1, ·given+0(SB)
	ADDQ	$64, SP
	JMP	_rt0_amd64_linux(SB)
