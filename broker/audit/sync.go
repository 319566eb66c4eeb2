package audit

import "time"

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
