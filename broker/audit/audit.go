// Package audit is the broker's audit log: a file of JSON lines that are chained
// by their hashes, so that a line that was changed, dropped, repeated or moved
// is found ([Verify]).
//
// Whoever can write the file can write all of it anew, with hashes that hold. The
// chain shows that only to somebody who remembered its head: the broker logs
// the head when it starts and ends and shows it at /readyz, and the copies that
// it sends elsewhere carry every line's hash.
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

// syncWithin is how soon an entry that is not durable reaches the disk.
const syncWithin = 50 * time.Millisecond

// A Log is an open audit log. It implements [broker.Journal]. While it cannot be
// written, every Write returns an error and leaves nothing in the file; the first
// one that works again says in the log what is missing.
type Log struct {
	// MaxSize is from how many bytes on the file is renamed to PATH.TIME-NUMBER
	// and another is begun; 0 means that somebody else does that. It is set
	// before the first Write.
	MaxSize int64
	// Copy is given every line that was written, without its line break; nil
	// means nobody is. It must not block. It is set before the first Write.
	Copy func(text []byte, r Record)

	path string

	mu   sync.Mutex // guards the rest
	file file
	size int64 // of the file, all of it whole lines
	seq  uint64
	hash string // of line seq; noHash before the first
	last line

	synced   uint64        // all lines up to this are on the disk
	flight   chan struct{} // closed when the sync under way ends; nil for none
	later    *time.Timer
	lost     int64     // bytes of whole lines that somebody took out of the file, until a line says so
	gone     [2]uint64 // first and last of the lines that went with them before they were on the disk
	astray   error     // why the log is in a file that was renamed; nil where it is in its place
	trouble  error     // why the last attempt failed; nil when all is well
	refused  uint64    // entries since all was well
	isClosed bool
}

// file is what a Log needs of its file.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
	Stat() (os.FileInfo, error)
}

// line is one that was written.
type line struct {
	text   []byte
	record Record
}

// Open opens a log, or begins one; the log's own folder is made where it is missing. A
// second process that opens the same file is refused. The end of the chain is verified.
// A last line that was cut off by a crash is closed by a line that says so; nothing else
// is mended.
func Open(path string) (*Log, error) {
	l := &Log{path: path, hash: noHash}
	if err := l.open(); err != nil {
		return nil, usererr.Wrap("open the audit log "+path, err, "")
	}
	return l, nil
}

func (l *Log) open() error {
	if err := makeFolder(l.path); err != nil {
		return bare(err)
	}
	f, err := openFile(l.path)
	if err != nil {
		return bare(err)
	}
	end, err := readEnd(f)
	if err == nil {
		l.file, l.size, l.seq, l.hash = f, end.size, end.seq, end.hash
		switch {
		case end.size == 0 && len(end.torn) == 0:
			err = l.put(content{Entry: entry(KindHead, "the log begins"), Note: Note{Version: version.String()}})
		case len(end.torn) > 0:
			err = l.repair(f, end)
		}
	}
	if err == nil {
		err = l.settle(f)
	}
	if err != nil {
		return errors.Join(bare(err), f.Close())
	}
	return nil
}

// settle has everything reach the disk before anybody relies on it.
func (l *Log) settle(f *os.File) error {
	if err := errors.Join(setAppend(f), f.Sync(), syncFolder(l.path)); err != nil {
		return err
	}
	l.synced = l.seq
	return nil
}

func entry(kind, detail string) broker.Entry {
	return broker.Entry{Time: time.Now().UTC(), Kind: kind, Detail: detail}
}

// repair writes over a line that was cut off. The line that takes its place holds
// what it said, so it is longer: there is no moment at which the end of the file
// looks whole and is not.
func (l *Log) repair(f *os.File, end end) error {
	if _, err := f.Seek(end.size, io.SeekStart); err != nil {
		return err
	}
	detail := fmt.Sprintf("a line of %d bytes was cut off after number %d", len(end.torn), end.seq)
	kind := KindTruncated
	if end.seq == 0 {
		kind = KindHead // every file begins with one
	}
	return l.put(content{Entry: entry(kind, detail), Note: Note{Torn: end.torn, Version: version.String()}})
}

// put appends one line. Where that fails nothing of it stays. The caller holds
// mu, or is alone.
func (l *Log) put(c content) error {
	text, hash, err := encode(l.seq+1, l.hash, c)
	if err != nil {
		return err
	}
	if n, err := l.file.Write(text); err != nil || n < len(text) {
		return errors.Join(orShort(err), l.cutBack())
	}
	if err := l.landed(int64(len(text))); err != nil {
		return err
	}
	l.last = line{text[:len(text)-1], Record{Seq: l.seq + 1, Prev: l.hash, Entry: c.Entry, Note: c.Note, Hash: hash}}
	l.size += int64(len(text))
	l.seq, l.hash = l.seq+1, hash
	return nil
}

