//lint:file-ignore U1000 the linker and entry_linux_amd64.s use what is here

package main

// entry is where Linux starts this program when it is linked with -ldflags "-E
// main.entry". Git calls a hook hundreds of times in a rebase, and starting Go takes
// four times as long as finding out that the repository has no such hook. So entry ends
// the program at once where the repository has no such hook, and starts Go whenever it
// is not sure. Without -E, Go always starts and finds out the same.
func entry()

// The strings that entry reads, each ended by a NUL. stepsAside are the hooks that
// install links to this program; under any other name, Go starts.
var (
	stepsAside = "applypatch-msg\x00pre-applypatch\x00post-applypatch\x00" +
		"pre-commit\x00pre-merge-commit\x00prepare-commit-msg\x00commit-msg\x00post-commit\x00" +
		"pre-rebase\x00post-checkout\x00post-merge\x00pre-auto-gc\x00post-rewrite\x00" +
		"sendemail-validate\x00p4-changelist\x00p4-prepare-changelist\x00p4-post-changelist\x00p4-pre-submit\x00" +
		"post-index-change\x00reference-transaction\x00update\x00post-receive\x00post-update\x00"
	dotGit    = ".git\x00"
	head      = "/HEAD\x00"
	commonDir = "/commondir\x00"
	parents   = "/../.."
	hooksDir  = "/hooks/"
)
