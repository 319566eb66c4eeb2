#include "textflag.h"

// Neither Go nor a C library runs yet. At 0(SP) is argc, then come argv, NULL,
// the environment and NULL. SP must be the same where Go starts; what is below
// it is free. R8 is the hook's name and R9 its length with the NUL.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
	MOVQ 0(SP), CX
	TESTQ CX, CX
	JLE  start

	// The name of the hook follows the last slash of argv[0].
	MOVQ 8(SP), SI
	MOVQ SI, R8
name:
	MOVBLZX (SI), AX
	INCQ SI
	CMPL AX, $0x2f // '/'
	CMOVQEQ SI, R8
	TESTL AX, AX
	JNE  name
	MOVQ SI, R9
	SUBQ R8, R9

	// It must be one of stepsAside: pre-push must never end here.
	MOVQ ·stepsAside+0(SB), R10
	MOVQ ·stepsAside+8(SB), R11
	ADDQ R10, R11
next:
	CMPQ R10, R11
	JCC  start
	MOVQ R8, SI
compare:
	MOVBLZX (SI), AX
	MOVBLZX (R10), BX
	INCQ SI
	INCQ R10
	CMPL AX, BX
	JNE  skip
	TESTL AX, AX
	JNE  compare
	JMP  known
skip:
	TESTL BX, BX
	JEQ  next
	MOVBLZX (R10), BX
	INCQ R10
	JMP  skip

	// GIT_DIR and GIT_COMMON_DIR say that the repository is elsewhere. Eight
	// bytes can be read from the last variable too: the program's path is behind it.
known:
	LEAQ 16(SP)(CX*8), SI
	MOVQ $0x3d5249445f544947, R10 // "GIT_DIR="
	MOVQ $0x4d4d4f435f544947, R11 // "GIT_COMM"
	MOVQ $0x3d5249445f4e4f4d, R12 // "MON_DIR="
variable:
	MOVQ (SI), DI
	ADDQ $8, SI
	TESTQ DI, DI
	JEQ  files
	CMPQ R10, (DI)
	JEQ  start
	CMPQ R11, (DI)
	JNE  variable
	CMPQ R12, 7(DI)
	JEQ  start
	JMP  variable

	// The current directory must hold the whole git directory: a linked worktree
	// has a file .git, and commondir leads from its git directory to the shared one.
files:
	MOVL $21, AX // access
	MOVQ ·gitHead(SB), DI
	XORL SI, SI
	SYSCALL
	TESTQ AX, AX
	JNE  start
	MOVL $21, AX
	MOVQ ·gitCommon(SB), DI
	XORL SI, SI
	SYSCALL
	CMPQ AX, $-2 // ENOENT
	JNE  start

	// The repository must not have the hook.
	LEAQ -256(SP), DI
	MOVQ ·gitHooks(SB), SI
	MOVQ $11, CX
	CLD
	REP
	MOVSB
	MOVQ R8, SI
	MOVQ R9, CX
	REP
	MOVSB
	MOVL $21, AX
	LEAQ -256(SP), DI
	XORL SI, SI
	SYSCALL
	CMPQ AX, $-2
	JNE  start

	MOVL $231, AX // exit_group
	XORL DI, DI
	SYSCALL

start:
	JMP _rt0_amd64_linux(SB)
