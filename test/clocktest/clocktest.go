// Package clocktest is a machine's clocks after something happened to them.
package clocktest

import (
	"time"
	"unsafe"
)

// Slept is t as the clocks show it on a machine that was suspended for d since, a whole
// number of seconds, or whose clock was set by so much: d is less than 0 where it was
// set back. t has to be of [time.Now].
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
