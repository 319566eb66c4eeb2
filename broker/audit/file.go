package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gatepass/gatepass/internal/trustedfile"
	"github.com/gatepass/gatepass/internal/usererr"
)

// Check returns an error if Open would refuse path because others can change, replace
// or lock the file. It writes nothing; the file need not exist.
func Check(path string) error {
	err := checkFolder(path)
	if isMissing(err, filepath.Dir(path)) {
		return nil // Open creates it
	}
	if err != nil {
		return usererr.Wrap("open the audit log "+path, err, "")
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = checkFile(path, info)
	}
	if err != nil {
		return usererr.Wrap("open the audit log "+path, withoutPath(err), "")
	}
	return nil
}

func checkFolder(path string) error {
	return trustedfile.CheckDir("the audit log's directory", filepath.Dir(path))
}

// isMissing reports whether err says that dir does not exist while its parent does.
func isMissing(err error, dir string) bool {
	pathErr, ok := errors.AsType[*fs.PathError](err)
	return ok && errors.Is(err, fs.ErrNotExist) && pathErr.Path == dir
}

// makeFolder creates the log's directory if it is missing, for this user only. In a
// pod, a group can write to the volume, so only the broker itself can create a private
// directory in it.
func makeFolder(path string) error {
	dir := filepath.Dir(path)
	if err := checkFolder(path); !isMissing(err, dir) {
		return err
	}
	return os.Mkdir(dir, 0o700)
}

var errLink = errors.New("it is a symbolic link; name the file itself")

// checkFile returns an error if others can use the file. Read access is enough to lock
// it.
func checkFile(path string, info fs.FileInfo) error {
	const writing, reading = 0o022, 0o004
	mode := info.Mode()
	stat, isKnown := info.Sys().(*syscall.Stat_t)
	switch {
	case mode&fs.ModeSymlink != 0:
		return errLink
	case !mode.IsRegular():
		return errors.New("it is not a regular file")
	case isKnown && stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("it belongs to user %d, who is neither root nor this user; give it to the broker's user: chown USER %s", stat.Uid, usererr.Quote(path))
	case mode.Perm()&writing != 0:
		return fmt.Errorf("other users can write to it (mode %04o); run chmod 0600 %s", mode.Perm(), usererr.Quote(path))
	case mode.Perm()&reading != 0:
		return fmt.Errorf("other users can read and lock it (mode %04o); run chmod o= %s", mode.Perm(), usererr.Quote(path))
	}
	return nil
}

// openFile opens and locks the log's file. It refuses symbolic links, files that are
// not regular, and files that others can use.
func openFile(path string) (*os.File, error) {
	if err := checkFolder(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if errors.Is(err, unix.ELOOP) {
		return nil, errLink
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = checkFile(path, info)
	}
	if err == nil {
		err = lock(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errors.New("another process writes it; give each broker its own log")
	}
	return err
}

// setAppend makes every write go to the end of the file, wherever that is by then.
func setAppend(f *os.File) error {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags|unix.O_APPEND)
	}
	return err
}

// syncFolder syncs the directory, so that the file's name is on disk.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// end is the point at which a chain continues.
type end struct {
	size int64 // size of all whole lines
	seq  uint64
	hash string
	torn []byte // bytes after the last whole line
}

// tailSize is how many bytes at the end of a file are verified when it is opened.
const tailSize = 1 << 20

// readEnd reads and verifies the end of a file.
func readEnd(f *os.File) (end, error) {
	info, err := f.Stat()
	if err != nil {
		return end{}, err
	}
	from := max(0, info.Size()-tailSize)
	data := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(data, from); err != nil && !errors.Is(err, io.EOF) {
		return end{}, err
	}
	if from > 0 { // the first line in it is cut off
		_, rest, found := bytes.Cut(data, []byte{'\n'})
		if !found {
			return end{}, errors.New("its last line is not a line of an audit log; move the file away")
		}
		data = rest
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	e := end{size: info.Size() - int64(len(data)-whole), hash: noHash, torn: data[whole:]}
	if len(e.torn) >= maxLine/2 {
		return end{}, errors.New("the text after its last line is not a line of the log; move the file away")
	}
	return e, e.verify(data[:whole], from == 0)
}

// verify checks the lines in data and moves e to their end.
func (e *end) verify(data []byte, isAll bool) error {
	isFirst := true
	for text := range bytes.Lines(data) {
		r, err := parse(text[:len(text)-1])
		if err == nil && isFirst && isAll && r.Kind != KindHead {
			err = errors.New("it does not begin with the head of an audit log")
		}
		if err == nil && !isFirst {
			err = r.follows(e.seq, e.hash)
		}
		if err != nil {
			return fmt.Errorf("its end is damaged after number %d (%w); check it with gatepass audit verify, and move it away", e.seq, err)
		}
		e.seq, e.hash, isFirst = r.Seq, r.Hash, false
	}
	return nil
}

// withoutPath removes the path from a file error; the caller's message names it.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
