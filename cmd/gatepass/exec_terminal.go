package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// typed reports whether the signal was typed at the terminal, as Ctrl-C is. The
// terminal gives it to its whole foreground process group, the command
// included; passing it on would make it two.
func typed(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	foreground, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}
