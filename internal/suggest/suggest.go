// Package suggest finds the name that a user probably meant by a mistyped one.
package suggest

import (
	"fmt"
	"slices"
	"strings"
)

// maxName is how much of an unknown name is shown, in bytes.
const maxName = 60

// Unknown returns a message that a name is unknown, with the name that was probably
// meant. what says what the name is for, such as "key"; where is "" or a place, such as
// " in github".
func Unknown(what, name, where string, known []string) string {
	if meant := Closest(name, known); meant != "" {
		return fmt.Sprintf("unknown %s %.*q%s: did you mean %q?", what, maxName, name, where, meant)
	}
	known = slices.Sorted(slices.Values(known))
	return fmt.Sprintf("unknown %s %.*q%s; known are %s", what, maxName, name, where, strings.Join(known, ", "))
}

// Closest returns the known name that differs least from what was typed; "" if none is
// within a few characters.
func Closest(typed string, known []string) string {
	best, meant := 1+len(typed)/3, ""
	for _, name := range known {
		if d := distance(typed, name); d < best || d == best && meant == "" {
			best, meant = d, name
		}
	}
	return meant
}

// distance is Levenshtein's: the number of letters to add, drop or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
