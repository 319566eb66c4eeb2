package fakegithub

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// conditional gives the answer to a GET its ETag, and makes it a 304 where the caller has
// it already. As at GitHub, a 304 is not counted by the rate limit.
func (c call) conditional(header http.Header, a answer) answer {
	if c.r.Method != http.MethodGet || a.status != http.StatusOK {
		return a
	}
	if _, page := a.body.(webPage); page {
		return a
	}
	raw, err := json.Marshal(a.body)
	if err != nil {
		return a
	}
	sum := sha256.Sum256(raw)
	tag := fmt.Sprintf(`"%x"`, sum)
	header.Set("ETag", "W/"+tag)
	header.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	header.Set("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP")
	if !strings.Contains(c.r.Header.Get("If-None-Match"), tag) {
		return a
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	w := c.window()
	w.used = max(0, w.used-1)
	w.writeTo(header)
	return answer{status: http.StatusNotModified, header: a.header}
}
