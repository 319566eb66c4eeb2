package demo

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepass/gatepass/broker"
	"github.com/gatepass/gatepass/broker/gateway"
	"github.com/gatepass/gatepass/broker/gateway/access"
	"github.com/gatepass/gatepass/broker/gateway/rest"
	"github.com/gatepass/gatepass/broker/identity"
	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/filestore"
	"github.com/gatepass/gatepass/mint"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/workspace/profile"
)

// apiPath is where the double serves its REST API, as an Enterprise Server does.
const apiPath = "/api/v3"

// workspaceID is the id of the demo's workspace.
const workspaceID = "sb-1a2b3c"

// A source is the broker: it listens on a Unix socket that only this user can reach,
// and its gateway on loopback.
type source struct {
	github  *github
	broker  *broker.Broker
	servers []*http.Server
	gateway string // its URL
	policy  atomic.Pointer[broker.Policy]
	end     context.CancelFunc
	done    sync.WaitGroup

	mu     sync.Mutex // guards the rest
	minted map[string]grant
	grants []grant
}

// A grant is one token that a workspace fetched.
type grant struct {
	repository   string // "acme/widgets"
	operation    string
	installation int64
	token        credential.Token
}

// serveSource starts the broker. dir is the folder of its records.
func serveSource(g *github, socket, dir string) (*source, error) {
	s := &source{github: g, minted: map[string]grant{}}
	records, err := filestore.OpenStore(&url.URL{Scheme: "file", Path: dir})
	if err != nil {
		return nil, err
	}
	if err := records.Put(context.Background(), store.AppClientID(), store.NewSecret(g.app.ClientID), store.Replace); err != nil {
		return nil, err
	}
	if err := s.allow(broker.TokensWrite); err != nil {
		return nil, err
	}
	app := &mint.App{ID: g.app.ClientID, Signer: g.key, URL: g.URL() + apiPath, Client: g.Client(), Now: g.Now}
	s.broker = broker.New(broker.Config{
		Policy: s.policy.Load, Journal: s, Store: records, GitHub: app, Log: slog.New(slog.DiscardHandler), WrapMint: s.watchMints,
		Limits: func() broker.Limits { return broker.Limits{} },
	})
	git, err := s.newGateway(records)
	if err != nil {
		return nil, err
	}
	return s, s.listen(socket, git)
}

// newGateway makes the gateway in front of the double.
func (s *source) newGateway(records store.Store) (*gateway.Gateway, error) {
	upstream, err := access.NewUpstream(s.github.URL())
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.github.CAPEM())
	upstream.Trust(roots)
	shared := &access.Access{Broker: s.broker, Sessions: &identity.GatewaySessions{Keys: &identity.Keyset{Store: records}}, Upstream: upstream}
	s.broker.Extra = map[string]broker.Endpoint{"/v1/session": shared.SessionEndpoint()}
	settings := gateway.Settings{MaxPack: 1 << 30, IdleTimeout: time.Minute, Transfers: 8}
	return gateway.New(shared, func() gateway.Settings { return settings }, rest.Options{}), nil
}

// listen serves the socket, on which every caller is the workspace, and the gateway.
func (s *source) listen(socket string, git *gateway.Gateway) error {
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	local, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, local.Close())
	}
	s.gateway = "http://" + web.Addr().String()
	handler := s.broker.Handler()
	for l, h := range map[net.Listener]http.Handler{local: handler, web: git.Handler(handler)} {
		server := &http.Server{Handler: h, ReadHeaderTimeout: commandWait, BaseContext: func(net.Listener) context.Context {
			return context.WithValue(ctx, onSocket{}, l == local)
		}}
		s.servers = append(s.servers, server)
		s.done.Go(func() { _ = server.Serve(l) }) // Serve returns after close
	}
	return nil
}

type onSocket struct{}

// local identifies every caller on the socket as the workspace: only this user can open
// its folder.
type local struct{}

// Identify implements [broker.Identifier].
func (local) Identify(ctx context.Context, _ *http.Request) (broker.Caller, error) {
	if is, _ := ctx.Value(onSocket{}).(bool); !is {
		return broker.Caller{}, broker.ErrNoProof
	}
	return broker.Caller{Method: "socket", Subject: "this user"}, nil
}

// allow sets a policy whose only rule is for the workspace.
func (s *source) allow(limit broker.TokenLimit) error {
	p, err := profile.Parse([]byte(profileText))
	if err != nil {
		return err
	}
	s.policy.Store(&broker.Policy{
		Hash: "demo", Hosts: []string{s.github.host()},
		Rules: []broker.Rule{{Name: "demo", By: local{}, Workspace: workspaceID, Profile: p, Tokens: limit, Hash: string(limit)}},
	})
	return nil
}

