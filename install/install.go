// Package install writes the git configuration and the hook shims through which git
// uses gatepass, and removes them again.
//
// It works in three steps: it makes a plan without writing anything, it can show the
// plan, and it applies the plan. A removal is a plan too. It writes one block of
// sections at the end of the configuration file:
//
//	[credential "https://github.com"]
//		helper =
//		helper = /usr/local/bin/git-credential-gatepass
//		useHttpPath = true
//	[http "https://github.com/acme/widgets"]
//		proactiveAuth = basic
//	[hook "gatepass"]
//		command = '/usr/local/bin/gatepass-pre-push' --configured
//		event = pre-push
//		parallel = true
//
// The block is at the end because git collects helpers in the order of the files and
// the last value of a variable wins: everything before it is reset or shadowed without
// being changed, and removing the block restores the file byte for byte. git itself
// (git config) writes the text of the block. What could not be seen later, such as
// directories that were made or an earlier core.hooksPath, is recorded in a section
// [gatepass] at the end of the block.
//
// It reads with "git config -z --list", which is exact. As a second check, go-git's
// parser reads what is about to be written. That parser alone would not do: it follows
// no includes, groups sections of the same name and so loses their order, does not
// distinguish an empty value from none, and refuses some files that git accepts.
package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/install/place"

	"github.com/gatepass/gatepass/config"
	"github.com/gatepass/gatepass/internal/usererr"
)

// A Scope says which git configuration is changed.
type Scope string

// The scopes.
const (
	Global Scope = "global" // the current user's configuration
	System Scope = "system" // the configuration of every git on PATH, for all users
	Image  Scope = "image"  // the system configuration of a directory tree that becomes an image
)

// A Guard says how git runs gatepass-pre-push.
type Guard string

// The ways to run the guard. See Choice for how Auto decides.
const (
	GuardAuto      Guard = "auto"
	GuardHook      Guard = "hook"       // hook.gatepass.*: git 2.54 and later, hides no hook
	GuardHooksPath Guard = "hooks-path" // core.hooksPath and shims: every git
	GuardBoth      Guard = "both"
	GuardNone      Guard = "none" // credentials only
)

// Guards lists every Guard, for help texts.
func Guards() []Guard {
	return []Guard{GuardAuto, GuardHook, GuardHooksPath, GuardBoth, GuardNone}
}

func (g Guard) hook() bool { return g == GuardHook || g == GuardBoth }

func (g Guard) hooksPath() bool { return g == GuardHooksPath || g == GuardBoth }

// Options are the user's choices. Getenv is required, and Root for Image.
type Options struct {
	Scope  Scope    // empty means Global
	Root   string   // the directory tree of Image
	Hosts  []string // empty means the hosts of the workspace file; with PolicyLater and without a file, github.com
	BinDir string   // the directory of the programs, in Image as seen from inside; empty means beside Executable, else on PATH
	Guard  Guard    // empty means GuardAuto

	// Gateway is the address of the gateway that git uses; empty means that of the
	// workspace file, if it has one. GatewayCA is the absolute path of a file with the
	// certificates of the gateway's authorities, in Image as seen from inside; empty
	// means that of the source if it is the same broker, else the system's.
	Gateway, GatewayCA string

	// Author asks the gateway of a workspace file for the author of commits, "NAME
	// <EMAIL>"; "" if it names none. It is called if neither the file nor git names an
	// author, and not for an image. nil skips the question.
	Author func(ctx context.Context, through *config.Workspace) (string, error)

	// PolicyLater allows an install without a workspace file, which is then mounted
	// later. Otherwise New fails without one, since the guard would deny every push.
	PolicyLater bool

	// From makes this the install of a whole image, for Image and System: the programs
	// in From are copied to Prefix/bin, and a receipt records what Removal must remove.
	From          string
	Prefix        string // as seen from inside; empty means DefaultPrefix
	WorkspaceFile string // becomes the image's workspace file; may be empty
	RunGits       bool   // for System: also run gits that are not on PATH, to ask each for its system file

	// Executable is the absolute path of the running gatepass, or empty.
	Executable string
	Getenv     func(string) string
}

// New plans an installation. It writes nothing.
func New(ctx context.Context, o Options) (*Plan, error) {
	pl, err := newPlanner(ctx, o, "install")
	if err != nil {
		return nil, err
	}
	if err := pl.resolveOptions(ctx); err != nil {
		return nil, err
	}
	for _, t := range pl.targets {
		if err := pl.addFile(ctx, t); err != nil {
			return nil, err
		}
	}
	shims, err := pl.sharedShims()
	if err != nil {
		return nil, err
	}
	return pl.complete(shims)
}

// Removal plans to remove everything that New wrote in the same scope, in this version
// or another, with any options. It writes nothing.
func Removal(ctx context.Context, o Options) (*Plan, error) {
	pl, err := newPlanner(ctx, o, "uninstall")
	if err != nil {
		return nil, err
	}
	for _, t := range pl.targets {
		if err := pl.clearFile(ctx, t); err != nil {
			return nil, err
		}
	}
	return pl.complete(nil)
}

// A planner gathers the parts of a Plan.
type planner struct {
	Options
	plan *Plan
	git  git // the one that writes the configuration
	layout
	bundle bundle

	workspacePath string   // where the workspace file is, or should be
	oldDirs       []string // other directories of shims that the configuration names

	madeDirs, keptDirs []string // directories that New made, and those of them that are still needed

	replacedHooksPaths []string // for each file with shims, the core.hooksPath that they replace
	proactive          []string // URLs to which git sends its credential at once

	helper, guard string // paths of the programs as git will see them

	gateway                 gateway
	authorName, authorEmail string // from the workspace file or the gateway; "" for none
	askedAuthor             bool   // the gateway was asked
}

