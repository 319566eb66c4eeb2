//go:build unix

package filestamp

import (
	"io/fs"
	"syscall"
)

// identify adds which file it is, and when its content or metadata changed.
func (s *Stamp) identify(info fs.FileInfo) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode, s.changed = uint64(st.Dev), st.Ino, changeTime(st)
	}
}
