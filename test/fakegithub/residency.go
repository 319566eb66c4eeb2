package fakegithub

import (
	"net/http"
	"strings"
)

// serveResident answers as a host with data residency does: git at https://SUB.ghe.com, and
// the API at https://api.SUB.ghe.com, with the paths of api.github.com.
func (s *Server) serveResident(w http.ResponseWriter, r *http.Request) {
	git, isGit := parseGitPath(r.URL.EscapedPath())
	lfs, isLFS := parseLFSPath(r.URL.EscapedPath())
	isWeb, isAPI := r.Host == s.opts.Residency, r.Host == "api."+s.opts.Residency
	switch {
	case isWeb && isLFS:
		s.serveLFS(w, r, lfs)
	case isWeb && isGit:
		s.serveGit(w, r, git)
	case isAPI && !isLFS && !isGit && !strings.HasPrefix(r.URL.Path, "/api/"):
		s.serveREST(w, r)
	default:
		http.NotFound(w, r)
	}
}

// webHost is the host of the pages that belong to an API.
func (s *Server) webHost(host string) string {
	if s.opts.Residency == "" {
		return host
	}
	return strings.TrimPrefix(host, "api.")
}

// names are those that the certificate is for.
func (s *Server) names() []string {
	if s.opts.Residency == "" {
		return s.opts.Names
	}
	return append([]string{s.opts.Residency, "api." + s.opts.Residency}, s.opts.Names...)
}
