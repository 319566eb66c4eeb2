package fakegithub

import (
	"net/http"
	"strings"
)

// A presented credential, by scheme: "basic", "bearer", "token", "unknown" for
// anything else in an Authorization header, and "" for no header.
type presented struct {
	scheme string
	secret string // Basic: the password
}

func credentialOf(r *http.Request) presented {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return presented{}
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	scheme = strings.ToLower(scheme)
	_, password, basic := r.BasicAuth()
	switch {
	case len(values) > 1:
		return presented{scheme: "unknown"}
	case basic:
		return presented{"basic", password}
	case scheme == "bearer" || scheme == "token":
		return presented{scheme, rest}
	}
	return presented{scheme: "unknown"}
}
