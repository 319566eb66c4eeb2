package fakegithub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Repository is a real bare repository with one commit on its branch main.
type Repository struct {
	ID     int64
	Owner  string
	Name   string
	Public bool
	Wiki   bool // a second repository, NAME.wiki.git, exists

	// Files are added to its first commit, next to README.md: texts by path.
	Files map[string]string

	// Dir is the bare repository on disk. It is named by the ID, so a rename does not
	// change it.
	Dir     string
	Created time.Time
}

const defaultBranch = "main"

// repositoryConfig makes git behave like GitHub where a client can notice: partial
// clones work, every reachable commit can be fetched, and the server never repacks by
// itself.
const repositoryConfig = `[core]
	repositoryformatversion = 0
	filemode = true
	bare = true
[uploadpack]
	allowFilter = true
	allowReachableSHA1InWant = true
[receive]
	autogc = false
	fsckObjects = true
[gc]
	auto = 0
`

// FullName is owner/name.
func (r Repository) FullName() string { return r.Owner + "/" + r.Name }

// AddRepository creates a repository; its owner need not exist yet.
func (s *Server) AddRepository(repo Repository) (Repository, error) {
	if err := checkRepositoryName(repo); err != nil {
		return Repository{}, fmt.Errorf("add repository %s: %w", repo.FullName(), err)
	}
	if err := s.reserve(&repo); err != nil {
		return Repository{}, fmt.Errorf("add repository %s: %w", repo.FullName(), err)
	}
	if s.opts.RESTOnly {
		repo.Dir = ""
	} else if err := s.createOnDisk(repo); err != nil {
		return Repository{}, fmt.Errorf("add repository %s: %w", repo.FullName(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := repo
	s.state.repositories[repo.ID] = &stored
	return repo, nil
}

func checkRepositoryName(repo Repository) error {
	name := fold(repo.Name)
	switch {
	case !validOwner(repo.Owner):
		return errors.New("the owner is not a name GitHub allows")
	case !validRepository(repo.Name):
		return errors.New("the name is not one GitHub allows")
	case strings.HasSuffix(name, ".git"), strings.HasSuffix(name, ".wiki"):
		return errors.New("GitHub allows no name ending in .git or .wiki")
	}
	return nil
}

// reserve reserves the ID and the name before the directory is made, so that two
// callers cannot both get them.
func (s *Server) reserve(repo *Repository) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	acc, err := s.state.account(repo.Owner, "")
	if err != nil {
		return err
	}
	repo.Owner = acc.login
	key := fold(repo.FullName())
	if repo.ID == 0 {
		repo.ID = s.state.nextID()
	}
	if s.state.names[key] != 0 || s.state.repositories[repo.ID] != nil {
		return errors.New("the name or id is taken")
	}
	repo.Dir = filepath.Join(s.opts.Root, strconv.FormatInt(repo.ID, 10)+".git")
	repo.Created = s.Now()
	s.state.names[key] = repo.ID
	delete(s.state.oldNames, key) // GitHub's redirect ends when the name is used again
	return nil
}

func (r Repository) wikiDir() string { return strings.TrimSuffix(r.Dir, ".git") + ".wiki.git" }

func (s *Server) createOnDisk(repo Repository) error {
	files := map[string]string{"README.md": "# " + repo.Name + "\n"}
	maps.Copy(files, repo.Files)
	if err := s.createBare(repo.Dir, files); err != nil || !repo.Wiki {
		return err
	}
	return s.createBare(repo.wikiDir(), map[string]string{"Home.md": "Welcome to the " + repo.Name + " wiki!\n"})
}

func (s *Server) createBare(dir string, files map[string]string) error {
	ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
	defer cancel()
	init := gitCommand{args: []string{"init", "--quiet", "--bare", "--template=", dir}}
	if err := s.runGit(ctx, init); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(repositoryConfig), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "HEAD"), []byte("ref: refs/heads/"+defaultBranch+"\n"), 0o600); err != nil {
		return err
	}
	commit := strings.NewReader(firstCommit(files, s.Now()))
	return s.runGit(ctx, gitCommand{dir: dir, args: []string{"fast-import", "--quiet"}, stdin: commit})
}

// firstCommit returns a stream for git fast-import.
func firstCommit(files map[string]string, now time.Time) string {
	const message = "Initial commit"
	var out strings.Builder
	fmt.Fprintf(&out, "commit refs/heads/%s\ncommitter GitHub <noreply@github.invalid> %d +0000\ndata %d\n%s\n",
		defaultBranch, now.Unix(), len(message), message)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&out, "M 100644 inline %s\ndata %d\n%s\n", path, len(files[path]), files[path])
	}
	return out.String()
}

// repository finds a repository by name, whatever its case; nil if there is none.
func (st *state) repository(owner, name string) *Repository {
	return st.repositories[st.names[fold(owner+"/"+name)]]
}

// renamed finds the repository that once had the name; nil if there is none.
func (st *state) renamed(owner, name string) *Repository {
	return st.repositories[st.oldNames[fold(owner+"/"+name)]]
}

// RenameRepository renames a repository. The old name redirects until another
// repository takes it.
func (s *Server) RenameRepository(owner, name, newName string) error {
	next := Repository{Owner: owner, Name: newName}
	if err := checkRepositoryName(next); err != nil {
		return fmt.Errorf("rename %s/%s: %w", owner, name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.state.repository(owner, name)
	if repo == nil {
		return fmt.Errorf("rename %s/%s: %w", owner, name, errUnknownRepository)
	}
	if id := s.state.names[fold(next.FullName())]; id != 0 && id != repo.ID {
		return fmt.Errorf("rename %s/%s: %s is taken", owner, name, newName)
	}
	oldKey, newKey := fold(repo.FullName()), fold(next.FullName())
	delete(s.state.names, oldKey)
	s.state.oldNames[oldKey] = repo.ID
	s.state.names[newKey] = repo.ID
	delete(s.state.oldNames, newKey)
	repo.Name = newName
	return nil
}

// RemoveRepository deletes a repository, also on disk. Its name can be used again.
func (s *Server) RemoveRepository(owner, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.state.repository(owner, name)
	if repo == nil {
		return fmt.Errorf("remove %s/%s: %w", owner, name, errUnknownRepository)
	}
	delete(s.state.names, fold(repo.FullName()))
	delete(s.state.repositories, repo.ID)
	if repo.Dir == "" { // without git
		return nil
	}
	return errors.Join(os.RemoveAll(repo.Dir), os.RemoveAll(repo.wikiDir()))
}
