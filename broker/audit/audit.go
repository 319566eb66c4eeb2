// Package audit is the broker's audit log: a file of JSON lines, each chained to the
// one before by its hash. [Verify] finds lines that were changed, dropped, repeated or
// moved.
//
// Anyone who can write the file can rewrite all of it with correct hashes. Only a copy
// of the chain's head reveals that. So the broker logs the head when it starts and
// ends, and shows it at /readyz; the copies that it sends elsewhere contain every
// line's hash.
package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/internal/version"
)

// syncWithin is how soon an entry that is not durable is synced to disk.
const syncWithin = 50 * time.Millisecond

// A Log is an open audit log. It implements [broker.Journal]. While the file cannot be
// written, every Write returns an error and leaves nothing in the file. The next
// successful Write first records how many entries are missing.
type Log struct {
	// MaxSize is the size in bytes from which the log renames its file to
	// PATH.TIME-NUMBER and begins another. 0 means that another program rotates it. It
	// is set before the first Write.
	MaxSize int64
	// Copy is called with every line written, without its line break; nil disables it.
	// It must not block. It is set before the first Write.
	Copy func(text []byte, r Record)

	path string

	mu   sync.Mutex // guards the rest
	file file
	size int64 // of the file, which has only whole lines
	seq  uint64
	hash string // the hash of line seq; noHash before the first
	last line

	synced    uint64        // all lines up to this number are on disk
	flight    chan struct{} // closed when the sync in progress ends; nil if there is none
	later     *time.Timer
	lost      int64     // bytes of whole lines that another program removed from the file, until a head records it
	gone      [2]uint64 // first and last removed line that was not yet on disk
	displaced error     // why the log still writes to a renamed file; nil if the file is in its place
	lastError error     // why the last attempt failed; nil if it succeeded
	refused   uint64    // entries refused since the last success
	isClosed  bool
}

// file is the part of os.File that a Log uses.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
	Stat() (os.FileInfo, error)
}

// line is a written line, as text and parsed.
type line struct {
	text   []byte
	record Record
}

// Open opens the log at path, or creates it and its directory. It fails if another
// process has the file open as its log. It verifies the end of the chain. If a crash
// cut off the last line, it replaces it by a line that says so; it repairs nothing
// else.
func Open(path string) (*Log, error) {
	l := &Log{path: path, hash: noHash}
	if err := l.open(); err != nil {
		return nil, usererr.Wrap("open the audit log "+path, err, "")
	}
	return l, nil
}

func (l *Log) open() error {
	if err := makeFolder(l.path); err != nil {
		return withoutPath(err)
	}
	f, err := openFile(l.path)
	if err != nil {
		return withoutPath(err)
	}
	end, err := readEnd(f)
	if err == nil {
		l.file, l.size, l.seq, l.hash = f, end.size, end.seq, end.hash
		switch {
		case end.size == 0 && len(end.torn) == 0:
			err = l.writeLine(content{Entry: entry(KindHead, "the log begins"), Note: Note{Version: version.String()}})
		case len(end.torn) > 0:
			err = l.repair(f, end)
		}
	}
	if err == nil {
		err = l.syncFile(f)
	}
	if err != nil {
		return errors.Join(withoutPath(err), f.Close())
	}
	return nil
}

// syncFile syncs the file and its directory.
func (l *Log) syncFile(f *os.File) error {
	if err := errors.Join(setAppend(f), f.Sync(), syncFolder(l.path)); err != nil {
		return err
	}
	l.synced = l.seq
	return nil
}

func entry(kind, detail string) broker.Entry {
	return broker.Entry{Time: time.Now().UTC(), Kind: kind, Detail: detail}
}

// repair overwrites a line that was cut off. The new line contains the old text, so it
// is longer: at no moment does the file end in a line that looks whole and is not.
func (l *Log) repair(f *os.File, end end) error {
	if _, err := f.Seek(end.size, io.SeekStart); err != nil {
		return err
	}
	detail := fmt.Sprintf("an incomplete line of %d bytes was removed after number %d", len(end.torn), end.seq)
	kind := KindTruncated
	if end.seq == 0 {
		kind = KindHead // every file starts with a head
	}
	return l.writeLine(content{Entry: entry(kind, detail), Note: Note{Torn: end.torn, Version: version.String()}})
}

// writeLine appends one line. If that fails, it removes all of the line again. The caller
// holds mu, or is alone.
func (l *Log) writeLine(c content) error {
	text, hash, err := encode(l.seq+1, l.hash, c)
	if err != nil {
		return err
	}
	if n, err := l.file.Write(text); err != nil || n < len(text) {
		return errors.Join(shortWrite(err), l.truncateLine())
	}
	if err := l.checkWritten(int64(len(text))); err != nil {
		return err
	}
	l.last = line{text[:len(text)-1], Record{Seq: l.seq + 1, Prev: l.hash, Entry: c.Entry, Note: c.Note, Hash: hash}}
	l.size += int64(len(text))
	l.seq, l.hash = l.seq+1, hash
	return nil
}

// copyLast passes the last written line to Copy. The caller holds mu.
func (l *Log) copyLast() {
	if l.Copy != nil {
		l.Copy(l.last.text, l.last.record)
	}
}

