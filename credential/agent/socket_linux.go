package agent

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

func newSocket() (int, error) {
	return syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
}

// checkPeer refuses an agent of another user.
func checkPeer(fd int) error {
	cred, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return err
	}
	if int(cred.Uid) != os.Geteuid() {
		return errForeign
	}
	return nil
}

// closeOnExec marks every descriptor above standard error close-on-exec, so that an
// agent does not keep a pipe of git's caller open.
func closeOnExec() {
	const sysCloseRange, cloexec = 436, 4 // Linux 5.11
	if _, _, errno := syscall.RawSyscall(sysCloseRange, 3, ^uintptr(0)>>1&0xffffffff, cloexec); errno != 0 {
		closeOnExecEach()
	}
}

// readAlone is read(2). If no other goroutine could run meanwhile, it does not notify
// Go's scheduler: that would wake another thread, which only makes the helper wait
// longer.
func readAlone(fd int, p []byte) (int, error) {
	if runtime.NumGoroutine() > 1 {
		return syscall.Read(fd, p)
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
