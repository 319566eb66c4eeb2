package hooks

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

const maxAncestors = 64

// ancestors returns the processes above this one, nearest first, as far as
// /proc shows them.
func ancestors() []process {
	var above []process
	for pid := os.Getppid(); pid > 0 && len(above) < maxAncestors; {
		argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			break
		}
		above = append(above, process{pid, splitArguments(argv)})
		if pid, err = parentOf(pid); err != nil {
			break
		}
	}
	return above
}

func splitArguments(cmdline []byte) []string {
	if len(cmdline) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimSuffix(cmdline, []byte{0})), "\x00")
}

// parentOf reads the parent from /proc/PID/stat: "pid (name) state ppid …", where the
// name may contain any character (proc_pid_stat(5)).
func parentOf(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/stat has an unknown form", pid)
	}
	return strconv.Atoi(fields[1])
}
