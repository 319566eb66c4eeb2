package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// openBrowser has the desktop open a page, where there is a desktop. That it did
// not come to that needs no word: the address is on the terminal.
func openBrowser(getenv func(string) string, address string) {
	name := opener(runtime.GOOS, getenv)
	if name == "" {
		return
	}
	cmd := exec.Command(name, address)
	// It may become the browser itself, which an interrupt of this program must
	// not end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }()
	}
}

// opener is the program that opens pages on a desktop; "" where there is none.
func opener(system string, getenv func(string) string) string {
	switch {
	case system == "darwin":
		return "open"
	case getenv("WSL_DISTRO_NAME") != "":
		return "wslview"
	case getenv("DISPLAY") != "" || getenv("WAYLAND_DISPLAY") != "":
		return "xdg-open"
	}
	return ""
}
