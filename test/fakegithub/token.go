package fakegithub

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// tokenLife is how long GitHub lets an installation token live.
const tokenLife = time.Hour

// maxRepositories is how many repositories one token may be limited to.
const maxRepositories = 500

type tokenKey [sha256.Size]byte

// issued is a token in the server's state, without the token itself.
type issued struct {
	installation *installed
	permissions  Permissions
	narrowed     bool           // limited to repositories; otherwise it has all of the installation
	repositories map[int64]bool // IDs, when narrowed
	created      time.Time
	expires      time.Time
	lag          lag // in force when it was made
}

// A Token describes a live token without containing it.
type Token struct {
	Hash           string // base64(sha256(token)), as in GitHub's audit log
	InstallationID int64
	Permissions    Permissions
	Repositories   []string // full names of all repositories that it reaches now, sorted
	Created        time.Time
	Expires        time.Time
}

// A scope is the requested limits of a token. As at GitHub, an empty part means
// everything that the installation has.
type scope struct {
	names       []string
	ids         []int64
	permissions Permissions
}

// The texts of GitHub's refusals of a mint.
const (
	msgNoRepository   = "There is at least one repository that does not exist or is not accessible to the parent installation."
	msgNoPermission   = "The permissions requested are not granted to this installation."
	msgBadCredentials = "Bad credentials"
	msgSuspended      = "This installation has been suspended"
	msgTooMany        = "A maximum of 500 repositories can be requested."
)

// Hash returns a token's hash in the form of Requests, Tokens and GitHub's audit log.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// mint makes a token. The caller must hold s.mu.
func (s *Server) mint(in *installed, want scope, stateless bool) (string, *issued, *refusal) {
	if !in.suspended.IsZero() {
		return "", nil, refuse(http.StatusForbidden, msgSuspended)
	}
	now := s.Now()
	t := &issued{installation: in, created: now, expires: now.Add(tokenLife).Truncate(time.Second), lag: s.state.lag}
	if no := s.state.narrow(t, want); no != nil {
		return "", nil, no
	}
	token := newToken(in.app.ID, now, stateless)
	s.state.tokens[sha256.Sum256([]byte(token))] = t
	return token, t, nil
}

func (st *state) narrow(t *issued, want scope) *refusal {
	if len(want.names)+len(want.ids) > maxRepositories {
		return refuse(http.StatusUnprocessableEntity, msgTooMany)
	}
	if len(want.names) > 0 && len(want.ids) > 0 {
		return loudly("repositories and repository_ids together are not documented")
	}
	t.narrowed = len(want.names)+len(want.ids) > 0
	t.repositories = map[int64]bool{}
	for _, name := range want.names {
		want.ids = append(want.ids, st.names[fold(t.installation.account.login+"/"+name)])
	}
	for _, id := range want.ids {
		repo := st.repositories[id]
		if repo == nil || !t.installation.reaches(repo) {
			return refuse(http.StatusUnprocessableEntity, msgNoRepository)
		}
		t.repositories[id] = true
	}
	t.permissions = want.permissions.withMetadata()
	if len(want.permissions) == 0 {
		t.permissions = maps.Clone(t.installation.permissions)
	}
	if !t.installation.permissions.covers(t.permissions) {
		return refuse(http.StatusUnprocessableEntity, msgNoPermission)
	}
	return nil
}

// reaches reports whether the token has the repository now. It never has more than its
// installation.
func (t *issued) reaches(repo *Repository) bool {
	return t.installation.reaches(repo) && (!t.narrowed || t.repositories[repo.ID])
}

// allows reports whether the token has the permission now.
func (t *issued) allows(name, level string) bool {
	return t.permissions.Allows(name, level) && t.installation.permissions.Allows(name, level)
}

// token finds a live token. The caller must hold s.mu. Tokens of a removed installation
// are dead; those of a suspended one are not.
func (s *Server) token(secret string) *issued {
	t := s.state.tokens[sha256.Sum256([]byte(secret))]
	if t == nil || !s.Now().Before(t.expires) || s.state.installations[t.installation.id] != t.installation {
		return nil
	}
	return t
}

