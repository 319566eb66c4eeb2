package demo

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gatepass/gatepass/api"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/credentialtest"
	"github.com/gatepass/gatepass/mint"
)

// apiPath is where the double has its REST API, as an Enterprise Server does.
const apiPath = "/api/v3"

// A source is a small broker on a Unix socket. For every call it has the App
// mint a token for that one repository and operation, over the API.
type source struct {
	github *github
	app    *mint.App
	server *http.Server
	done   chan struct{} // closed when the server has ended

	mu     sync.Mutex // guards grants
	grants []grant
}

// A grant is one token that was fetched.
type grant struct {
	repository   string // "acme/widgets"
	operation    string
	installation int64
	token        credential.Token
}

func serveSource(g *github, socket string) (*source, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	app := &mint.App{ID: g.app.ClientID, Signer: g.key, URL: g.URL() + apiPath, Client: g.Client(), Now: g.Now}
	s := &source{github: g, app: app, done: make(chan struct{})}
	broker := &credentialtest.Broker{Hosts: []string{g.host()}, Mint: s.mint}
	s.server = &http.Server{Handler: broker, ReadHeaderTimeout: commandWait}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l) // it ends by close
	}()
	return s, nil
}

func (s *source) close() error {
	err := s.server.Close()
	<-s.done
	s.app.Client.CloseIdleConnections()
	return err
}

// all returns the grants so far, in their order.
func (s *source) all() []grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.grants)
}

// revoke ends the tokens of a repository at GitHub, and nobody tells the agent.
func (s *source) revoke(repository string) {
	for _, g := range s.all() {
		if g.repository == repository {
			s.github.Revoke(g.token.Secret())
		}
	}
}

// mint answers the broker's call.
func (s *source) mint(_ string, r api.TokenRequest) (api.TokenAnswer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandWait)
	defer cancel()
	g, err := s.grant(ctx, r)
	if err != nil {
		return api.TokenAnswer{}, api.NewProblem(http.StatusForbidden, err.Error())
	}
	s.mu.Lock()
	s.grants = append(s.grants, g)
	s.mu.Unlock()
	return api.TokenAnswer{
		Username: credential.DefaultUsername, Token: api.NewSecret(g.token.Secret()), ExpiresAt: g.token.Expiry,
		Repositories: []string{r.Repo.String()}, Permissions: map[string]string{"contents": r.Operation},
	}, nil
}

// grant asks GitHub as the App: which installation has the repository, and a
// token of that installation for the repository alone.
func (s *source) grant(ctx context.Context, r api.TokenRequest) (grant, error) {
	installation, err := s.app.InstallationFor(ctx, r.Repo.Owner, r.Repo.Name)
	if err != nil {
		return grant{}, err
	}
	minted, err := s.app.Mint(ctx, mint.Grant{
		Installation: installation.ID,
		Repositories: mint.RepositoryNames(r.Repo.Name),
		Permissions:  mint.PermissionLevels(map[string]string{"contents": r.Operation}),
	})
	if err != nil {
		return grant{}, err
	}
	return grant{repository: r.Repo.String(), operation: r.Operation, installation: installation.ID, token: minted.Token}, nil
}

// in reports whether text holds one of the tokens, bare or as git sends it.
func (s *source) in(text string) bool {
	for _, g := range s.all() {
		token := g.token.Secret()
		basic := base64.StdEncoding.EncodeToString([]byte(credential.DefaultUsername + ":" + token))
		if strings.Contains(text, token) || strings.Contains(text, basic) {
			return true
		}
	}
	return false
}
