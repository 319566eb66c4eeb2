package signer

import (
	"net/url"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
)

// CheckURL returns an error unless u is of that scheme, without user, password,
// fragment and query. form is the hint to write another. what begins errors about u.
func CheckURL(u *url.URL, scheme, form string) (what string, err error) {
	what = "signer " + scheme + "://" + u.Host + u.Path
	switch {
	case u.Scheme != scheme:
		return what, usererr.New("signer", "its scheme is not "+scheme, form)
	case u.User != nil || u.Opaque != "" || u.Fragment != "":
		return what, usererr.New("signer "+scheme+"://"+u.Host, "a key's URL has no user, password or fragment", form)
	case u.RawQuery != "" || u.ForceQuery:
		return what, usererr.New(what, "it has a query, and a key needs none", "take the part from ? on away")
	}
	return what, nil
}

// IsName reports whether s is letters, digits and any of marks, between one and max
// bytes long.
func IsName(s, marks string, max int) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		isAlnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !isAlnum && strings.IndexByte(marks, c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= max
}