// MintFor mints without a JWT, for tests of later steps. Empty repos and permissions
// mean everything, as at GitHub; repos are names without the owner.
func (s *Server) MintFor(installationID int64, repos []string, permissions Permissions) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.state.installations[installationID]
	if in == nil {
		return "", errUnknownInstallation
	}
	token, _, no := s.mint(in, scope{names: repos, permissions: permissions}, s.opts.StatelessTokens)
	if no != nil {
		return "", fmt.Errorf("mint for installation %d: %s", installationID, no.message)
	}
	return token, nil
}

// Revoke revokes a token and reports whether it was live.
func (s *Server) Revoke(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.token(token) != nil
	delete(s.state.tokens, sha256.Sum256([]byte(token)))
	return live
}

// Tokens returns the live tokens, oldest first.
func (s *Server) Tokens() []Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Token
	for key, t := range s.state.tokens {
		if !s.Now().Before(t.expires) || s.state.installations[t.installation.id] != t.installation {
			continue
		}
		out = append(out, Token{
			Hash:           base64.StdEncoding.EncodeToString(key[:]),
			InstallationID: t.installation.id,
			Permissions:    maps.Clone(t.permissions),
			Repositories:   s.state.fullNames(t),
			Created:        t.created,
			Expires:        t.expires,
		})
	}
	slices.SortFunc(out, func(a, b Token) int { return a.Created.Compare(b.Created) })
	return out
}

func (st *state) fullNames(t *issued) []string {
	var out []string
	for _, repo := range st.repositoriesOf(t.installation) {
		if t.reaches(repo) {
			out = append(out, repo.FullName())
		}
	}
	slices.Sort(out)
	return out
}

// newToken makes the opaque form, ghs_ and 36 characters, or the long form, whose
// length varies around 520. Clients must not parse either, so even the long form's
// signature is random.
func newToken(appID int64, now time.Time, stateless bool) string {
	if !stateless {
		return "ghs_" + randomBase62(36)
	}
	header := `{"alg":"RS256","typ":"JWT"}`
	claims := fmt.Sprintf(`{"iat":%d,"exp":%d,"jti":%q}`, now.Unix(), now.Add(tokenLife).Unix(), randomBase62(32))
	signature := make([]byte, 256)
	_, _ = rand.Read(signature) // never fails
	b64 := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf("ghs_%d_%s.%s.%s", appID, b64([]byte(header)), b64([]byte(claims)), b64(signature))
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func randomBase62(n int) string {
	out := make([]byte, n)
	for i := range out {
		k, _ := rand.Int(rand.Reader, big.NewInt(int64(len(base62)))) // never fails
		out[i] = base62[k.Int64()]
	}
	return string(out)
}

// A presented is a credential by scheme: "basic", "bearer", "token", "unknown" for
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

// Permissions maps GitHub's permission names to "read", "write" or "admin".
type Permissions map[string]string

var levels = map[string]int{"read": 1, "write": 2, "admin": 3}

// Allows reports whether p has the permission at the level or above.
func (p Permissions) Allows(name, level string) bool {
	return levels[level] > 0 && levels[p[name]] >= levels[level]
}

// covers reports whether p allows everything that want does.
func (p Permissions) covers(want Permissions) bool {
	for name, level := range want {
		if !p.Allows(name, level) {
			return false
		}
	}
	return true
}

// withMetadata adds what GitHub adds to every non-empty set: an App with any permission
// for a repository may also read its metadata.
func (p Permissions) withMetadata() Permissions {
	out := maps.Clone(p)
	if len(out) > 0 && out["metadata"] == "" {
		out["metadata"] = "read"
	}
	return out
}

func (p Permissions) validate() error {
	for name, level := range p {
		if levels[level] == 0 || name == "" {
			return fmt.Errorf("permission %q: level %q is not read, write or admin", name, level)
		}
	}
	return nil
}