// watchMints records every token that GitHub minted.
func (s *source) watchMints(next broker.MintFunc) broker.MintFunc {
	return func(ctx context.Context, scope broker.Scope) (mint.Minted, error) {
		m, err := next(ctx, scope)
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			installation := s.github.acme.ID
			if scope.Repo.Owner == "globex" {
				installation = s.github.globex.ID
			}
			s.minted[m.Token.Hash()] = grant{repository: scope.Repo.String(), operation: scope.Permissions()["contents"], installation: installation, token: m.Token}
		}
		return m, err
	}
}

// Write implements [broker.Journal]: it records the tokens that were given.
func (s *source) Write(_ context.Context, e broker.Entry, _ bool) error {
	if e.Kind == broker.KindRequest && e.Decision == broker.Granted {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.grants = append(s.grants, s.minted[e.Hash])
	}
	return nil
}

func (s *source) close() error {
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	if s.end != nil {
		s.end()
	}
	s.done.Wait()
	return errors.Join(errs...)
}

// all returns the tokens given so far, in order.
func (s *source) all() []grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.grants)
}

// revoke revokes the tokens of a repository at GitHub, without telling the agent.
func (s *source) revoke(ctx context.Context, owner, name string) error {
	shared, err := broker.SharedEntries(ctx, s.broker.Store, owner, name)
	for _, entry := range shared {
		if err == nil {
			err = s.broker.Store.Delete(ctx, entry)
		}
	}
	if err != nil {
		return err
	}
	repository := owner + "/" + name
	s.broker.Cache.Drop(func(scope broker.Scope, _ credential.Token) bool { return scope.Repo.String() == repository })
	for _, g := range s.all() {
		if g.repository == repository {
			s.github.Revoke(g.token.Secret())
		}
	}
	return nil
}

// in reports whether text holds one of GitHub's tokens, bare or as git sends it. It
// also checks tokens that never left the broker.
func (s *source) in(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.minted {
		token := g.token.Secret()
		basic := base64.StdEncoding.EncodeToString([]byte(credential.DefaultUsername + ":" + token))
		if strings.Contains(text, token) || strings.Contains(text, basic) {
			return true
		}
	}
	return false
}

// records is the folder in which the broker records the tokens that it has given, so
// that they can be revoked.
func (d *demo) records() string { return filepath.Join(d.dir, "broker") }

// gatewaySteps is the chapter in which the workspace has no token.
func (d *demo) gatewaySteps() []step {
	return []step{
		{
			"gateway", "Gateway mode: git talks to the broker, the broker to GitHub. The workspace has no token at all",
			"gatepass install sends git through the gateway, and gatepass token refuses",
			d.useGateway,
		},
		{
			"through", "git works as before, with the same URLs",
			"git pushes an allowed branch through the gateway, and no token reaches the workspace",
			d.pushThrough,
		},
		{
			"enforce", "The guard can be bypassed. The gateway cannot: it decides on each push",
			"git push --no-verify to main is refused by the gateway; GitHub receives nothing",
			d.enforce,
		},
	}
}

func (d *demo) useGateway(ctx context.Context) error {
	if err := d.source.allow(broker.TokensNone); err != nil {
		return err
	}
	if err := os.WriteFile(d.env["GATEPASS_CONFIG"], []byte(d.workspaceFile("gateway: "+d.source.gateway+"\n")), 0o644); err != nil {
		return err
	}
	shown := d.run(ctx, "", "cat workspace.yaml")
	installed := d.run(ctx, "", "gatepass install --global")
	token := d.run(ctx, "widgets", "gatepass token --repo acme/widgets")
	if token.failed == nil {
		return errors.New("gatepass token printed a token")
	}
	return first(shown.failed, installed.failed, token.fetched())
}

func (d *demo) pushThrough(ctx context.Context) error {
	fetched := d.run(ctx, "widgets", "git fetch")
	begun := d.run(ctx, "widgets", "git switch -q -c agent/add-a-test origin/main")
	committed := d.run(ctx, "widgets", "git commit -q --allow-empty -m 'Add a test'")
	r := d.run(ctx, "widgets", "git push origin agent/add-a-test")
	d.count(r)
	want, err := d.commitOf(ctx, "HEAD")
	if err := first(fetched.failed, begun.failed, committed.failed, r.failed, err, r.fetched()); err != nil {
		return err
	}
	if got := d.refOf(ctx, "agent/add-a-test"); got != want {
		return fmt.Errorf("agent/add-a-test is at %q, want %q", got, want)
	}
	return nil
}

func (d *demo) enforce(ctx context.Context) error {
	before := d.refOf(ctx, "main")
	r := d.run(ctx, "widgets", "git push --no-verify origin HEAD:main")
	d.count(r)
	for _, q := range r.requests {
		if q.Method == "POST" && strings.HasSuffix(q.Path, "/git-receive-pack") {
			return errors.New("GitHub received the push")
		}
	}
	if d.refOf(ctx, "main") != before {
		return errors.New("main has moved")
	}
	return first(r.refused("[remote rejected] HEAD -> main (gatepass: no rule allows it (update))", "remote: gatepass: allowed: agent/**"), r.fetched())
}
