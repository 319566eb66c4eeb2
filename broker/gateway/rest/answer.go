package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/mint"
)

// answer passes on GitHub's answer.
func (c *call) answer(resp *http.Response, watch *time.Timer) error {
	if resp.StatusCode < http.StatusOK {
		return unavailable("GitHub answered "+strconv.Itoa(resp.StatusCode), nil)
	}
	back := c.bases()
	location, err := c.location(resp, back)
	if err != nil {
		return err
	}
	if location != nil {
		resp.Body.Close()
		c.status = http.StatusOK
		return download{c.access.Upstream.Do, c.storage()}.serve(c.w, c.r, location)
	}
	body, err := c.answerBody(resp)
	if err != nil {
		return err
	}
	isLed := c.answerHeader(resp, back)
	note := c.note(resp)
	if note != "" {
		c.w.Header().Set(NoteHeader, note)
	}
	if body != nil && !isLed && body == io.Reader(resp.Body) && resp.ContentLength >= 0 {
		c.w.Header().Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	c.status = resp.StatusCode
	c.w.WriteHeader(c.status)
	switch {
	case body == nil:
		return nil
	case !isLed:
		return pump(c.r.Context(), c.w, body, maxAnswer, watch)
	case note != "":
		body = noted(body, note)
	}
	c.hasErrors, err = pumpRewritten(c.r.Context(), c.w, body, back, watch)
	return err
}

// answerHeader sets the headers that are passed on, and those of the workspace's budget.
// It reports whether the body is JSON, whose URLs are rewritten.
func (c *call) answerHeader(resp *http.Response, back bases) (isLed bool) {
	h := c.w.Header()
	copyHeaders(h, resp.Header, answered)
	if links := resp.Header.Get("Link"); isHeader(links) {
		h.Set("Link", back.rewriteLinks(links))
	}
	if resp.StatusCode == http.StatusNotModified { // GitHub does not count it either
		c.budget.undo(c.account(), c.now())
	}
	c.left().write(h)
	return isJSON(h.Get("Content-Type"))
}

// answerBody returns the body of GitHub's answer, decompressed; nil if there is none.
func (c *call) answerBody(resp *http.Response) (io.Reader, error) {
	isEmpty := c.r.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified || resp.ContentLength == 0
	if isEmpty {
		return nil, nil
	}
	body, err := decoded(resp)
	if err != nil {
		return nil, unavailable("GitHub's answer cannot be decompressed", err)
	}
	return body, nil
}

// location rewrites the Location header of an answer. If GitHub redirects a request to
// its storage, it returns that URL, to download from. It refuses other redirects.
func (c *call) location(resp *http.Response, back bases) (storage *url.URL, err error) {
	if resp.Header.Get("Location") == "" && !isRedirect(resp.StatusCode) {
		return nil, nil
	}
	to, err := resp.Location()
	if err != nil {
		return nil, unavailable("GitHub redirects this request without a Location", nil)
	}
	led, isAPI := back.rewrite(to.String())
	switch {
	case isAPI:
		c.w.Header().Set("Location", led)
	case !isRedirect(resp.StatusCode): // a created object's; the body names it, too
	case isSafe(c.r.Method):
		return to, nil
	default:
		return nil, unavailable("GitHub redirects this request out of its API", nil)
	}
	return nil, nil
}

// bases returns the replacements that turn URLs of GitHub's API into URLs of this
// gateway.
func (c *call) bases() bases {
	here, _ := access.Origin(c.r) // read has refused malformed Hosts
	api := strings.TrimSuffix(c.access.Upstream.API.String(), "/")
	return bases{{api, here + c.target.base}, {uploadsURL(c.access.Upstream.API), here + "/api/uploads"}}
}

// uploadsURL returns the URL for uploads that belongs to an API's URL.
func uploadsURL(api *url.URL) string {
	if rest, ok := strings.CutPrefix(api.Host, "api."); ok {
		return api.Scheme + "://uploads." + rest
	}
	return api.Scheme + "://" + api.Host + "/api/uploads"
}

// NoteHeader is added to a 403 by GitHub. It says which permissions GitHub wants and
// which the token has.
const NoteHeader = "Gatepass-Note"

// note says which permissions GitHub wants and which the token has, if GitHub refused the request
// for them; else it is "".
func (c *call) note(resp *http.Response) string {
	wanted := resp.Header.Get("X-Accepted-GitHub-Permissions")
	if resp.StatusCode != http.StatusForbidden || !isHeader(wanted) {
		return ""
	}
	return "GitHub requires " + wanted + "; the token of this workspace has " + mint.LevelsText(c.grant.Scope.Permissions()) +
		"; its profile decides; the gateway never gives the API a permission that moves refs: push with git"
}

// maxNoted bounds a refusal that gets a note, in bytes.
const maxNoted = 16 << 10

// noted adds a note to GitHub's refusal as one of its errors, which gh prints below the
// message. The rest of the refusal stays as GitHub wrote it. A refusal that already has
// errors is not changed.
func noted(body io.Reader, note string) io.Reader {
	raw, err := io.ReadAll(io.LimitReader(body, maxNoted+1))
	all := io.MultiReader(bytes.NewReader(raw), body)
	var fields map[string]json.RawMessage
	if err != nil || len(raw) > maxNoted || json.Unmarshal(raw, &fields) != nil || fields["message"] == nil || fields["errors"] != nil {
		return all
	}
	text, err := json.Marshal([]problemError{{"gatepass: " + note}})
	if err != nil {
		return all
	}
	end := bytes.LastIndexByte(raw, '}')
	return io.MultiReader(bytes.NewReader(raw[:end]), strings.NewReader(`,"errors":`+string(text)), bytes.NewReader(raw[end:]))
}

// A problemError is one of the errors of a refusal in GitHub's form.
type problemError struct {
	Message string `json:"message"`
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

// isJSON reports whether a body of a content type is JSON, as GitHub writes it.
func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// cloudVersion stands for a GitHub with every feature of github.com. gh takes every
// host other than github.com for an Enterprise Server, reads its version from /meta,
// and avoids features of later versions.
const cloudVersion = "3.99.0"

// maxMeta is the maximum size of GitHub's own answer to /meta, in bytes.
const maxMeta = 1 << 20

const metaWait = 20 * time.Second // for that answer

type meta struct {
	VerifiablePasswordAuthentication bool   `json:"verifiable_password_authentication"`
	InstalledVersion                 string `json:"installed_version"`
}

// meta answers GET /meta: with an Enterprise Server's own version, or else with
// cloudVersion.
func (c *call) meta() error {
	version := cloudVersion
	if strings.HasSuffix(c.access.Upstream.API.Path, "/api/v3") {
		if theirs := c.installedVersion(); theirs != "" {
			version = theirs
		}
	}
	return c.writeOwn(meta{InstalledVersion: version})
}

// installedVersion asks an Enterprise Server for its version; "" if it does not say.
func (c *call) installedVersion() string {
	if !c.caller.Repo.IsValid() || c.authorize() != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), metaWait)
	defer cancel()
	c.r = c.r.WithContext(ctx)
	resp, err := c.send(nil)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var theirs meta
	body, err := decoded(resp)
	if err != nil || resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(body, maxMeta)).Decode(&theirs) != nil || !isVersion(theirs.InstalledVersion) {
		return ""
	}
	return theirs.InstalledVersion
}

