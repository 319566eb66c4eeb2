package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gatepass/gatepass/install/place"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
)

// systemHooks is the directory of shims of the scopes System and Image.
const systemHooks = "/usr/local/share/gatepass/hooks"

// A tree has the files of the scope: those of this machine, or of an image.
type tree struct {
	image *os.Root // nil for this machine
}

// A layout says which files a scope has.
type layout struct {
	tree
	scope  Scope
	getenv func(string) string

	gits      []git    // all on PATH
	targets   []target // the configuration files
	imageGits []string // in Image: gits that are not the distribution's, as seen from inside

	hooks    place.Place // where our shims go
	hooksDir string      // the same path as git will see it
}

// locate finds the files of the scope: the configuration to write, and the directory of
// shims.
func (l *layout) locate(ctx context.Context, findOthers, runThem bool) error {
	switch l.scope {
	case Image:
		return l.locateImage()
	case System:
		return l.locateSystem(ctx, findOthers, runThem)
	case Global:
		return l.locateGlobal()
	}
	return usererr.New("choose a scope", "unknown scope "+string(l.scope), "")
}

func (l *layout) locateImage() error {
	l.imageGits = l.findImageGits()
	files := []string{"/etc/gitconfig"}
	for _, g := range l.imageGits {
		files = append(files, derivedSystemFile(g))
	}
	for _, name := range files {
		file, err := place.InImage(l.image, name)
		if err != nil {
			return wrapRead(file.Shown, err)
		}
		if !slices.ContainsFunc(l.targets, func(t target) bool { return t.file.Path() == file.Path() }) {
			l.targets = append(l.targets, target{file: file})
		}
	}
	var err error
	l.hooksDir = systemHooks
	l.hooks, err = place.InImage(l.image, systemHooks)
	return wrapUse(l.hooks.Shown, err)
}

// openImage opens the root of an image, and returns its absolute path. It stays open,
// so that a directory that later takes its place is not written to.
func (t *tree) openImage(root string) (string, error) {
	if root == "" {
		return "", errors.New("it is not named")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	p, err := place.OnHost(root)
	if err != nil {
		return "", err
	}
	t.image, err = place.OpenDir(p.Root, p.Name)
	return p.Path(), err
}

// locateSystem asks every git for its system file, because each build has its own.
func (l *layout) locateSystem(ctx context.Context, findOthers, runThem bool) error {
	if findOthers && runThem {
		l.gits = append(l.gits, l.otherHostGits(ctx, true)...)
	}
	for _, g := range l.gits {
		path, err := g.systemFile(ctx)
		if err != nil {
			return usererr.Wrap("find the system configuration of "+g.path, err, "")
		}
		if err := l.addFile(path, g); err != nil {
			return err
		}
	}
	if findOthers && !runThem {
		for _, g := range l.otherHostGits(ctx, false) {
			if err := l.addFile(derivedSystemFile(g.path), g); err != nil {
				return err
			}
		}
	}
	return l.locateHooks(systemHooks)
}

// locateGlobal chooses the file as git does: GIT_CONFIG_GLOBAL, else ~/.gitconfig,
// except if only $XDG_CONFIG_HOME/git/config exists.
func (l *layout) locateGlobal() error {
	home := l.getenv("HOME")
	if !filepath.IsAbs(home) {
		return usererr.New("find your git configuration", "HOME is not an absolute path", "set HOME")
	}
	if info, err := os.Stat(home); err != nil || !info.IsDir() {
		return usererr.New("find your git configuration", "HOME ("+home+") is not a directory", "set HOME")
	}
	path := filepath.Join(home, ".gitconfig")
	if other := l.getenv("GIT_CONFIG_GLOBAL"); other != "" {
		path = other
	} else if !exists(path) && exists(l.xdg("XDG_CONFIG_HOME", ".config", "git/config")) {
		path = l.xdg("XDG_CONFIG_HOME", ".config", "git/config")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := l.addFile(path, l.gits...); err != nil {
		return err
	}
	return l.locateHooks(l.xdg("XDG_DATA_HOME", ".local/share", "gatepass/hooks"))
}

// xdg returns a path in one of the base directories. As in the XDG specification, a
// variable that is not an absolute path counts as not set.
func (l *layout) xdg(variable, fallback, name string) string {
	if dir := l.getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, name)
	}
	return filepath.Join(l.getenv("HOME"), fallback, name)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// addFile adds a file, or adds gits to a file that is already listed.
func (l *layout) addFile(path string, gits ...git) error {
	file, err := place.OnHost(path)
	if err != nil {
		return wrapRead(path, err)
	}
	for i, t := range l.targets {
		if t.file.Path() == file.Path() {
			l.targets[i].gits = append(t.gits, gits...)
			return nil
		}
	}
	l.targets = append(l.targets, target{file: file, gits: gits})
	return nil
}

func (l *layout) locateHooks(path string) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	p, err := place.OnHost(path)
	l.hooksDir, l.hooks = path, p
	return wrapUse(path, err)
}

