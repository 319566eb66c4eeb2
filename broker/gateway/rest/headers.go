package rest

import (
	"net/http"
	"strings"

	"github.com/gatepass/gatepass/internal/version"
)

// asked are the request headers that are forwarded to GitHub: about the form of the
// answer, about caches, and about the body. Headers that identify the caller are not
// among them.
var asked = []string{
	"Accept", "Content-Type", "GraphQL-Features", "If-Match", "If-Modified-Since", "If-None-Match",
	"If-Unmodified-Since", "Range", "If-Range", "Time-Zone", "X-GitHub-Api-Version", "X-GitHub-Next-Global-ID",
}

// answered are the headers of GitHub's answer that are passed on. Link and Location are
// rewritten, and Content-Length is kept if the body is unchanged.
var answered = []string{
	"Accept-Ranges", "Allow", "Cache-Control", "Content-Disposition", "Content-Language", "Content-Range", "Content-Type",
	"Deprecation", "ETag", "Last-Modified", "Retry-After", "Sunset", "Vary",
	"X-Accepted-GitHub-Permissions", "X-GitHub-Api-Version-Selected", "X-GitHub-Enterprise-Version", "X-GitHub-Media-Type",
	"X-GitHub-Request-Id", "X-Poll-Interval",
	"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-RateLimit-Resource", "X-RateLimit-Used",
}

// stored are the headers that are passed on of a storage host's answer.
var stored = []string{
	"Accept-Ranges", "Content-Disposition", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "ETag", "Last-Modified",
}

const maxHeader = 4 << 10 // bytes of one header; a longer one is left out

// copyHeaders copies the headers in names that have exactly one value, which must be
// valid text.
func copyHeaders(to, from http.Header, names []string) {
	for _, name := range names {
		if values := from.Values(name); len(values) == 1 && isHeader(values[0]) {
			to.Set(name, values[0])
		}
	}
}

func isHeader(value string) bool {
	if value == "" || len(value) > maxHeader {
		return false
	}
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// agent is the User-Agent of all forwarded requests: GitHub refuses requests without
// one.
var agent = "gatepass-broker/" + version.String()

// upstreamHeader returns the headers of the request to GitHub, with the token.
func upstreamHeader(r *http.Request, secret string) http.Header {
	h := http.Header{}
	copyHeaders(h, r.Header, asked)
	h.Set("User-Agent", agent)
	h.Set("Accept-Encoding", "gzip")
	h.Set("Authorization", "Bearer "+secret)
	return h
}

// isJSON reports whether a body of a content type is JSON, as GitHub writes it.
func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}
