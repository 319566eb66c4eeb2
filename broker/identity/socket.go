// Package socket identifies callers on a Unix socket by what the kernel says of
// the process at the other end. It is for Linux; elsewhere it identifies nobody.
package socket

import (
	"strconv"

	"github.com/gatepass/gatepass/broker"
)

// Settings say whom a rule is for; nil fields are for everybody.
type Settings struct {
	UID *uint32 `yaml:"uid"`
	GID *uint32 `yaml:"gid"`
}

// Match is the matcher of the settings.
func (s Settings) Match() broker.Exactly {
	m := broker.Exactly{}
	if s.UID != nil {
		m["uid"] = strconv.FormatUint(uint64(*s.UID), 10)
	}
	if s.GID != nil {
		m["gid"] = strconv.FormatUint(uint64(*s.GID), 10)
	}
	return m
}
