package forward

import "syscall"

// NoCoreFile keeps this process and those that it starts from writing core files, which
// would have the token.
func NoCoreFile() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}
