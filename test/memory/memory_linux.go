// Package memory reads the memory of other processes, for tests that look for secrets in it
// as a core dump or a debugger would show them.
package memory

import (
	"fmt"
	"os"
	"strings"
)

// Of returns all that a process can write to, and its environment: what a core dump of it
// has. It is empty where the process has ended, or where this user may not read it.
func Of(pid int) []byte {
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil
	}
	defer mem.Close()
	all, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		part := make([]byte, to-from)
		n, _ := mem.ReadAt(part, from) // some of a process's memory cannot be read
		all = append(all, part[:n]...)
	}
	return all
}
