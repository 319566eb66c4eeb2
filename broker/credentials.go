package broker

import (
	"fmt"
	"net/http"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential/protocol"
	"github.com/gatepass/gatepass/internal/gitname"
)

// credentials answers POST /v1/git-credentials: git's request in, git's answer
// out (https://git-scm.com/docs/git-credential#IOFMT), for a client that is no
// more than a shell script. The operation is a write: the format has no word for
// it. What is not for this broker is answered with nothing.
func (b *Broker) credentials(c *call) error {
	if c.r.Method != http.MethodPost {
		return NotAllowed(c.w, http.MethodPost)
	}
	w, err := b.identify(c)
	if err != nil {
		return err
	}
	body, err := readOf(b, c, w, maxCredentials, func(w http.ResponseWriter, r *http.Request) ([]byte, error) {
		return api.ReadBody(w, r, maxCredentials)
	})
	if err != nil {
		return err
	}
	request, err := credentialRequest(body)
	if err != nil {
		return err
	}
	g, err := b.Vend(c.r.Context(), w, request)
	if err != nil {
		return err
	}
	c.cached = g.Cached
	h := c.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, err = fmt.Fprintf(c.w, "username=%s\npassword=%s\npassword_expiry_utc=%d\n", g.Token.Login(), g.Token.Secret(), g.Token.Expiry.Unix())
	return err
}

// credentialRequest reads git's format.
func credentialRequest(body []byte) (api.TokenRequest, error) {
	request, err := protocol.ParseRequest(body)
	if err != nil {
		return api.TokenRequest{}, BadRequest("the request is not in the format of git-credential")
	}
	host, ok := gitname.Host(request.Host)
	if request.Protocol != "https" || !ok {
		return api.TokenRequest{}, &Refusal{Status: http.StatusNoContent, Reason: ReasonHost, Detail: "this broker serves https only"}
	}
	var repo gitname.Repo
	repo.Owner, repo.Name, ok = request.Repository()
	if !ok {
		return api.TokenRequest{}, BadRequest("the request names no repository; set credential.useHttpPath")
	}
	return api.TokenRequest{Host: host, Repo: repo, Operation: api.Write}, nil
}
