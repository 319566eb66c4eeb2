package server

import "golang.org/x/sys/unix"

// Protect protects the process's memory from other programs as far as the system
// allows: no core dumps, no debugger of the same user and, if the limit on locked
// memory allows, no swap. It reports whether memory is locked.
func Protect() (locked bool) {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	// ONFAULT locks the pages that are used, not the address space that Go reserves. If
	// the limit is smaller than that space, the call fails and changes nothing.
	return unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT) == nil
}
