//go:build unix

package brokerclient

import (
	"os"
	"strconv"
	"syscall"

	"github.com/gatepass/gatepass/internal/usererr"
)

// check refuses a path that is not a socket, and a socket of another user, who could
// read identities and hand out tokens of their choice.
func (s socket) check() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	what := "ask the broker at socket " + s.path
	if info.Mode().Type() != os.ModeSocket {
		return usererr.New(what, "it is not a socket", "correct source in the workspace file")
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return usererr.New(what, "its owner is unknown", "")
	}
	if uid := int64(stat.Uid); uid != 0 && uid != int64(os.Geteuid()) && uid != s.owner {
		text := strconv.FormatInt(uid, 10)
		return usererr.New(what, "it belongs to user "+text, "if that is the broker's user, add ?owner="+text+" to the source")
	}
	return nil
}
