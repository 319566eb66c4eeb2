package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/broker/gateway/access"
)

const (
	authorPause   = time.Minute      // pause after GitHub did not name the bot
	authorTimeout = 20 * time.Second // for GitHub's answers
	authorWait    = 2 * time.Second  // for which a session request waits; then it is answered without an author
)

// bots caches the logins of the Apps' bots. GitHub shows an App's actions under its
// bot's name.
type bots struct {
	apps     *apps
	upstream *access.Upstream
	log      *slog.Logger

	mu     sync.Mutex // guards logins; held during requests to GitHub, so that one serves all
	logins map[string]string

	authorMu sync.Mutex // guards the rest
	authors  map[string]*author
}

// author is the bot of one App as an author of commits.
type author struct {
	known  api.Author // zero until GitHub has answered
	isOwn  bool       // known is this App's bot; false while another App answered for it
	asked  time.Time
	asking chan struct{} // closed when GitHub has answered; nil before the first request
}

// login returns the login of an App's bot, such as "gatepass[bot]". id is the App's
// client ID. If no loaded App has it, login uses any App, and isOwn is false.
func (b *bots) login(ctx context.Context, id string) (login string, isOwn bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if login := b.logins[id]; login != "" {
		return login, true, nil
	}
	app, err := b.apps.any(ctx)
	if err != nil {
		return "", false, err
	}
	for _, one := range b.apps.all() {
		if is := one.usable.Load(); is != nil && is.ID == id {
			app = is
		}
	}
	if limit := app.Paused(); limit != nil && limit.RetryAfter > maxQueue {
		return "", false, limit
	}
	self, err := app.Self(ctx)
	if err != nil {
		return "", false, err
	}
	login = self.Slug + "[bot]"
	if id != "" && app.ID != id {
		return login, false, nil // the App may be loaded later
	}
	if b.logins == nil {
		b.logins = map[string]string{}
	}
	b.logins[id] = login
	return login, true, nil
}

// anyLogin is login for a caller that does not keep the result.
func (b *bots) anyLogin(ctx context.Context, id string) (string, error) {
	login, _, err := b.login(ctx, id)
	return login, err
}

// author returns the bot of an App as an author of commits; id is the App's client ID, or
// "" for the first App. It asks GitHub in the background and waits a moment, so that
// sessions are also given while GitHub does not answer.
func (b *bots) author(ctx context.Context, id string) api.Author {
	b.authorMu.Lock()
	one := b.authors[id]
	if one == nil {
		if b.authors == nil {
			b.authors = map[string]*author{}
		}
		one = new(author)
		b.authors[id] = one
	}
	if !one.isOwn && (one.asking == nil || isClosed(one.asking) && time.Since(one.asked) >= authorPause) {
		one.asked, one.asking = time.Now(), make(chan struct{})
		go b.learnAuthor(context.WithoutCancel(ctx), id, one, one.asking)
	}
	asking := one.asking
	b.authorMu.Unlock()
	select {
	case <-asking:
	case <-ctx.Done():
	case <-time.After(authorWait):
	}
	b.authorMu.Lock()
	defer b.authorMu.Unlock()
	return one.known
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (b *bots) learnAuthor(ctx context.Context, id string, one *author, done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(ctx, authorTimeout)
	defer cancel()
	known, isOwn, err := b.fetchAuthor(ctx, id)
	if err != nil {
		b.log.Warn("GitHub does not name the App's bot, so sessions have no author for commits; set author in the workspace file", "error", err.Error())
		return
	}
	b.authorMu.Lock()
	defer b.authorMu.Unlock()
	one.known, one.isOwn = known, isOwn
}

// fetchAuthor asks GitHub for the author; see login for isOwn.
func (b *bots) fetchAuthor(ctx context.Context, id string) (bot api.Author, isOwn bool, err error) {
	if id == "" {
		first, err := b.apps.get(ctx)
		if err != nil {
			return bot, false, err
		}
		id = first.ID
	}
	login, isOwn, err := b.login(ctx, id)
	if err != nil {
		return bot, false, err
	}
	user, err := b.userID(ctx, login)
	if err != nil {
		return bot, false, err
	}
	email := login + "@users.noreply." + b.upstream.Git.Hostname()
	if user != 0 {
		email = strconv.FormatInt(user, 10) + "+" + email
	}
	return api.Author{Name: login, Email: email}, isOwn, nil
}

// maxUser is the maximum size of GitHub's answer about a user, in bytes.
const maxUser = 1 << 20

// userID returns a bot's id, which it asks for without a token. It is 0 if GitHub does
// not show the bot: because its App is private, or the Enterprise Server is in private
// mode. GitHub also recognizes the bot by an address without the id.
func (b *bots) userID(ctx context.Context, login string) (int64, error) {
	to := strings.TrimSuffix(b.upstream.API.String(), "/") + "/users/" + url.PathEscape(login)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("User-Agent", access.UserAgent)
	resp, err := b.upstream.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusUnauthorized:
		return 0, nil
	case resp.StatusCode != http.StatusOK:
		return 0, errors.New("ask GitHub for the user " + login + ": it answered " + strconv.Itoa(resp.StatusCode))
	}
	var user struct {
		ID    int64
		Login string
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxUser)).Decode(&user); err != nil || user.ID <= 0 || !strings.EqualFold(user.Login, login) {
		return 0, errors.New("ask GitHub for the user " + login + ": the answer is not about that user")
	}
	return user.ID, nil
}
