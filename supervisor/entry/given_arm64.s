#include "textflag.h"

// IS goes to no unless entry n of the table at R9 has these flags and a name that
// begins with these 8 bytes.
#define IS(n, flags, name, no) \
	MOVW	(n*24)(R9), R4; \
	CMPW	$flags, R4; \
	BNE	no; \
	MOVD	(n*24+8)(R9), R4; \
	CMP	R11, R4; \
	BLO	no; \
	CMP	R12, R4; \
	BHS	no; \
	MOVD	(R4), R4; \
	MOVD	$name, R5; \
	CMP	R5, R4; \
	BNE	no

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

	MOVD	$runtime·data(SB), R9
	MOVD	$runtime·edata(SB), R10
	SUB	$(16*24), R10
	MOVD	$runtime·rodata(SB), R11
	MOVD	$runtime·erodata(SB), R12
	SUB	$8, R12
	MOVD	$0, R20		// those to block
find:
	CMP	R10, R9
	BHI	mask
	IS(1, 3, 0x203a505548474953, another)	// "SIGHUP: "
	IS(2, 3, 0x203a544e49474953, another)	// "SIGINT: "
	IS(3, 5, 0x3a54495551474953, another)	// "SIGQUIT:"
	IS(15, 3, 0x3a4d524554474953, another)	// "SIGTERM:"
	MOVD	$1, R4
	MOVW	R4, (1*24)(R9)
	MOVW	R4, (2*24)(R9)
	MOVW	R4, (3*24)(R9)
	MOVW	R4, (15*24)(R9)
	MOVD	$0xfffffffc20004a07, R20	// signals.Held
	B	mask
another:
	ADD	$8, R9
	B	find

mask:
	MOVD	R20, 0(RSP)
	MOVD	$0, R0		// rt_sigprocmask(SIG_BLOCK, RSP, given+16, 8)
	MOVD	RSP, R1
	ADD	$16, R19, R2
	MOVD	$8, R3
	MOVD	$135, R8
	SVC
	MOVD	$2, R4
	MOVD	R4, 0(R19)
	CBNZ	R20, begin
	MOVD	$1, R4
	MOVD	R4, 0(R19)
	MOVD	$-1, R4
	MOVD	R4, 0(RSP)	// all signals
	MOVD	ZR, 8(RSP)	// no time
	MOVD	ZR, 16(RSP)
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
begin:
	ADD	$64, RSP
	JMP	_rt0_arm64_linux(SB)
