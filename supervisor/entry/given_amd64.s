#include "textflag.h"

// IS goes to no unless entry n of the table at R8 has these flags and a name that
// begins with these 8 bytes.
#define IS(n, flags, name, no) \
	CMPL	(n*24)(R8), $flags; \
	JNE	no; \
	MOVQ	(n*24+8)(R8), AX; \
	CMPQ	AX, R10; \
	JCS	no; \
	CMPQ	AX, R11; \
	JCC	no; \
	MOVQ	(AX), AX; \
	MOVQ	$name, CX; \
	CMPQ	AX, CX; \
	JNE	no

// nines_start is where the program begins when it was linked with
// -E=nines_start. It does what nobody can do any more once Go's runtime has begun,
// and goes on to where Go programs begin. There is no Go stack and no g yet; the
// kernel's stack must be left as it is.
//
// It notes which signals are ignored and blocked; the runtime puts its handlers in
// their place.
//
// It blocks the signals of signals.Held, for good. The runtime would unblock HUP,
// INT, QUIT and TERM in each of its threads, some of them before it has a handler
// for them, because its table of signals says that they kill: {flags int32; name
// string} for each. So there they are made signals as SIGUSR1 is, of which it says
// no more than that somebody may want them. The table is the runtime's own, so it is
// looked for among the data by its names, and changed only where all four entries
// are as they are known to be. Where it is not found, those that are pending and
// blocked are taken, to be sent again (RaisePending): the runtime would die of them.
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

	LEAQ	runtime·data(SB), R8
	LEAQ	runtime·edata(SB), R9
	SUBQ	$(16*24), R9
	LEAQ	runtime·rodata(SB), R10
	LEAQ	runtime·erodata(SB), R11
	SUBQ	$8, R11
	XORQ	R12, R12	// those to block
find:
	CMPQ	R8, R9
	JHI	mask
	IS(1, 3, 0x203a505548474953, another)	// "SIGHUP: "
	IS(2, 3, 0x203a544e49474953, another)	// "SIGINT: "
	IS(3, 5, 0x3a54495551474953, another)	// "SIGQUIT:"
	IS(15, 3, 0x3a4d524554474953, another)	// "SIGTERM:"
	MOVL	$1, (1*24)(R8)
	MOVL	$1, (2*24)(R8)
	MOVL	$1, (3*24)(R8)
	MOVL	$1, (15*24)(R8)
	MOVQ	$0xfffffffc20004a07, R12	// signals.Held
	JMP	mask
another:
	ADDQ	$8, R8
	JMP	find

mask:
	MOVQ	R12, 0(SP)
	MOVQ	$14, AX		// rt_sigprocmask(SIG_BLOCK, SP, given+16, 8)
	XORQ	DI, DI
	MOVQ	SP, SI
	LEAQ	·given+16(SB), DX
	MOVQ	$8, R10
	SYSCALL
	MOVQ	$2, ·given+0(SB)
	TESTQ	R12, R12
	JNE	begin
	MOVQ	$1, ·given+0(SB)
	MOVQ	$-1, 0(SP)	// all signals
	MOVQ	$0, 8(SP)	// no time
	MOVQ	$0, 16(SP)
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
begin:
	ADDQ	$64, SP
	JMP	_rt0_amd64_linux(SB)
