// Package clocktest simulates clocks that changed while the machine was suspended.
package clocktest

import (
	"time"
	"unsafe"
)

// Slept returns t as the clocks show it if the machine was suspended for d since, or
// its clock was moved by d (negative means back). d must be whole seconds, and t must
// come from [time.Now].
func Slept(t time.Time, d time.Duration) time.Time {
	moved := t
	// The first word of a Time has the seconds of the wall's clock above 30 bits of
	// nanoseconds, where the second is the monotonic reading.
	*(*uint64)(unsafe.Pointer(&moved)) += uint64(d/time.Second) << 30
	if moved.Sub(t) != 0 || moved.Round(0).Sub(t.Round(0)) != d.Truncate(time.Second) {
		panic("clocktest: this time.Time is made in another way")
	}
	return moved
}
