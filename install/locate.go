package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/usererr"
)

// systemHooks is the directory of shims of the scopes System and Image.
const systemHooks = "/usr/local/share/gatepass/hooks"

// locate finds the files of the scope: the configuration to write, and the directory of
// shims.
func (pl *planner) locate(ctx context.Context) error {
	switch pl.Scope {
	case Image:
		return pl.locateImage()
	case System:
		return pl.locateSystem(ctx)
	case Global:
		return pl.locateGlobal()
	}
	return usererr.New("choose a scope", "unknown scope "+string(pl.Scope), "")
}

func (pl *planner) locateImage() error {
	pl.imageGits = pl.findImageGits()
	files := []string{"/etc/gitconfig"}
	for _, g := range pl.imageGits {
		files = append(files, derivedSystemFile(g))
	}
	for _, name := range files {
		file, err := imagePlace(pl.image, name)
		if err != nil {
			return cannotRead(file.shown, err)
		}
		if !slices.ContainsFunc(pl.targets, func(t target) bool { return t.file.path() == file.path() }) {
			pl.targets = append(pl.targets, target{file: file})
		}
	}
	var err error
	pl.hooksIn = systemHooks
	pl.hooks, err = imagePlace(pl.image, systemHooks)
	return cannotUse(pl.hooks.shown, err)
}

// openImage opens the image's root. It stays open, so that a directory that later takes
// its place is not written to.
func (pl *planner) openImage() error {
	if pl.Root == "" {
		return errors.New("it is not named")
	}
	root, err := filepath.Abs(pl.Root)
	if err != nil {
		return err
	}
	p, err := hostPlace(root)
	if err != nil {
		return err
	}
	if pl.image, err = openDir(p.root, p.name); err == nil {
		pl.Root = p.path()
	}
	return err
}

// locateSystem asks every git for its system file, because each build has its own.
func (pl *planner) locateSystem(ctx context.Context) error {
	if pl.bundled() && pl.RunGits {
		pl.gits = append(pl.gits, pl.otherHostGits(ctx, true)...)
	}
	for _, g := range pl.gits {
		path, err := g.systemFile(ctx)
		if err != nil {
			return usererr.Wrap("find the system configuration of "+g.path, err, "")
		}
		if err := pl.addTarget(path, g); err != nil {
			return err
		}
	}
	if pl.bundled() && !pl.RunGits {
		for _, g := range pl.otherHostGits(ctx, false) {
			if err := pl.addTarget(derivedSystemFile(g.path), g); err != nil {
				return err
			}
		}
	}
	return pl.locateHooks(systemHooks)
}

// locateGlobal chooses the file as git does: GIT_CONFIG_GLOBAL, else ~/.gitconfig,
// except if only $XDG_CONFIG_HOME/git/config exists.
func (pl *planner) locateGlobal() error {
	home := pl.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return usererr.New("find your git configuration", "HOME is not an absolute path", "set HOME")
	}
	if info, err := os.Stat(home); err != nil || !info.IsDir() {
		return usererr.New("find your git configuration", "HOME ("+home+") is not a directory", "set HOME")
	}
	path := filepath.Join(home, ".gitconfig")
	if other := pl.Getenv("GIT_CONFIG_GLOBAL"); other != "" {
		path = other
	} else if !exists(path) && exists(pl.xdg("XDG_CONFIG_HOME", ".config", "git/config")) {
		path = pl.xdg("XDG_CONFIG_HOME", ".config", "git/config")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := pl.addTarget(path, pl.gits...); err != nil {
		return err
	}
	return pl.locateHooks(pl.xdg("XDG_DATA_HOME", ".local/share", "gatepass/hooks"))
}

// xdg returns a path in one of the base directories. As in the XDG specification, a
// variable that is not an absolute path counts as not set.
func (pl *planner) xdg(variable, fallback, name string) string {
	if dir := pl.Getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, name)
	}
	return filepath.Join(pl.Getenv("HOME"), fallback, name)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// addTarget adds a file, or adds gits to a file that is already listed.
func (pl *planner) addTarget(path string, gits ...git) error {
	file, err := hostPlace(path)
	if err != nil {
		return cannotRead(path, err)
	}
	for i, t := range pl.targets {
		if t.file.path() == file.path() {
			pl.targets[i].gits = append(t.gits, gits...)
			return nil
		}
	}
	pl.targets = append(pl.targets, target{file: file, gits: gits})
	return nil
}

func (pl *planner) locateHooks(path string) error {
	if err := CheckPath(path); err != nil {
		return err
	}
	p, err := hostPlace(path)
	pl.hooksIn, pl.hooks = path, p
	return cannotUse(path, err)
}

// seen returns the place of a directory that the configuration of this scope names.
func (pl *planner) seen(dir string) (place, error) {
	if !filepath.IsAbs(dir) {
		return place{}, fs.ErrNotExist
	}
	if pl.Scope == Image {
		return imagePlace(pl.image, dir)
	}
	return hostPlace(filepath.Clean(dir))
}

// hosts returns the hosts to configure.
func (pl *planner) hosts() ([]string, error) {
	w, err := pl.workspace()
	switch {
	case err != nil:
		return nil, err
	case w == nil && !pl.PolicyLater:
		return nil, pl.noWorkspace()
	case w == nil:
		pl.plan.Notes = append(pl.plan.Notes, "there is no workspace file "+pl.workspacePath+" yet: until it is there, git gets no token and the guard denies every push")
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
		do = "name yours with --workspace-file FILE, or use --policy-later if it is mounted later"
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
		return pl.readWorkspaceFile()
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
	file, err := imagePlace(pl.image, config.DefaultPath)
	pl.workspacePath = file.shown
	if err != nil {
		return nil, cannotRead(file.shown, err)
	}
	content, found, err := file.read()
	if err != nil || !found {
		return nil, cannotRead(file.shown, err)
	}
	w, err := config.Parse(content)
	if err != nil {
		return nil, usererr.Wrap("read the workspace file "+file.shown, err, "correct the file")
	}
	return w, nil
}

func cannotRead(file string, err error) error { return cannot("read ", file, err) }
func cannotUse(file string, err error) error  { return cannot("use ", file, err) }

func cannot(verb, file string, err error) error {
	if err == nil {
		return nil
	}
	return usererr.Wrap(verb+file, plain(err), advice(err))
}

// plain removes the path from a file error that repeats it.
func plain(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
