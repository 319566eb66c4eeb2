//go:build !unix

package filestamp

import "io/fs"

// identify does nothing: this system has no device and inode numbers.
func (*Stamp) identify(fs.FileInfo) {}