// placeOfFile returns the place of a directory that the configuration of this scope names.
func (t *tree) placeOf(dir string) (place.Place, error) {
	if !filepath.IsAbs(dir) {
		return place.Place{}, fs.ErrNotExist
	}
	if t.image != nil {
		return place.InImage(t.image, dir)
	}
	return place.OnHost(filepath.Clean(dir))
}

// findHosts returns the hosts to configure.
func (pl *planner) findHosts() ([]string, error) {
	w, err := pl.workspace()
	switch {
	case err != nil:
		return nil, err
	case w == nil && !pl.PolicyLater:
		return nil, pl.noWorkspace()
	case w == nil:
		pl.plan.Notes = append(pl.plan.Notes, "there is no workspace file "+pl.workspacePath+" yet: until it exists, git gets no token and the guard denies every push")
	}
	if err := pl.findGateway(w); err != nil {
		return nil, err
	}
	if w != nil {
		pl.authorName, pl.authorEmail = w.Author.Name, w.Author.Email
	}
	switch {
	case len(pl.Hosts) > 0:
		return canonicalHosts(pl.Hosts)
	case w == nil:
		return []string{config.DefaultHost}, nil
	}
	return canonicalHosts(w.Hosts)
}

// noWorkspace returns an error that says what to write. Without that file the guard
// denies every push on the machine, which the user does not expect.
func (pl *planner) noWorkspace() error {
	do := `write at least "source: URL" and "refs: [PATTERN, ...]" into it (the README has an example), or use --policy-later if it is mounted later`
	if pl.From != "" {
		do = "name another with --workspace-file FILE, or use --policy-later if it is mounted later"
	}
	return usererr.New("install", "there is no workspace file "+pl.workspacePath+": the guard would deny every push", do)
}

func canonicalHosts(hosts []string) ([]string, error) {
	var list []string
	seen := map[string]bool{}
	for _, h := range hosts {
		c, ok := gitname.Host(h)
		if !ok {
			return nil, usererr.New("use the host "+h, "it is not an exact host name with an optional :port",
				"write it without scheme, path or wildcard")
		}
		if !seen[c] {
			list = append(list, c)
		}
		seen[c] = true
	}
	return list, nil
}

// workspace reads the workspace file; nil if there is none. For an image it is the file
// inside the image, whatever the environment of the build.
func (pl *planner) workspace() (*config.Workspace, error) {
	if pl.WorkspaceFile != "" {
		return pl.bundle.readWorkspaceFile()
	}
	if pl.Scope == Image {
		return pl.imageWorkspace()
	}
	pl.workspacePath = config.DefaultPath
	if pl.From == "" {
		var err error
		if pl.workspacePath, err = config.Path(pl.Getenv); err != nil {
			return nil, err
		}
	}
	w, err := config.Load(pl.workspacePath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return w, err
}

func (pl *planner) imageWorkspace() (*config.Workspace, error) {
	file, err := place.InImage(pl.image, config.DefaultPath)
	pl.workspacePath = file.Shown
	if err != nil {
		return nil, wrapRead(file.Shown, err)
	}
	content, found, err := file.Read()
	if err != nil || !found {
		return nil, wrapRead(file.Shown, err)
	}
	w, err := config.Parse(content)
	if err != nil {
		return nil, usererr.Wrap("read the workspace file "+file.Shown, err, "correct the file")
	}
	return w, nil
}

func wrapRead(file string, err error) error { return wrapError("read ", file, err) }
func wrapUse(file string, err error) error  { return wrapError("use ", file, err) }

func wrapError(verb, file string, err error) error {
	if err == nil {
		return nil
	}
	return usererr.Wrap(verb+file, withoutPath(err), hintFor(err))
}

// withoutPath removes the path from a file error that repeats it.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
