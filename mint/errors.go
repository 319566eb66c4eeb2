package mint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/internal/gitname"
	"github.com/gatepass/gatepass/internal/redact"
)

// A Kind says why GitHub refused or failed.
type Kind int

// The kinds. The zero Kind is a refusal that no other kind describes.
const (
	Refused      Kind = iota
	BadKey            // the JWT's key or issuer is not the App's
	Skewed            // this machine's clock is off
	Suspended         // the installation is suspended
	NotInstalled      // no such installation
	NotGranted        // the installation lacks a repository or permission
	RateLimited       // come back later
	Unavailable       // GitHub is down, unreachable or sends invalid answers
	Renamed           // a repository has another name now
	Unsigned          // the App's key could not sign; GitHub was not asked
	Replaced          // another repository has the name of the intended one
	CodeSpent         // the code of a manifest was used, or is older than an hour
	BadToken          // an installation token is refused: it is too new, or no longer valid
	NotListed         // the account's IP allow list does not have this machine's address
)

// hints says what to do about each kind.
var hints = map[Kind]string{
	Refused:      "check the App's permissions there: gatepass app status",
	BadKey:       "check the App's ID and key: gatepass app key check",
	Skewed:       "set this machine's clock",
	Suspended:    "ask the account's owner to unsuspend the installation in its GitHub settings",
	NotInstalled: "install the App on that account, then run gatepass app discover",
	NotGranted:   "grant it to the App, and ask the owner to approve it: gatepass app status",
	RateLimited:  "try again later",
	Unavailable:  "try again later; see https://www.githubstatus.com",
	Renamed:      "write its new name in the profile",
	Unsigned:     "check that the key can be reached: gatepass app status",
	Replaced:     "check what happened to the old repository, and write the ID of the right one",
	NotListed:    "ask an owner of the account to add this machine's public address to its IP allow list",
	CodeSpent:    "a code works once, within an hour",
	BadToken:     "try again in a minute: GitHub may not know a new token yet",
}

// An Error is an error answer of GitHub, or a missing answer.
type Error struct {
	Kind       Kind
	Op         string        // "mint a token for installation 1"
	Status     int           // HTTP status; 0 if there was no answer
	Message    string        // GitHub's text, without secrets
	RequestID  string        // X-GitHub-Request-Id, for GitHub's support
	RetryAfter time.Duration // how long GitHub asks to wait; 0 if it does not say
	Err        error         // the cause, if there was no answer
	Now        string        // the new owner/name if Renamed and GitHub says it; else ""

	// Unconfirmed counts the attempts that GitHub may have carried out although no answer
	// arrived. A token minted that way lives for its hour, and is known only to GitHub.
	Unconfirmed int

	hint string // what to do; "" means the advice of Kind

	// For a rate limit: isExhausted means that the hourly limit is used up, of which
	// each installation and the App have their own; isUntold means that GitHub did not
	// say how long to wait.
	isExhausted, isUnstated bool
}

// Reason returns the reason alone, without how long to wait.
func (e *Error) Reason() string {
	why := e.Message
	if why == "" && e.Err != nil {
		why = redact.Text(e.Err.Error(), maxShown)
	}
	if e.Status != 0 {
		why = fmt.Sprintf("GitHub answered %d: %s", e.Status, why)
	}
	return why
}

// Hint returns what to do if there is more specific advice than that of Kind; else
// "".
func (e *Error) Hint() string { return e.hint }

func (e *Error) Error() string {
	why := e.Reason()
	if e.RetryAfter > 0 {
		why += " (wait " + e.RetryAfter.Round(time.Second).String() + ")"
	}
	text := e.Op + ": " + why
	if do := cmp.Or(e.hint, hints[e.Kind]); do != "" {
		text += "; " + do
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// maxShown is how much of GitHub's text an error shows, in bytes.
const maxShown = 300

// classify returns the Error for an error answer. now is the time by GitHub's clock,
// for an answer without a Date.
func classify(doing string, r *http.Response, said refusal, now time.Time) *Error {
	e := &Error{Op: doing, Status: r.StatusCode, Message: redact.Text(said.Message, maxShown), RequestID: r.Header.Get("X-GitHub-Request-Id")}
	if date, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		now = date
	}
	after, isTold := retryAfter(r.Header, now)
	e.RetryAfter = after
	lower := strings.ToLower(said.Message)
	switch {
	case r.StatusCode == http.StatusUnauthorized:
		e.Kind = BadKey
	case isRateLimit(r, said):
		e.Kind, e.isUnstated = RateLimited, !isTold
		e.isExhausted = r.Header.Get("Retry-After") == "" && r.Header.Get("X-RateLimit-Remaining") == "0"
	case r.StatusCode == http.StatusForbidden && strings.Contains(lower, "ip allow list"):
		e.Kind = NotListed
	case r.StatusCode == http.StatusForbidden && strings.Contains(lower, "suspended"):
		e.Kind = Suspended
	case r.StatusCode == http.StatusNotFound && strings.Contains(lower, "integration"):
		e.Kind = BadKey // no App with that issuer
	case r.StatusCode == http.StatusNotFound:
		e.Kind = NotInstalled
	case r.StatusCode == http.StatusUnprocessableEntity:
		e.Kind = NotGranted
	case r.StatusCode >= 500:
		e.Kind = Unavailable
	}
	return e
}

// isRateLimit reports whether GitHub asks for fewer requests. A secondary rate limit
// may be a 403 with requests left and without Retry-After; then only its text
// distinguishes it from a refusal
// (https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit).
func isRateLimit(r *http.Response, said refusal) bool {
	switch r.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
	default:
		return false
	}
	lower := strings.ToLower(said.Message)
	return r.Header.Get("Retry-After") != "" || r.Header.Get("X-RateLimit-Remaining") == "0" ||
		strings.Contains(lower, "rate limit") || strings.Contains(lower, "abuse detection") || strings.Contains(said.Docs, "rate-limit")
}

