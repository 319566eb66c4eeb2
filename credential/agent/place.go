package agent

import (
	"errors"
	"os"
	"strconv"
	"syscall"
)

// maxSocketPath is the longest path, in bytes, that fits into sockaddr_un on Linux with
// its final NUL.
const maxSocketPath = 107

// A Place holds the paths of the agent for one user, one workspace file and one
// environment.
type Place struct {
	Reads     string // the groups of variables that the source reads, as far as known
	Identity  string // a digest that the agent and its callers must share
	Directory string // 0700, ours
	Socket    string // the agent listens here
	Lock      string // the agent holds this lock while it runs
	Start     string // a process holds this lock while it starts an agent
}

var errNoPlace = errors.New("no directory for a socket")

// nameLength is how much of an identity is in the names of files. It only has to
// distinguish a user's few agents: a call carries the whole identity, and the agent
// refuses a call for another one.
const nameLength = 16

// Locate returns the place for a workspace file (an absolute path) and the values of
// the variables that its source reads; see [Hint]. It makes the directory:
// $XDG_RUNTIME_DIR/gatepass or, if that is not usable, gatepass-UID under the temporary
// directory. It refuses a directory that others own or can enter, a symbolic link, and
// a path too long for a socket; an error means that no agent can run here.
func Locate(config string, getenv func(string) string) (Place, error) {
	err := errNoPlace
	for _, dir := range candidates(getenv) {
		if len(dir)+len("/.sock.new")+nameLength > maxSocketPath {
			continue
		}
		if err = makePrivate(dir); err != nil {
			continue
		}
		reads := hinted(dir, config)
		var identity string
		if identity, err = identify(dir, config, reads, getenv); err == nil {
			base := dir + "/" + identity[:nameLength]
			return Place{Reads: reads, Identity: identity, Directory: dir, Socket: base + ".sock", Lock: base + ".lock", Start: base + ".start"}, nil
		}
	}
	return Place{}, err
}

func candidates(getenv func(string) string) []string {
	var dirs []string
	if run := getenv("XDG_RUNTIME_DIR"); run != "" && run[0] == '/' {
		dirs = append(dirs, run+"/gatepass")
	}
	tmp := getenv("TMPDIR")
	if tmp == "" || tmp[0] != '/' {
		tmp = "/tmp"
	}
	perUser := "/gatepass-" + strconv.Itoa(os.Geteuid())
	dirs = append(dirs, tmp+perUser)
	if tmp != "/tmp" {
		dirs = append(dirs, "/tmp"+perUser) // if TMPDIR does not exist or its path is too long
	}
	return dirs
}

// makePrivate makes dir with mode 0700, or checks an existing one: it must be a real
// directory, owned by us and closed to others. It checks first: making costs more, and
// is needed once.
func makePrivate(dir string) error {
	var st syscall.Stat_t
	err := syscall.Lstat(dir, &st)
	if err == syscall.ENOENT {
		if err := syscall.Mkdir(dir, 0o700); err != nil && err != syscall.EEXIST {
			return &os.PathError{Op: "mkdir", Path: dir, Err: err}
		}
		err = syscall.Lstat(dir, &st)
	}
	if err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return &os.PathError{Op: "use", Path: dir, Err: errors.New("it must be a directory of this user with mode 0700")}
	}
	return nil
}

// Only the agent knows which variables a source reads, because it reads the workspace
// file. So it leaves a symbolic link beside its socket whose target names them; reading
// it costs the helper one system call. If the link is missing or wrong, no caller gets
// another's token: a call carries its identity, and the agent knows what its source
// reads.

// hintPath is the path of the link for a workspace file. If two files share one by
// chance, the only effect is more agents than needed.
func hintPath(directory, config string) string { return directory + "/" + configKey(config) + ".reads" }

// hinted returns the groups of variables that the source of a workspace file reads,
// according to the hint; all groups if there is none.
func hinted(directory, config string) string {
	var target [len(readsAll) + 2]byte
	n, err := syscall.Readlink(hintPath(directory, config), target[:])
	if err != nil || n < 1 || n > len(readsAll)+1 || target[0] != noReads[0] {
		return readsAll
	}
	return string(target[1:n])
}

// noReads starts a link's target, which must not be empty.
const noReads = "-"

// LocateFor is like Locate, for an agent that knows what the source of its workspace file
// reads. It leaves the hint for callers.
func LocateFor(config, reads string, getenv func(string) string) (Place, error) {
	p, err := Locate(config, getenv)
	if err != nil || p.Reads == reads {
		return p, err
	}
	if err := Hint(p.Directory, config, reads); err != nil {
		return Place{}, err
	}
	return Locate(config, getenv)
}

// Hint tells later callers what the source of a workspace file reads.
func Hint(directory, config, reads string) error {
	path := hintPath(directory, config)
	fresh, err := beside(path)
	if err != nil {
		return err
	}
	if err := os.Symlink(noReads+reads, fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		_ = os.Remove(fresh)
		return err
	}
	return nil
}

// configKey is the FNV-1a hash of the path.
func configKey(path string) string {
	h := uint64(14695981039346656037)
	for i := 0; i < len(path); i++ {
		h = (h ^ uint64(path[i])) * 1099511628211
	}
	return strconv.FormatUint(h, 16)
}
