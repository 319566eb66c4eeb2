package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
)

// statePrefix marks the state[] values that are ours; git hands every helper
// those of the others too.
const statePrefix = "gatepass:"

// An Answer is what a program prints and exits with. Stdout is complete or
// empty: git uses it even when the helper exits with an error.
type Answer struct {
	Stdout []byte
	Stderr string
	Exit   int
}

// A Responder answers git's operations from a Source. Cache, when not nil, is
// the one inside Source; it is told of rejected tokens.
type Responder struct {
	Source Source
	Cache  *Cache
}

// Get answers "git-credential-gatepass get": the credential, nothing where the
// request is not ours, or one line on stderr and quit=1, so that git neither
// prompts nor asks other helpers.
//
// A token from the cache carries state and continue=1 (git 2.46 and later):
// should the server answer 401, git asks again with that state, the token is
// dropped, and a fresh one is fetched within the same git command. continue=1
// is said once only; a second time makes git die without a word.
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

// dropRejected reports whether git says, by our state, that the token it was
// given did not work; that token is then rejected.
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

// Erase answers "erase". Only the token that equals the one erased is dropped.
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

// Password answers an askpass question for the password: the token and a line
// end, or nothing and exit status 1. askpass programs keep quiet on stderr:
// git-lfs takes any text there for a failure.
func (r *Responder) Password(ctx context.Context, req Request) Answer {
	tok, err := r.Source.Token(ctx, req)
	if err != nil || checkLogin(tok, req) != nil {
		return Answer{Exit: 1}
	}
	return Answer{Stdout: []byte(tok.Secret() + "\n")}
}

// secretOf is the token inside an erase request: the password, or what follows
// the user name in a Basic credential. Anything else equals no token.
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

// login is the user name to answer with: the one git was given stays.
func login(tok Token, req Request) string {
	if req.Username != "" {
		return req.Username
	}
	return tok.Login()
}

// checkLogin keeps a user name from a server out of the answer where it could
// break it: a line end makes a new attribute, a colon moves into the password.
func checkLogin(tok Token, req Request) error {
	if err := CheckSecret(tok.Secret()); err != nil {
		return err
	}
	name := login(tok, req)
	for i := 0; i < len(name); i++ {
		if name[i] < ' ' || name[i] > '~' {
			return usererr.New("answer git", "the user name "+strconv.Quote(name)+" has letters outside ASCII", "take it out of the URL")
		}
	}
	if strings.Contains(name, ":") && req.AuthType {
		return usererr.New("answer git", "the user name "+strconv.Quote(name)+" has a colon", "take it out of the URL")
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

// explain puts words to the errors of the standard library that say too little.
func explain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &usererr.Error{
			Op: "get a token", Reason: "no answer from the source in time", Err: err,
			Hint: "try again, or give it longer with GATEPASS_TIMEOUT",
		}
	}
	return err
}