// tell passes on the line that was put last. The caller holds mu.
func (l *Log) tell() {
	if l.Copy != nil {
		l.Copy(l.last.text, l.last.record)
	}
}

func orShort(err error) error {
	if err == nil {
		return io.ErrShortWrite
	}
	return err
}

// Write implements [broker.Journal]. The entry has been given to the system when
// it returns, and reaches the disk within 50 ms; with durable it is there.
func (l *Log) Write(_ context.Context, e broker.Entry, durable bool) error {
	seq, err := l.append(e)
	if err == nil && durable {
		err = l.sync(seq)
	}
	if err != nil {
		return usererr.Wrap("write the audit log "+l.path, bare(err), "make room, or correct its rights")
	}
	return nil
}

// maxTries is how often a line is written that somebody's emptying of the file takes away.
const maxTries = 10

func (l *Log) append(e broker.Entry) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return 0, os.ErrClosed
	}
	err := l.add(entryOf(e))
	for tries := 1; errors.Is(err, errEmptied) && tries < maxTries; tries++ { // between the look at the file and the write
		err = l.add(entryOf(e))
	}
	if err != nil {
		l.fail(err)
		l.refused++
		return 0, err
	}
	l.tell()
	l.syncLater()
	return l.seq, nil
}

// add puts a line where the next one belongs. The caller holds mu.
func (l *Log) add(c content) error {
	err := l.recover()
	if err == nil {
		err = l.rotateAt(l.MaxSize)
	}
	if err == nil {
		err = l.put(c)
	}
	return err
}

// entryOf is what is written of an entry: nothing that a caller puts into one is too
// long for a line, or trouble of the log.
func entryOf(e broker.Entry) content {
	bounded, shortened := Bound(e)
	return content{Entry: bounded, Note: Note{Shortened: shortened}}
}

// fail remembers what is wrong. The caller holds mu.
func (l *Log) fail(err error) {
	if l.trouble == nil {
		l.trouble = bare(err)
	}
}

// recover has the file ready for the next line: in its place, and with the lines
// that it should have. Where the log failed it says in it what is missing. The
// caller holds mu.
func (l *Log) recover() error {
	if l.trouble != nil {
		if err := l.cutBack(); err != nil { // the attempt that failed may have failed at this, too
			return err
		}
	}
	if err := l.stay(); err != nil || l.trouble == nil {
		return err
	}
	n := Note{Refused: l.refused, Trouble: l.trouble.Error()}
	if l.synced < l.seq {
		n.Uncertain = l.synced + 1 // after a sync that failed the next one says nothing of what was before
	}
	detail := fmt.Sprintf("the log could not be written; %d entries were refused", l.refused)
	size, seq, hash := l.size, l.seq, l.hash
	if err := l.put(content{Entry: entry(KindRecovered, detail), Note: n}); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		l.size, l.seq, l.hash = size, seq, hash
		return errors.Join(err, l.cutBack())
	}
	l.tell()
	l.synced, l.trouble, l.refused = l.seq, nil, 0
	return nil
}

// Head returns the number and the hash of the last line.
func (l *Log) Head() (seq uint64, hash string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq, l.hash
}

// Ready returns why the log cannot be written, or not in its place. Where the last
// attempt failed it tries again.
func (l *Log) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return os.ErrClosed
	}
	if err := l.recover(); err != nil {
		l.fail(err)
		return bare(err)
	}
	return bare(l.astray)
}

// Close has everything reach the disk. Nothing can be written afterwards.
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

// sync returns when the line of that number is on the disk, or is in no file any
// more. Whoever comes while
// a sync is under way waits for the next one, which is for all of them.
func (l *Log) sync(seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.synced < seq {
		if l.trouble != nil {
			return l.trouble
		}
		if l.flight == nil {
			l.fly()
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

// fly syncs what has been written so far. The caller holds mu, which is free
// while the disk works.
func (l *Log) fly() {
	f, upTo := l.file, l.seq
	l.flight = make(chan struct{})
	l.mu.Unlock()
	err := f.Sync()
	l.mu.Lock()
	close(l.flight)
	l.flight = nil
	switch {
	case l.file != f: // another was begun meanwhile, after all of this one was on the disk
	case err != nil:
		l.fail(err)
	default:
		l.synced = max(l.synced, upTo)
	}
}

// syncLater has what was written reach the disk soon. The caller holds mu.
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
			_ = l.sync(seq) // what is wrong is remembered, and the next Write says it
		}
	})
}
