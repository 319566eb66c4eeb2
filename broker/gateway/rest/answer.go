package rest

import (
	"bytes"
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
	h := c.w.Header()
	copyHeaders(h, resp.Header, answered)
	if links := resp.Header.Get("Link"); isHeader(links) {
		h.Set("Link", back.leadLinks(links))
	}
	if resp.StatusCode == http.StatusNotModified { // GitHub does not count it either
		c.budget.giveBack(c.account(), c.now())
	}
	c.left().write(h)
	isLed := isJSON(h.Get("Content-Type"))
	if note := c.note(resp); note != "" {
		h.Set(NoteHeader, note)
		if body != nil && isLed {
			body = noted(body, note)
		}
	}
	if body != nil && !isLed && body == io.Reader(resp.Body) && resp.ContentLength >= 0 {
		h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	c.status = resp.StatusCode
	c.w.WriteHeader(c.status)
	switch {
	case body == nil:
		return nil
	case isLed:
		c.hasErrors, err = pumpLed(c.r.Context(), c.w, body, back, watch)
		return err
	}
	return pump(c.r.Context(), c.w, body, maxAnswer, watch)
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
		return nil, unavailable("GitHub redirects this request to nowhere", nil)
	}
	led, isAPI := back.lead(to.String())
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
	return "GitHub wants " + wanted + "; the token of this workspace has " + mint.LevelsText(c.grant.Scope.Permissions()) +
		"; its profile decides, and what moves refs is never given here: push with git"
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
