package hub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gatepass/gatepass/test/fakegithub"
)

// A Move is a call of GitHub's API that creates, moves or deletes a branch or a tag. A
// program without the permissions in Needs cannot move refs this way.
type Move struct {
	Name string // as in "POST git/refs" or "mutation createRef"

	// Needs are all permissions that the call requires, with their levels.
	Needs map[string]string

	// Fence is the permission of Needs without which the call must fail: "contents",
	// except for the few calls that move refs with another one.
	Fence string

	prepare func(scene) (body, error)
	after   func(scene) error // what GitHub does later as a result of the call
}

// GraphQL reports whether the call is a mutation.
func (m Move) GraphQL() bool { return len(m.Name) > 8 && m.Name[:8] == "mutation" }

// A Request is the request of a Move for one repository.
type Request struct {
	Method string
	Path   string // below the root of the REST API, or /graphql
	Body   []byte // JSON, or nil
}

// Prepare creates in a repository what the call needs, such as an open pull request,
// and returns the call. The call may be sent once. Prepare sets main, and branches
// whose names begin with the call's.
func (m Move) Prepare(h *Hub, owner, name string) (Request, error) {
	s := scene{h, owner, name, m.slug()}
	in, err := m.prepare(s)
	if err != nil {
		return Request{}, fmt.Errorf("prepare %s: %w", m.Name, err)
	}
	out := Request{Method: in.method, Path: in.path}
	if in.value != nil {
		out.Body, err = json.Marshal(in.value)
	}
	return out, err
}

// Settle does what GitHub does some time after the call, such as a merge that waits for
// checks. Call it before you check the refs.
func (m Move) Settle(h *Hub, owner, name string) error {
	if m.after == nil {
		return nil
	}
	return m.after(scene{h, owner, name, m.slug()})
}

func (m Move) slug() string {
	out := []byte{}
	for _, c := range []byte(m.Name) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			out = append(out, c)
		}
	}
	return string(out)
}

// A body is a request before it is encoded.
type body struct {
	method, path string
	value        any
}

// A scene is the repository in which a call is prepared.
type scene struct {
	h           *Hub
	owner, name string
	branch      string // branch of this call
}

func (s scene) path(format string, args ...any) string {
	return fmt.Sprintf("/repos/%s/%s", s.owner, s.name) + fmt.Sprintf(format, args...)
}

// ahead makes the branch one commit ahead of main, and returns that commit.
func (s scene) ahead() (string, error) {
	return s.h.Commit(s.owner, s.name, s.branch, "Change "+s.branch, map[string]string{s.branch + ".txt": s.branch})
}

// diverged also moves main ahead.
func (s scene) diverged() (head string, err error) {
	if head, err = s.ahead(); err == nil {
		_, err = s.h.Commit(s.owner, s.name, "main", "Change main for "+s.branch, map[string]string{s.branch + "-main.txt": s.branch})
	}
	return head, err
}

// pull opens a pull request for the branch, after main has moved ahead.
func (s scene) pull() (number int, err error) {
	if _, err = s.diverged(); err == nil {
		number, err = s.h.AddPull(s.owner, s.name, s.owner, "Merge "+s.branch, s.branch, "main")
	}
	return number, err
}

func (s scene) main() (string, error) {
	refs, err := s.h.Refs(s.owner, s.name)
	return refs["refs/heads/main"], err
}

var contentsOnly = map[string]string{"contents": "write"}

// Moves returns every call of GitHub's API that moves a ref of its own repository.
func Moves() []Move { return append(restMoves(), graphQLMoves()...) }