// maxRetry limits the wait that GitHub can ask for, so that a sum with it does not
// overflow.
const maxRetry = 24 * time.Hour

// retryAfter returns how long GitHub asks to wait: Retry-After in seconds or as a date,
// or the reset of an exhausted rate limit in Unix time
// (https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api).
// now is the time by GitHub's clock.
func retryAfter(h http.Header, now time.Time) (d time.Duration, isTold bool) {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetry), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetry), true
	}
	if h.Get("X-RateLimit-Remaining") != "0" {
		return 0, false
	}
	reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil {
		return 0, false
	}
	return min(max(time.Unix(reset, 0).Sub(now), 0), maxRetry), true
}

// ExplainRefusal finds out what of g GitHub does not grant; g must name its owner. The answer
// to a mint says only that something is not granted. ExplainRefusal returns nil if it finds no
// reason. It makes up to four requests, and one more for each missing repository.
func (a *App) ExplainRefusal(ctx context.Context, g Grant) error {
	found, err := a.Installation(ctx, g.Installation)
	if err != nil {
		return nil // the first answer says more than this error
	}
	if !isSame(found.Account.Login, g.Owner) {
		return renamedAccount(g.Owner, found.Account.Login)
	}
	if lacking := Lacking(g.Permissions.levels, found.Permissions); len(lacking) > 0 {
		return a.notApproved(ctx, found, lacking)
	}
	if len(g.Repositories.named()) == 0 {
		return nil
	}
	var why error
	err = withReader(ctx, a, g.Installation, func(r reader) error {
		why = r.explainAll(ctx, g)
		return nil
	})
	if err != nil {
		return nil
	}
	return why
}

// notApproved names the permissions that an installation lacks, what it grants, and
// who can change that where.
func (a *App) notApproved(ctx context.Context, i Installation, lacking map[string]string) error {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(lacking)) {
		granted := i.Permissions[name]
		if granted == "" {
			granted = "none"
		}
		texts = append(texts, fmt.Sprintf("%s: %s (granted: %s)", name, lacking[name], granted))
	}
	owner := "an owner of the organization " + i.Account.Login
	if i.Account.Type == "User" || i.TargetType == "User" {
		owner = "the user " + i.Account.Login
	}
	do := "ask " + owner + " to approve it: " + i.HTMLURL
	if self, err := a.Self(ctx); err == nil && len(Lacking(lacking, self.Permissions)) > 0 {
		do = "the App does not request it: add it to the permissions of the App " + self.Name + ", then " + do
	}
	return &Error{
		Kind: NotGranted, Op: "check the permissions", hint: do,
		Err: fmt.Errorf("the installation on %s lacks %s", i.Account.Login, strings.Join(texts, ", ")),
	}
}

// isSame reports whether two logins belong to the same account.
func isSame(one, other string) bool { return gitname.Fold(one) == gitname.Fold(other) }

func renamedAccount(was, now string) error {
	return &Error{
		Kind: Renamed, Op: "find the account " + was, Err: fmt.Errorf("its name is %s now", now),
		hint: "write " + now + " in the profile, and run gatepass app discover",
	}
}

// RenamedTo returns the current name of the owner of the token's repositories if it
// differs from owner, and "" otherwise.
func (m Minted) RenamedTo(owner string) string {
	for _, full := range m.Token.Repositories {
		if login, _, _ := strings.Cut(full, "/"); !isSame(login, owner) {
			return login
		}
	}
	return ""
}

// Renamed returns an [*Error] of kind [Renamed] if an account that GitHub does not know
// has another name now, and nil if that cannot be found out. For a former name of an
// account, GitHub answers as if there were no such account; but the installation that
// was on it, and the repositories in patterns, lead to the current one.
func (a *App) Renamed(ctx context.Context, owner string, installation int64, patterns []Pattern) error {
	if installation != 0 {
		if found, err := a.Installation(ctx, installation); err == nil && !isSame(found.Account.Login, owner) {
			return renamedAccount(owner, found.Account.Login)
		}
	}
	for _, p := range patterns {
		if p.star || p.owner != gitname.Fold(owner) {
			continue
		}
		_, err := a.InstallationFor(ctx, owner, p.name)
		if e, ok := errors.AsType[*Error](err); ok && e.Kind == Renamed {
			return e
		}
		return nil
	}
	return nil
}
