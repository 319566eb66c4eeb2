package rest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

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
		left := c.budget.look(account{c.caller.ID, resource}, c.perHour(), c.now())
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
		_, _ = c.w.Write(body) // fails only if the client has gone
	}
	return nil
}