func shortWrite(err error) error {
	if err == nil {
		return io.ErrShortWrite
	}
	return err
}

// Write implements [broker.Journal]. It returns after the entry was passed to the
// operating system, which has it on disk within 50 ms. With durable, it returns after
// the entry is on disk.
func (l *Log) Write(_ context.Context, e broker.Entry, durable bool) error {
	seq, err := l.append(e)
	if err == nil && durable {
		err = l.sync(seq)
	}
	if err != nil {
		return usererr.Wrap("write the audit log "+l.path, withoutPath(err), "free disk space, or correct its permissions")
	}
	return nil
}

// maxTries is how often append writes a line that another program removes by emptying
// the file.
const maxTries = 10

func (l *Log) append(e broker.Entry) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return 0, os.ErrClosed
	}
	err := l.add(entryOf(e))
	for tries := 1; errors.Is(err, errEmptied) && tries < maxTries; tries++ { // emptied between stay and the write
		err = l.add(entryOf(e))
	}
	if err != nil {
		l.fail(err)
		l.refused++
		return 0, err
	}
	l.copyLast()
	l.syncLater()
	return l.seq, nil
}

// add writes the next line, after it has recovered and rotated the file where
// necessary. The caller holds mu.
func (l *Log) add(c content) error {
	err := l.recover()
	if err == nil {
		err = l.rotateAt(l.MaxSize)
	}
	if err == nil {
		err = l.writeLine(c)
	}
	return err
}

// entryOf bounds an entry, so that no text from a caller makes a line too long or the
// log fail.
func entryOf(e broker.Entry) content {
	bounded, shortened := Bound(e)
	return content{Entry: bounded, Note: Note{Shortened: shortened}}
}

// fail records the first error since the last success. The caller holds mu.
func (l *Log) fail(err error) {
	if l.lastError == nil {
		l.lastError = withoutPath(err)
	}
}

// recover prepares the file for the next line: the file is in its place and has all its
// lines. After a failure it first writes a line that says what is missing. The caller
// holds mu.
func (l *Log) recover() error {
	if l.lastError != nil {
		if err := l.truncateLine(); err != nil { // the failed attempt may not have removed its line
			return err
		}
	}
	if err := l.checkPlace(); err != nil || l.lastError == nil {
		return err
	}
	n := Note{Refused: l.refused, Trouble: l.lastError.Error()}
	if l.synced < l.seq {
		n.Uncertain = l.synced + 1 // after a failed sync, a later success says nothing about earlier writes
	}
	detail := fmt.Sprintf("the log could not be written; %d entries were refused", l.refused)
	size, seq, hash := l.size, l.seq, l.hash
	if err := l.writeLine(content{Entry: entry(KindRecovered, detail), Note: n}); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		l.size, l.seq, l.hash = size, seq, hash
		return errors.Join(err, l.truncateLine())
	}
	l.copyLast()
	l.synced, l.lastError, l.refused = l.seq, nil, 0
	return nil
}

// Head returns the number and the hash of the last line.
func (l *Log) Head() (seq uint64, hash string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq, l.hash
}

// Ready returns an error if the log cannot be written, or is not in its place. If the
// last attempt failed, it tries again.
func (l *Log) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return os.ErrClosed
	}
	if err := l.recover(); err != nil {
		l.fail(err)
		return withoutPath(err)
	}
	return withoutPath(l.displaced)
}

// Close syncs the file and closes it. Later Writes return an error.
func (l *Log) Close() error {
	l.mu.Lock()
	seq, isClosed := l.seq, l.isClosed
	l.isClosed = true
	l.mu.Unlock()
	if isClosed {
		return nil
	}
	err := l.sync(seq)
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(err, l.file.Close())
}

// sync returns once line seq is on disk, or is no longer in any file. A caller that
// arrives during a sync waits for the next one, which serves all callers that wait.
func (l *Log) sync(seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.synced < seq {
		if l.lastError != nil {
			return l.lastError
		}
		if l.flight == nil {
			l.syncNow()
			continue
		}
		wait := l.flight
		l.mu.Unlock()
		<-wait
		l.mu.Lock()
	}
	if l.gone[0] <= seq && seq <= l.gone[1] {
		return errEmptied
	}
	return nil
}

// syncNow syncs what has been written so far. The caller holds mu; syncNow releases it during
// the sync.
func (l *Log) syncNow() {
	f, upTo := l.file, l.seq
	l.flight = make(chan struct{})
	l.mu.Unlock()
	err := f.Sync()
	l.mu.Lock()
	close(l.flight)
	l.flight = nil
	switch {
	case l.file != f: // another file was begun, after all of this one was synced
	case err != nil:
		l.fail(err)
	default:
		l.synced = max(l.synced, upTo)
	}
}

// syncLater schedules a sync within syncWithin. The caller holds mu.
func (l *Log) syncLater() {
	if l.later != nil {
		return
	}
	l.later = time.AfterFunc(syncWithin, func() {
		l.mu.Lock()
		l.later = nil
		seq, isClosed := l.seq, l.isClosed
		l.mu.Unlock()
		if !isClosed {
			_ = l.sync(seq) // recorded as trouble; the next Write reports it
		}
	})
}
