package serve

import "runtime/debug"

// garbage is how much a broker's memory may grow before it is collected, in per
// cent. A collection makes the slowest hundredth of answers, and a broker is
// small: twice the usual halves how often that is, for some 20 MB.
const garbage = 200

// collectLess sets that, unless whoever runs the broker decides by GOGC.
func collectLess(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}
