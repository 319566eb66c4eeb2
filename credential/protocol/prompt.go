package protocol

import (
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/internal/gitname"
)

// A Prompt is an askpass prompt about an https URL.
type Prompt struct {
	Request
	WantsPassword bool // false means that the user name is wanted
}

// promptForm is the text of one client's prompt before and after the URL.
type promptForm struct{ open, close string }

// The forms of git (credential.c), git-lfs (creds.go) and gitoxide (gix-prompt). They
// are never translated.
var promptForms = []promptForm{
	{" for 'https://", "': "},
	{" for \"https://", "\""},
	{" for https://", ": "},
}

// ParsePrompt reads the one argument of an askpass program. It returns ErrMalformed for
// anything that is not exactly a prompt about an https URL: ssh passphrases, host keys,
// other schemes, and URLs that two readers could read differently (a second "@", or one
// after the first slash).
func ParsePrompt(arg string) (Prompt, error) {
	question, rest, ok := cutQuestion(arg)
	if !ok || hasControl(arg) || len(arg) > MaxLine {
		return Prompt{}, ErrMalformed
	}
	for _, form := range promptForms {
		url, ok := between(rest, form)
		if !ok {
			continue
		}
		request, err := parsePromptURL(url)
		return Prompt{Request: request, WantsPassword: question == "Password"}, err
	}
	return Prompt{}, ErrMalformed
}

func cutQuestion(arg string) (question, rest string, ok bool) {
	for _, question := range []string{"Username", "Password"} {
		if rest, ok := strings.CutPrefix(arg, question); ok {
			return question, rest, true
		}
	}
	return "", "", false
}

func between(s string, form promptForm) (string, bool) {
	s, ok := strings.CutPrefix(s, form.open)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, form.close)
}

func parsePromptURL(url string) (Request, error) {
	if strings.ContainsAny(url, "'\" \t\\?#") {
		return Request{}, ErrMalformed
	}
	authority, path, _ := strings.Cut(url, "/")
	if strings.Contains(path, "@") || strings.Count(authority, "@") > 1 {
		return Request{}, ErrMalformed // "https://github.com/x@evil.example": a user or a path?
	}
	user, host, hasUser := cutLast(authority, "@")
	host, ok := gitname.Host(host)
	if !ok {
		return Request{}, ErrMalformed
	}
	user, okUser := unescape(user)
	path, okPath := unescape(strings.Trim(path, "/"))
	if !okUser || !okPath {
		return Request{}, ErrMalformed
	}
	return Request{Protocol: "https", Host: host, Path: path, Username: user, HasUsername: hasUser}, nil
}

// unescape decodes git's percent-encoding (2.48.1 and later). It refuses an escaped
// control character.
func unescape(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), !hasControl(b.String())
}
