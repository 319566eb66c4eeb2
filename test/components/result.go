//go:build linux

package main

import (
	"regexp"
	"strings"
)

// A result is what the verbose output of a test binary says.
type result struct {
	passed, skipped int      // tests, subtests included
	missing         []string // "TestName: missing: ..." for tests that skipped for want of something
}

var (
	running  = regexp.MustCompile(`^=== (?:RUN|CONT|NAME)\s+(\S+)`)
	verdict  = regexp.MustCompile(`^\s*--- (PASS|SKIP): `)
	skipText = regexp.MustCompile(`^\s+[\w.-]+\.go:\d+: (missing: .*)`)
)

// parseResult reads the output of a test binary run with -test.v. The text of
// a skip comes after the line that names the running test.
func parseResult(text string) result {
	var r result
	var name string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := running.FindStringSubmatch(line); m != nil {
			name = m[1]
		}
		if m := skipText.FindStringSubmatch(line); m != nil {
			r.missing = append(r.missing, name+": "+m[1])
		}
		if m := verdict.FindStringSubmatch(line); m != nil && m[1] == "PASS" {
			r.passed++
		} else if m != nil {
			r.skipped++
		}
	}
	return r
}