func restMoves() []Move {
	return []Move{
		{Name: "POST git/refs", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			sha, err := s.main()
			return body{http.MethodPost, s.path("/git/refs"), object{"ref": "refs/heads/" + s.branch, "sha": sha}}, err
		}},
		{Name: "POST git/refs of a tag", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			sha, err := s.main()
			return body{http.MethodPost, s.path("/git/refs"), object{"ref": "refs/tags/" + s.branch, "sha": sha}}, err
		}},
		{Name: "PATCH git/refs", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			sha, err := s.ahead()
			return body{http.MethodPatch, s.path("/git/refs/heads/main"), object{"sha": sha, "force": true}}, err
		}},
		{Name: "DELETE git/refs", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			_, err := s.ahead()
			return body{http.MethodDelete, s.path("/git/refs/heads/%s", s.branch), nil}, err
		}},
		{Name: "POST merges", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			_, err := s.diverged()
			return body{http.MethodPost, s.path("/merges"), object{"base": "main", "head": s.branch}}, err
		}},
		{Name: "PUT contents", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			text := base64.StdEncoding.EncodeToString([]byte(s.branch))
			return body{http.MethodPut, s.path("/contents/%s.txt", s.branch), object{"message": "Add it", "content": text}}, nil
		}},
		{Name: "DELETE contents", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			_, err := s.ahead()
			sha := s.blob(s.branch + ".txt")
			return body{http.MethodDelete, s.path("/contents/%s.txt", s.branch), object{"message": "Remove it", "sha": sha, "branch": s.branch}}, err
		}},
		{Name: "POST branches rename", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			_, err := s.ahead()
			return body{http.MethodPost, s.path("/branches/%s/rename", s.branch), object{"new_name": s.branch + "-renamed"}}, err
		}},
		{Name: "PUT pulls merge", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			n, err := s.pull()
			return body{http.MethodPut, s.path("/pulls/%d/merge", n), object{}}, err
		}},
		{
			Name: "PUT pulls update-branch", Needs: map[string]string{"contents": "write", "pull_requests": "write"}, Fence: "contents",
			prepare: func(s scene) (body, error) {
				n, err := s.pull()
				return body{http.MethodPut, s.path("/pulls/%d/update-branch", n), object{}}, err
			},
		},
		{Name: "POST releases", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			return body{http.MethodPost, s.path("/releases"), object{"tag_name": s.branch}}, nil
		}},
		{Name: "PATCH releases of a draft", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			id, err := s.h.AddDraft(s.owner, s.name, s.branch+"-draft")
			return body{http.MethodPatch, s.path("/releases/%d", id), object{"draft": false}}, err
		}},
		{Name: "POST merge-upstream", Needs: contentsOnly, Fence: "contents", prepare: func(s scene) (body, error) {
			return body{http.MethodPost, s.path("/merge-upstream"), object{"branch": "main"}}, s.fork()
		}},
		{
			Name: "POST code-scanning autofix commits", Needs: map[string]string{"contents": "write", "security_events": "write"}, Fence: "contents",
			prepare: func(s scene) (body, error) {
				if _, err := s.ahead(); err != nil {
					return body{}, err
				}
				err := s.h.AddAutofix(s.owner, s.name, 7, "fixed.txt", "fixed")
				at := s.path("/code-scanning/alerts/7/autofix/commits")
				return body{http.MethodPost, at, object{"target_ref": "refs/heads/" + s.branch, "message": "Fix it"}}, err
			},
		},
		{
			Name: "POST deployments with auto_merge", Needs: map[string]string{"deployments": "write"}, Fence: "deployments",
			prepare: func(s scene) (body, error) {
				_, err := s.diverged()
				return body{http.MethodPost, s.path("/deployments"), object{"ref": s.branch}}, err
			},
		},
	}
}

// fork makes the repository a fork of one with one more commit.
func (s scene) fork() error {
	upstream, err := s.h.s.AddRepository(fakegithub.Repository{Owner: s.owner, Name: fmt.Sprintf("%s-upstream-%d", s.name, s.h.s.NextID())})
	if err != nil {
		return err
	}
	repo, _ := s.h.s.Repository(s.owner, s.name)
	if _, err := (bare{s.h.s, upstream}).run("fetch", "--quiet", "--update-head-ok", repo.Dir, "+refs/heads/main:refs/heads/main"); err != nil {
		return err
	}
	if _, err := s.h.Commit(upstream.Owner, upstream.Name, "main", "Change the upstream", map[string]string{"upstream.txt": upstream.Name}); err != nil {
		return err
	}
	return s.h.SetUpstream(s.owner, s.name, upstream.Owner, upstream.Name)
}

// blob returns the hash of a file of the branch.
func (s scene) blob(path string) string {
	repo, _ := s.h.s.Repository(s.owner, s.name)
	sha, _ := bare{s.h.s, repo}.run("rev-parse", "refs/heads/"+s.branch+":"+path)
	return sha
}
