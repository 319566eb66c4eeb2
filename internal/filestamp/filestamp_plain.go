//go:build !unix

package filestamp

import "io/fs"

// identify adds nothing: there is no device and inode here.
func (*Stamp) identify(fs.FileInfo) {}
