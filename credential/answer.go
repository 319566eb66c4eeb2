package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
)

// statePrefix marks our state[] values; git passes every helper those of the others
// too.
const statePrefix = "gatepass:"

// An Answer is what a program prints, and its exit status. Stdout is complete or empty:
// git uses it even when the helper exits with an error.
type Answer struct {
	Stdout []byte
	Stderr string
	Exit   int
}

// A Responder answers git's operations from a Source. Cache, if not nil, is the cache
// inside Source; the Responder tells it about rejected tokens.
type Responder struct {
	Source Source
	Cache  *Cache
}

// Get answers "git-credential-gatepass get". The answer is the credential; empty if the
// request is for another host; or one line on stderr and quit=1, so that git neither
// prompts nor asks other helpers.
//
// A token from the cache carries state and continue=1 (git 2.46 and later). If the
// server then answers 401, git asks again with that state; Get drops the token and
// fetches a fresh one within the same git command. It sends continue=1 only once,
// because git dies silently the second time.
func (r *Responder) Get(ctx context.Context, req Request) Answer {
	retry := r.dropRejected(req)
	tok, err := r.Source.Token(ctx, req)
	if errors.Is(err, ErrNoCredential) {
		return Answer{}
	}
	if err == nil {
		err = checkLogin(tok, req)
	}
	if err != nil {
		return Answer{Stdout: []byte("quit=1\n"), Stderr: usererr.Line(explain(err))}
	}
	return Answer{Stdout: format(tok, req, tok.Cached() && req.Multi && !retry)}
}

// dropRejected drops the token that git reports, through our state, as rejected. It
// reports whether there was such a state.
func (r *Responder) dropRejected(req Request) bool {
	retry := false
	for _, s := range req.State {
		print, ours := strings.CutPrefix(s, statePrefix)
		if !ours {
			continue
		}
		retry = true
		if r.Cache != nil {
			r.Cache.RejectPrint(req, print)
		}
	}
	return retry
}

// Erase answers "erase". It drops only a token that equals the erased one.
func (r *Responder) Erase(req Request) Answer {
	switch {
	case r.Cache == nil:
	case req.HasSecret:
		r.Cache.Reject(req, secretOf(req))
	default:
		r.Cache.Forget(req)
	}
	return Answer{}
}

// Password answers an askpass prompt for the password: the token and a line end, or
// nothing and exit status 1. It leaves Stderr empty, because git-lfs takes any text
// there as a failure.
func (r *Responder) Password(ctx context.Context, req Request) Answer {
	tok, err := r.Source.Token(ctx, req)
	if err != nil || checkLogin(tok, req) != nil {
		return Answer{Exit: 1}
	}
	return Answer{Stdout: []byte(tok.Secret() + "\n")}
}

// secretOf returns the token inside an erase request: the password, or what follows the
// user name in a Basic credential. Anything else matches no token.
func secretOf(req Request) string {
	if !strings.EqualFold(req.Scheme, "basic") {
		return req.Secret
	}
	plain, err := base64.StdEncoding.DecodeString(req.Secret)
	if err != nil {
		return req.Secret
	}
	_, password, _ := strings.Cut(string(plain), ":")
	return password
}

// login returns the user name of the answer. A user name from git stays.
func login(tok Token, req Request) string {
	if req.Username != "" {
		return req.Username
	}
	return tok.Login()
}

// checkLogin refuses a token or user name that could break the answer: a line end
// starts a new attribute, and a colon moves part of the name into the password.
func checkLogin(tok Token, req Request) error {
	if err := CheckSecret(tok.Secret()); err != nil {
		return err
	}
	name := login(tok, req)
	for i := 0; i < len(name); i++ {
		if name[i] < ' ' || name[i] > '~' {
			return usererr.New("answer git", "the user name "+strconv.Quote(name)+" has characters outside ASCII", "remove it from the URL")
		}
	}
	if strings.Contains(name, ":") && req.AuthType {
		return usererr.New("answer git", "the user name "+strconv.Quote(name)+" has a colon", "remove it from the URL")
	}
	return nil
}

func format(tok Token, req Request, canRetry bool) []byte {
	var b strings.Builder
	line := func(key, value string) { b.WriteString(key + "=" + value + "\n") }
	if req.AuthType {
		line("capability[]", "authtype")
	}
	if canRetry {
		line("capability[]", "state")
	}
	if req.AuthType {
		line("authtype", "Basic")
		line("credential", base64.StdEncoding.EncodeToString([]byte(login(tok, req)+":"+tok.Secret())))
		line("ephemeral", "1")
	} else {
		line("username", login(tok, req))
		line("password", tok.Secret())
	}
	line("password_expiry_utc", strconv.FormatInt(tok.Expiry.Unix(), 10))
	if canRetry {
		line("state[]", statePrefix+tok.Fingerprint())
		line("continue", "1")
	}
	return []byte(b.String())
}

// explain rewords errors of the standard library that say too little.
func explain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &usererr.Error{
			Op: "get a token", Reason: "the source did not answer in time", Err: err,
			Hint: "try again, or set a longer GATEPASS_TIMEOUT",
		}
	}
	return err
}
