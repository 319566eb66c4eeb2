package fakegithub

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// An LFSLock is a lock on a path of a repository.
type LFSLock struct {
	ID     int64
	Path   string
	Owner  string // login; an App's is its slug and "[bot]"
	Locked time.Time
}

func (l LFSLock) show() object {
	return object{"id": strconv.FormatInt(l.ID, 10), "path": l.Path, "locked_at": timestamp(l.Locked), "owner": object{"name": l.Owner}}
}

func showLocks(locks []LFSLock) []object {
	out := []object{} // never null
	for _, l := range locks {
		out = append(out, l.show())
	}
	return out
}

func (c lfsCall) me() string { return c.token.installation.app.Slug + "[bot]" }

func (c lfsCall) createLock() answer {
	var in struct {
		Path string  `json:"path"`
		Ref  *lfsRef `json:"ref"`
	}
	if no := c.decode(&in); no != nil {
		return no.lfsAnswer()
	}
	if no := c.mayWrite("create a lock"); no != nil {
		return no.lfsAnswer()
	}
	if in.Path == "" {
		return refuse(http.StatusUnprocessableEntity, "Path can't be blank").lfsAnswer()
	}
	lfs := c.s.state.lfsOf(c.repo.ID)
	for _, l := range lfs.locks {
		if l.Path == in.Path {
			a := refuse(http.StatusConflict, msgLockExists).lfsAnswer()
			a.body.(object)["lock"] = l.show()
			return a
		}
	}
	l := LFSLock{ID: c.s.state.nextID(), Path: in.Path, Owner: c.me(), Locked: c.s.Now()}
	lfs.locks = append(lfs.locks, l)
	return answer{status: http.StatusCreated, body: object{"lock": l.show()}}
}

func (c lfsCall) listLocks() answer {
	if !c.mayRead() {
		return refuse(http.StatusForbidden, msgLFSNoPull+"list locks").lfsAnswer()
	}
	q := c.r.URL.Query()
	for key := range q {
		if !slices.Contains([]string{"path", "id", "cursor", "limit", "refspec"}, key) {
			return loudly("an unknown key in the query of locks").lfsAnswer()
		}
	}
	var found []LFSLock
	for _, l := range c.s.state.lfsOf(c.repo.ID).locks {
		if cmp.Or(q.Get("path"), l.Path) == l.Path && cmp.Or(q.Get("id"), strconv.FormatInt(l.ID, 10)) == strconv.FormatInt(l.ID, 10) {
			found = append(found, l)
		}
	}
	page, next := pageOfLocks(found, q.Get("cursor"), positive(q.Get("limit"), defaultLockPage))
	return ok(withCursor(object{"locks": showLocks(page)}, next))
}

func (c lfsCall) verifyLocks() answer {
	var in struct {
		Ref    *lfsRef `json:"ref"`
		Cursor string  `json:"cursor"`
		Limit  int     `json:"limit"`
	}
	if no := c.decode(&in); no != nil {
		return no.lfsAnswer()
	}
	if no := c.mayWrite("verify locks"); no != nil {
		return no.lfsAnswer()
	}
	page, next := pageOfLocks(c.s.state.lfsOf(c.repo.ID).locks, in.Cursor, positive(strconv.Itoa(in.Limit), defaultLockPage))
	var ours, theirs []LFSLock
	for _, l := range page {
		if l.Owner == c.me() {
			ours = append(ours, l)
		} else {
			theirs = append(theirs, l)
		}
	}
	return ok(withCursor(object{"ours": showLocks(ours), "theirs": showLocks(theirs)}, next))
}

// pageOfLocks returns the locks from the cursor on, which is an ID, and the cursor of
// the next page; "" at the end.
func pageOfLocks(locks []LFSLock, cursor string, limit int) (page []LFSLock, next string) {
	from, _ := strconv.ParseInt(cursor, 10, 64)
	for _, l := range locks {
		switch {
		case l.ID < from:
		case len(page) == min(limit, defaultLockPage):
			return page, strconv.FormatInt(l.ID, 10)
		default:
			page = append(page, l)
		}
	}
	return page, ""
}

func withCursor(out object, next string) object {
	if next != "" {
		out["next_cursor"] = next
	}
	return out
}

func (c lfsCall) unlock() answer {
	var in struct {
		Force bool    `json:"force"`
		Ref   *lfsRef `json:"ref"`
	}
	if no := c.decode(&in); no != nil {
		return no.lfsAnswer()
	}
	if no := c.mayWrite("delete locks"); no != nil {
		return no.lfsAnswer()
	}
	lfs := c.s.state.lfsOf(c.repo.ID)
	i := slices.IndexFunc(lfs.locks, func(l LFSLock) bool { return l.ID == c.path.lock })
	if i < 0 {
		return refuse(http.StatusNotFound, "Not Found").lfsAnswer()
	}
	l := lfs.locks[i]
	if l.Owner != c.me() && !in.Force {
		return refuse(http.StatusForbidden, fmt.Sprintf("%s is locked by %s", l.Path, l.Owner)).lfsAnswer()
	}
	lfs.locks = slices.Delete(lfs.locks, i, i+1)
	return ok(object{"lock": l.show()})
}

// AddLFSLock locks a path of a repository for a login.
func (s *Server) AddLFSLock(owner, name, path, login string) (LFSLock, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.state.repository(owner, name)
	if repo == nil {
		return LFSLock{}, errUnknownRepository
	}
	l := LFSLock{ID: s.state.nextID(), Path: path, Owner: login, Locked: s.Now()}
	lfs := s.state.lfsOf(repo.ID)
	lfs.locks = append(lfs.locks, l)
	return l, nil
}

// LFSLocks lists the locks of a repository, oldest first.
func (s *Server) LFSLocks(owner, name string) []LFSLock {
	s.mu.Lock()
	defer s.mu.Unlock()
	if repo := s.state.repository(owner, name); repo != nil {
		return slices.Clone(s.state.lfsOf(repo.ID).locks)
	}
	return nil
}
