package push

import (
	"fmt"
	"strings"
)

// A Capability is one without a value that a push may request.
type Capability uint8

// The capabilities without a value, in the order in which they are written.
const (
	ReportStatus Capability = 1 << iota
	ReportStatusV2
	DeleteRefs
	SideBand64k
	Quiet
	Atomic
	OfsDelta
)

// known are the names, in the order of the constants.
var known = [...]string{"report-status", "report-status-v2", "delete-refs", "side-band-64k", "quiet", "atomic", "ofs-delta"}

// maxAgent is the longest agent to pass on, in bytes.
const maxAgent = 256

// Capabilities are the known capabilities that a push requests. The zero value has none.
type Capabilities struct {
	flags        Capability
	ObjectFormat string // "sha1", "sha256", or empty if the request does not say, which means sha1
	Agent        string // printable ASCII without spaces, or empty
}

// Has reports whether the push requests c.
func (cs Capabilities) Has(c Capability) bool { return cs.flags&c != 0 }

// parseCapabilities parses the text after the NUL of the first command. It drops
// unknown capabilities. objection is the first mistake in the list. A flag with a
// mistake is still set, so that the refusal is sent in the form that the client reads.
func parseCapabilities(text string) (cs Capabilities, objection string) {
	seen := map[string]bool{}
	for token := range strings.SplitSeq(text, " ") {
		if token == "" {
			continue
		}
		name, value, hasValue := strings.Cut(token, "=")
		why := cs.set(name, value, hasValue)
		if seen[name] {
			why = "it is given twice"
		}
		seen[name] = true
		if why != "" && objection == "" {
			objection = fmt.Sprintf("capability %s: %s", name, why)
		}
	}
	return cs, objection
}

// set stores one capability. It returns what is wrong with it, or "".
func (cs *Capabilities) set(name, value string, hasValue bool) string {
	switch name {
	case "agent":
		if value == "" || len(value) > maxAgent || strings.Contains(value, "=") {
			return fmt.Sprintf("its value must have up to %d bytes without =", maxAgent) // GitHub does not accept a second =
		}
		cs.Agent = value
		return ""
	case "object-format":
		if value != "sha1" && value != "sha256" {
			return "it must be sha1 or sha256"
		}
		cs.ObjectFormat = value
		return ""
	case "push-options":
		return "push options are not forwarded; push without -o and push.pushOption"
	}
	for i, flag := range known {
		if name != flag {
			continue
		}
		cs.flags |= 1 << i
		if hasValue {
			return "it must not have a value"
		}
	}
	return ""
}

// oidLength returns the length of object ids, in hexadecimal digits.
func (cs Capabilities) oidLength() int {
	if cs.ObjectFormat == "sha256" {
		return 64
	}
	return 40
}

// append appends the capabilities as git writes them, each after a space.
func (cs Capabilities) append(to []byte) []byte {
	for i, name := range known {
		if cs.flags&(1<<i) != 0 {
			to = append(append(to, ' '), name...)
		}
	}
	if cs.ObjectFormat != "" {
		to = append(append(to, " object-format="...), cs.ObjectFormat...)
	}
	if cs.Agent != "" {
		to = append(append(to, " agent="...), cs.Agent...)
	}
	return to
}
