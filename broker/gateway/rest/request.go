package rest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/internal/gitname"
)

// maxBody is the maximum size of a request's body, in bytes.
const maxBody = 16 << 20

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// read parses and checks the request, before the caller is known.
func (c *call) read() (err error) {
	c.target, err = parseTarget(c.r.Host, c.r.RequestURI)
	switch {
	case errors.Is(err, errArea), errors.Is(err, errRepo):
		return notHere(err.Error())
	case err != nil:
		return broker.BadRequest(err.Error())
	}
	if _, ok := access.Origin(c.r); !ok {
		return broker.BadRequest("the Host of this request is no host name")
	}
	if err := c.readMethod(); err != nil {
		return err
	}
	return c.readBody()
}

func (c *call) readMethod() error {
	if c.target.area == graphqlArea && c.r.Method != http.MethodPost {
		return broker.NotAllowed(c.w, http.MethodPost)
	}
	if !slices.Contains(methods, c.r.Method) {
		return broker.NotAllowed(c.w, methods...)
	}
	return nil
}

func (c *call) readBody() error {
	coding := c.r.Header.Get("Content-Encoding")
	switch {
	case coding != "" && coding != "identity":
		return refuse(http.StatusUnsupportedMediaType, broker.ReasonRequest, "the body of this request is compressed; send it as it is")
	case isSafe(c.r.Method) && c.r.ContentLength != 0:
		return broker.BadRequest("a " + c.r.Method + " request has no body here")
	case c.r.ContentLength > maxBody:
		return tooLarge()
	}
	return nil
}

func tooLarge() *broker.Refusal {
	return refuse(http.StatusRequestEntityTooLarge, broker.ReasonRequest, fmt.Sprintf("the body of this request is over %d MiB", maxBody>>20))
}

// authorize determines the request's repository, and gets a token for it.
func (c *call) authorize() (err error) {
	if err := refusedPath(c.target); err != nil {
		return err
	}
	repo, err := c.repository()
	if err != nil {
		return err
	}
	c.grant, err = c.access.Token(c.r.Context(), c.caller, repo, access.API)
	if refusal, ok := errors.AsType[*broker.Refusal](err); ok && refusal.Reason == broker.ReasonRepository {
		return notHere(refusal.Detail)
	}
	if err != nil {
		return err
	}
	if c.target.id != 0 && !slices.Contains(c.grant.Token.RepositoryIDs, c.target.id) {
		return notHere(fmt.Sprintf("this session is for %s, which is not the repository with the id %d", repo, c.target.id))
	}
	return nil
}

// repository returns the session's repository, or else the one in the path.
func (c *call) repository() (gitname.Repo, error) {
	of, named := c.caller.Repo, c.target.repo
	switch {
	case of.IsValid() && named.IsValid() && named != of:
		return of, notHere("this session is for " + of.String() + ", not for " + named.String())
	case of.IsValid():
		return of, nil
	case named.IsValid():
		return named, nil
	}
	return of, refuse(http.StatusForbidden, broker.ReasonRepository, `this session is for no single repository, and the request does not name one; ask POST /v1/session for a session with {"repo":"owner/name"}`)
}

// refusedPath refuses requests about the App and its tokens: one of them would revoke a
// token that other workspaces also use.
func refusedPath(t target) error {
	if t.area == uploadArea {
		return refuse(http.StatusForbidden, broker.ReasonPermission, "release assets are not uploaded through the gateway: that needs contents: write, which its tokens for the API never have")
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(t.path, "/"), "/")
	switch first {
	case "app", "app-manifests", "applications", "authorizations":
	case "installation":
		if t.path == "/installation/repositories" {
			return nil
		}
	default:
		return nil
	}
	return refuse(http.StatusForbidden, broker.ReasonPermission, "/"+first+" is for the App's owner, and is not served by the gateway")
}