// A target is one configuration file and the gits that read it.
type target struct {
	file place.Place
	gits []git
}

func newPlanner(ctx context.Context, o Options, action string) (*planner, error) {
	if o.Scope == "" {
		o.Scope = Global
	}
	if o.Guard == "" {
		o.Guard = GuardAuto
	}
	if !slices.Contains(Guards(), o.Guard) {
		return nil, usererr.New("choose a guard", "unknown kind "+string(o.Guard), "")
	}
	pl := &planner{Options: o, plan: &Plan{Action: action, Scope: o.Scope, Root: o.Root}, layout: layout{scope: o.Scope, getenv: o.Getenv}}
	pl.bundle = bundle{layout: &pl.layout, Options: &pl.Options, plan: pl.plan, gateway: &pl.gateway}
	pl.gits = findGits(ctx, o.Getenv)
	if len(pl.gits) == 0 {
		return nil, usererr.New(action, "git is not on PATH", "install git")
	}
	pl.git = pl.gits[0]
	return pl, pl.prepare(ctx)
}

// prepare reads the state of an earlier install and finds the files.
func (pl *planner) prepare(ctx context.Context) error {
	if err := pl.bundle.checkOptions(); err != nil {
		return err
	}
	if pl.Scope == Image {
		root, err := pl.openImage(pl.Root)
		if err != nil {
			return usererr.Wrap("open the image root "+pl.Root, withoutPath(err), hintFor(err))
		}
		pl.Root = root
	}
	if pl.Scope != Global && (pl.From != "" || pl.plan.Action == "uninstall") {
		if err := pl.bundle.readReceipt(); err != nil {
			return err
		}
	}
	if err := pl.locate(ctx, pl.bundle.isUsed(), pl.RunGits); err != nil {
		return err
	}
	return pl.bundle.checkReceipt()
}

// resolveOptions chooses everything that New needs apart from the files.
func (pl *planner) resolveOptions(ctx context.Context) error {
	var err error
	if pl.plan.Hosts, err = pl.findHosts(); err != nil {
		return err
	}
	if err = pl.checkGateway(); err != nil {
		return err
	}
	if pl.proactive, err = pl.proactiveURLs(); err != nil {
		return err
	}
	if pl.Options.Root == "" {
		pl.noteOwnHeaders(ctx)
		pl.noteBypasses(ctx)
	}
	if err := pl.binaries(); err != nil {
		return err
	}
	pl.plan.Helper, pl.plan.GuardBinary, pl.plan.Gateway = pl.helper, pl.guard, pl.gateway.String()
	for _, t := range pl.targets {
		c := pl.chooseGuard(t)
		c.File = t.file.Shown
		pl.plan.Guard = append(pl.plan.Guard, c)
	}
	return nil
}

// guardOf returns the decision for one file.
func (p *Plan) guardOf(file string) Guard {
	for _, c := range p.Guard {
		if c.File == file {
			return c.Kind
		}
	}
	return GuardNone
}

// sharedShims returns the directory of shims, which all files share. So they must all
// hide the same directory of hooks.
func (pl *planner) sharedShims() (map[string]program, error) {
	chains := slices.Compact(slices.Sorted(slices.Values(pl.replacedHooksPaths)))
	switch len(chains) {
	case 0:
		return nil, nil
	case 1:
		return pl.shims(pl.guard, chains[0]), nil
	}
	return nil, usererr.New("install the hooks", fmt.Sprintf("the gits on PATH have different values of core.hooksPath: %q", chains),
		"set the same value, or none, in the system configuration of each git")
}

// The programs that git runs.
const (
	helperName = "git-credential-gatepass"
	guardName  = "gatepass-pre-push"
)

// usualDirs are the directories in which an image's programs are looked up.
var usualDirs = []string{"/usr/local/bin", "/usr/bin", "/bin"}

// binaries finds the helper and the guard.
func (pl *planner) binaries() error {
	var err error
	if pl.helper, err = pl.find(helperName); err != nil {
		return err
	}
	if pl.Guard == GuardNone {
		return nil
	}
	pl.guard, err = pl.find(guardName)
	return err
}

// find returns the path of a program as git will see it.
func (pl *planner) find(name string) (string, error) {
	dirs := pl.binDirs()
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if !filepath.IsAbs(path) || pl.From == "" && !pl.isExecutable(path) {
			continue
		}
		if err := CheckPath(path); err != nil {
			return "", err
		}
		return path, nil
	}
	where := "beside gatepass and on PATH"
	switch {
	case pl.BinDir != "":
		where = "in " + dirs[0]
	case pl.Scope == Image:
		where = "in " + strings.Join(usualDirs, ", ")
	}
	if pl.Scope == Image {
		where += " of " + pl.Root
	}
	return "", usererr.New("find "+name, "there is no such program ("+where+")",
		"put the gatepass binaries into one directory and name it with --bin-dir DIR")
}

func (pl *planner) binDirs() []string {
	switch {
	case pl.BinDir != "" && pl.Scope == Image:
		return []string{filepath.Join("/", pl.BinDir)}
	case pl.BinDir != "":
		dir, err := filepath.Abs(pl.BinDir)
		if err != nil {
			dir = pl.BinDir
		}
		return []string{dir}
	case pl.Scope == Image:
		return usualDirs
	}
	var dirs []string
	if pl.Executable != "" {
		dirs = append(dirs, filepath.Dir(pl.Executable))
		if real, err := filepath.EvalSymlinks(pl.Executable); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	return append(dirs, filepath.SplitList(pl.Getenv("PATH"))...)
}

func (t *tree) isExecutable(path string) bool {
	if t.image != nil {
		info := t.stat(path)
		return info != nil && executable(info)
	}
	info, err := os.Stat(path)
	return err == nil && executable(info)
}
