package interop

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// goGit is the library go-git. quiet has it not ask for progress, and with that not for
// side-band.
type goGit struct {
	w     *world
	quiet bool
}

func (g goGit) version() string {
	f := runtime.FuncForPC(reflect.ValueOf(gogit.PlainClone).Pointer())
	file, _ := f.FileLine(f.Entry())
	_, version, _ := strings.Cut(filepath.Dir(file), "@")
	return version
}

func (g goGit) auth() transport.AuthMethod {
	return &githttp.BasicAuth{Username: "x", Password: g.w.session}
}

func (g goGit) ca() []byte {
	g.w.t.Helper()
	pem, err := os.ReadFile(g.w.ca)
	if err != nil {
		g.w.t.Fatal(err)
	}
	return pem
}

// seen is what a program shows that prints progress and then the error.
func seen(progress *bytes.Buffer, err error) (string, bool) {
	if err == nil || errors.Is(err, gogit.NoErrAlreadyUpToDate) {
		return progress.String(), true
	}
	return progress.String() + err.Error(), false
}

func (g goGit) clone(url, dir string, depth int) (string, bool) {
	var progress bytes.Buffer
	_, err := gogit.PlainClone(dir, false, &gogit.CloneOptions{URL: url, Auth: g.auth(), CABundle: g.ca(), Depth: depth, Progress: &progress})
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		var r *gogit.Repository
		if r, err = gogit.PlainInit(dir, false); err == nil {
			_, err = r.CreateRemote(&config.RemoteConfig{Name: "origin", URLs: []string{url}})
		}
	}
	return seen(&progress, err)
}

func (g goGit) fetch(dir string) (string, bool) {
	var progress bytes.Buffer
	r, err := gogit.PlainOpen(dir)
	if err == nil {
		err = r.Fetch(&gogit.FetchOptions{Auth: g.auth(), CABundle: g.ca(), Progress: &progress})
	}
	return seen(&progress, err)
}

func (g goGit) push(dir string, refspecs ...string) (string, bool) {
	var progress bytes.Buffer
	o := &gogit.PushOptions{Auth: g.auth(), CABundle: g.ca(), Progress: &progress}
	if g.quiet {
		o.Progress = nil
	}
	for _, spec := range refspecs {
		o.RefSpecs = append(o.RefSpecs, config.RefSpec(spec))
	}
	r, err := gogit.PlainOpen(dir)
	if err == nil {
		err = r.Push(o)
	}
	return seen(&progress, err)
}

func TestGoGit(t *testing.T) {
	if testing.Short() {
		t.Skip("pushes and clones many times")
	}
	t.Parallel()
	for _, quiet := range []bool{false, true} {
		name := "with progress"
		if quiet {
			name = "without side-band"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tryAll(t, kind{name: "go-git", open: func(w *world) client { return goGit{w, quiet} }, refused: []string{reason}, denied: "gatepass: ", quick: quiet || !isReal()}, w)
		})
	}
}
