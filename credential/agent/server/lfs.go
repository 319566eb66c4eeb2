package server

import "path"

// askedByLFS reports whether the caller is git-lfs, through "git credential", and not
// git on its way to a server. pid is the helper.
//
// git-lfs (since 3.6) sends the state[] of its latest answer with every later request,
// whether or not the server accepted the credential; from git, it means a 401.
func askedByLFS(pid int) bool {
	var buf [maxProc]byte
	for range maxAncestors {
		argv, err := readArguments(&buf, pid)
		if err != nil || pid <= 1 {
			return false
		}
		name, args := path.Base(argv[0]), argv[1:]
		if name == "git" {
			if args = afterOptions(args); len(args) > 0 {
				name = "git-" + args[0]
			}
		}
		switch name {
		case "git-lfs":
			return true
		case "git-remote-https", "git-remote-http":
			return false
		}
		pid = parentOf(&buf, pid)
	}
	return false
}
