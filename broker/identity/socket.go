package identity

import (
	"strconv"

	"github.com/gatepass/gatepass/broker"
)

// SocketSettings say whom a rule is for; nil fields are for everybody.
type SocketSettings struct {
	UID *uint32 `yaml:"uid"`
	GID *uint32 `yaml:"gid"`
}

// Match is the matcher of the settings.
func (s SocketSettings) Match() broker.Exactly {
	m := broker.Exactly{}
	if s.UID != nil {
		m["uid"] = strconv.FormatUint(uint64(*s.UID), 10)
	}
	if s.GID != nil {
		m["gid"] = strconv.FormatUint(uint64(*s.GID), 10)
	}
	return m
}
