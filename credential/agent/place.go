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
		return &os.PathError{Op: "use", Path: dir, Err: errors.New("it is not a directory of ours that is closed to others")}
	}
	return nil
}
