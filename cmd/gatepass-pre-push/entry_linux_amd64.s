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

	// R13 is the git directory: GIT_DIR, else .git. With GIT_COMMON_DIR, Go starts.
	// Eight bytes can be read from the last variable too: the program's path is
	// behind it.
known:
	MOVQ ·dotGit(SB), R13
	LEAQ 16(SP)(CX*8), SI
	MOVQ $0x3d5249445f544947, R10 // "GIT_DIR="
	MOVQ $0x4d4d4f435f544947, R11 // "GIT_COMM"
	MOVQ $0x3d5249445f4e4f4d, R12 // "MON_DIR="
variable:
	MOVQ (SI), DI
	ADDQ $8, SI
	TESTQ DI, DI
	JEQ  directory
	CMPQ R10, (DI)
	JNE  common
	LEAQ 8(DI), R13
	JMP  variable
common:
	CMPQ R11, (DI)
	JNE  variable
	CMPQ R12, 7(DI)
	JEQ  start
	JMP  variable

	// Paths are built at -8192(SP): the directory, and from R14 what is in it.
directory:
	CLD
	LEAQ -8192(SP), DI
	LEAQ -4096(SP), R14
copy:
	CMPQ DI, R14
	JCC  start
	MOVBLZX (R13), AX
	MOVB AX, (DI)
	INCQ R13
	INCQ DI
	TESTL AX, AX
	JNE  copy
	LEAQ -1(DI), R14

	// It must be a git directory, and not a file that leads to one.
	MOVQ R14, DI
	MOVQ ·head(SB), SI
	MOVQ $6, CX
	REP
	MOVSB
	MOVL $21, AX // access
	LEAQ -8192(SP), DI
	XORL SI, SI
	SYSCALL
	TESTQ AX, AX
	JNE  start

	// That of a linked worktree has a file commondir, which must say what git
	// writes there: "../.." and a line feed.
	MOVQ R14, DI
	MOVQ ·commonDir(SB), SI
	MOVQ $11, CX
	REP
	MOVSB
	MOVL $2, AX // open
	LEAQ -8192(SP), DI
	MOVL $0x80000, SI // O_CLOEXEC
	XORL DX, DX
	SYSCALL
	CMPQ AX, $-2 // ENOENT
	JEQ  hook
	TESTQ AX, AX
	JLT  start
	MOVQ AX, DI
	XORL AX, AX // read
	LEAQ -4096(SP), SI
	MOVL $16, DX
	SYSCALL
	CMPQ AX, $6
	JNE  start
	MOVL -4096(SP), AX
	CMPL AX, $0x2e2f2e2e // "../."
	JNE  start
	MOVWLZX -4092(SP), AX
	CMPL AX, $0x0a2e // "." and a line feed
	JNE  start
	MOVQ R14, DI
	MOVQ ·parents(SB), SI
	MOVQ $6, CX
	REP
	MOVSB
	MOVQ DI, R14

	// The repository must not have the hook.
hook:
	MOVQ R14, DI
	MOVQ ·hooksDir(SB), SI
	MOVQ $7, CX
	REP
	MOVSB
	MOVQ R8, SI
	MOVQ R9, CX
	REP
	MOVSB
	MOVL $21, AX
	LEAQ -8192(SP), DI
	XORL SI, SI
	SYSCALL
	CMPQ AX, $-2
	JNE  start

	MOVL $231, AX // exit_group
	XORL DI, DI
	SYSCALL

start:
	JMP _rt0_amd64_linux(SB)
