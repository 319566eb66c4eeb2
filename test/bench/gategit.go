package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// A gitWay is git itself, on its way to the upstream.
type gitWay struct {
	url            string
	user, password string
	ca             string // file with the certificate to trust
	world          *testUser
}

// gitWays returns two ways for one user: through the gateway, and straight to the
// upstream. Both use TLS.
func (b gatewayBench) gitWays(w *gatewaySetup, user *testUser) (through, straight gitWay) {
	return gitWay{url: w.secure, user: "x", password: w.sessions[0], ca: filepath.Join(w.fleet.dir, "tls.crt"), world: user},
		gitWay{url: w.up.URL, user: "x-access-token", password: w.up.Token, ca: w.fleet.ca, world: user}
}

// command returns git with the credential of the way.
func (g gitWay) command(args ...string) command {
	helper := fmt.Sprintf(`credential.helper=!f() { test "$1" = get && echo username=%s && echo password=%s; }; f`, g.user, g.password)
	return g.world.command("git", append([]string{"-c", helper, "-c", "http.sslCAInfo=" + g.ca}, args...)...)
}

// gatewayPush times a push of an allowed branch: one commit and its tree.
func (b gatewayBench) gatewayPush(w *gatewaySetup) ([]row, error) {
	user, err := b.newUser("gateway-push")
	if err != nil {
		return nil, err
	}
	through, straight := b.gitWays(w, user)
	work := filepath.Join(user.dir, "work")
	clone := straight.command("clone", "-q", straight.url+"/acme/widgets.git", work)
	if _, err := clone.run(); err != nil {
		return nil, err
	}
	for _, step := range [][]string{
		{"config", "user.name", "bench"}, {"config", "user.email", "bench@example.com"}, {"commit", "-q", "--allow-empty", "-m", "more"},
	} {
		if _, err := user.do("", "git", append([]string{"-C", work}, step...)...); err != nil {
			return nil, err
		}
	}
	pushing := func(g gitWay) command {
		c := g.command("push", "-q", g.url+"/acme/widgets.git", "HEAD:"+agentBranch)
		c.dir = work
		c.before = func() error { return removeIfThere(filepath.Join(w.up.Widgets, agentBranch)) }
		return c
	}
	times, err := b.race(b.runs(60), pushing(through), pushing(straight))
	if err != nil {
		return nil, err
	}
	r := row{Promise: "gateway: a push of an allowed branch", Ours: times[0].figure(), Note: "git makes three requests either way; the gateway has its audit log on the disk twice before git has its answer"}
	return []row{r.beside("straight", times[1].figure())}, nil
}

func removeIfThere(path string) error {
	err := os.Remove(path)
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// gatewayClone times a clone of a large repository, from an upstream on this machine,
// and from one with the speed of a network.
func (b gatewayBench) gatewayClone(w *gatewaySetup) ([]row, error) {
	user, err := b.newUser("gateway-clone")
	if err != nil {
		return nil, err
	}
	place, err := os.MkdirTemp(memoryFolder(b.scratch), "gatepass-bench-clone-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(place)
	through, straight := b.gitWays(w, user)
	cloning := func(g gitWay, repo string) command {
		to := filepath.Join(place, "clone.git")
		c := g.command("clone", "-q", "--bare", g.url+"/acme/"+repo+".git", to)
		c.before = func() error { return os.RemoveAll(to) }
		return c
	}
	var rows []row
	for _, from := range []struct{ what, repo string }{
		{fmt.Sprintf("GitHub sending %d MB in a second", distantRate/1_000_000), distantRepo},
		{"everything on two cores", largeRepo},
	} {
		times, err := b.race(b.runs(3), cloning(through, from.repo), cloning(straight, from.repo))
		if err != nil {
			return nil, err
		}
		r := row{Promise: fmt.Sprintf("gateway: clone of %d MB, %s", b.size(largeClone)/1_000_000, from.what), Ours: times[0].figure()}
		r = r.beside("straight", times[1].figure())
		if from.repo == distantRepo {
			r = r.judged(ratioAtMost(1.1))
		}
		rows = append(rows, r)
	}
	return rows, nil
}
