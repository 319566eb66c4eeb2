package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// resident reads VmRSS, the current memory of a process, in bytes.
func resident(pid int) (int64, error) { return memoryOf(pid, "VmRSS") }

// peak reads VmHWM, the peak memory of a process, in bytes.
func peak(pid int) (int64, error) { return memoryOf(pid, "VmHWM") }

// memoryOf reads a line of proc_pid_status(5), whose unit is KiB.
func memoryOf(pid int, name string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name+":" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, name)
}

// forgetPeak resets peak; see proc_pid_clear_refs(5).
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// tick is the unit of processor time in proc_pid_stat(5). Linux uses this unit for all
// programs, whatever its own clock.
const tick = 10 * time.Millisecond

// processorTime returns the user and system time of a process and of its running
// children.
func processorTime(pid int) (time.Duration, error) {
	all, err := timesOf(pid, 11)
	if err != nil {
		return 0, err
	}
	for _, child := range children(pid) {
		used, err := processorTime(child)
		if err != nil {
			return 0, err
		}
		all += used
	}
	return all, nil
}

// endedTime returns the processor time of the children that the process has waited for.
func endedTime(pid int) (time.Duration, error) { return timesOf(pid, 13) }

// timesOf adds two consecutive fields of proc_pid_stat(5); first is counted from the
// state.
func timesOf(pid, first int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name of the program comes first
	fields := strings.Fields(rest)
	if len(fields) < first+2 {
		return 0, fmt.Errorf("process %d has no times", pid)
	}
	user, err := strconv.ParseInt(fields[first], 10, 64)
	system, sysErr := strconv.ParseInt(fields[first+1], 10, 64)
	return time.Duration(user+system) * tick, firstOf(err, sysErr)
}

// children returns the processes that a program with one thread has started.
func children(pid int) (pids []int) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil // some kernels lack the file
	}
	for word := range strings.FieldsSeq(string(list)) {
		if child, err := strconv.Atoi(word); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}
