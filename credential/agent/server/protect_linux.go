package server

import "golang.org/x/sys/unix"

// Protect keeps the process' memory from other programs as far as the system
// lets it: no core dumps, no debugger of the same user, and, where the limit on
// locked memory allows the whole, no swap. It reports whether memory is locked.
func Protect() (locked bool) {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	// ONFAULT locks what is touched, not the address space Go reserves. Under a
	// limit smaller than that space the call fails and changes nothing.
	return unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT) == nil
}