// isVersion reports whether text is a version such as "3.18.1".
func isVersion(text string) bool {
	return text != "" && len(text) < 32 && strings.Trim(text, "0123456789.") == "" && text[0] != '.'
}

// A rate is a rate limit in the form of GET /rate_limit.
type rate struct {
	Limit     int   `json:"limit"`
	Used      int   `json:"used"`
	Remaining int   `json:"remaining"`
	Reset     int64 `json:"reset"`
}

// rateLimit answers GET /rate_limit with the workspace's budget. As at GitHub, the
// request itself costs nothing.
func (c *call) rateLimit() error {
	shown := func(resource string) rate {
		left := c.budget.remaining(account{c.caller.ID, resource}, c.perHour(), c.now())
		return rate{left.limit, min(left.used, left.limit), left.remaining(), left.reset.Unix()}
	}
	core := shown(coreResource)
	return c.writeOwn(map[string]any{"resources": map[string]rate{coreResource: core, graphqlResource: shown(graphqlResource), "search": core}, "rate": core})
}

// writeOwn answers with the broker's own JSON.
func (c *call) writeOwn(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.left().write(c.w.Header())
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(idle)) // fails only in tests, without a connection
	c.status = http.StatusOK
	c.w.WriteHeader(c.status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body) // fails only if the client closed the connection
	}
	return nil
}
