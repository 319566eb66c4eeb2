package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/fakegithub"
)

func TestProxyLeadsOneWay(t *testing.T) {
	there := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer there.Close()
	proxy := httptest.NewServer(proxyTo(there.Listener.Addr().String()))
	defer proxy.Close()
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := there.Client()
	transport := client.Transport.(*http.Transport)
	transport.Proxy = http.ProxyURL(address)
	transport.TLSClientConfig.InsecureSkipVerify = true // this test is about the name, not the certificate
	for _, c := range []struct {
		url  string
		want string // "" is an error
	}{
		{"https://api.github.com/app", "200 OK"},
		{"https://github.com/acme", ""},
		{"https://api.github.com:8443/app", ""},
		{"http://api.github.com/app", "403 Forbidden"},
		{"http://metadata.test/computeMetadata/v1/", "403 Forbidden"},
	} {
		got := ""
		if response, err := client.Get(c.url); err == nil {
			got = response.Status
			response.Body.Close()
		}
		if got != c.want {
			t.Errorf("GET %s by the proxy = %q, want %q", c.url, got, c.want)
		}
	}
}

func TestMissingOctoSTSIsSaid(t *testing.T) {
	tasks := []task{{what: "the first"}, {what: "100 of one workspace"}}
	ours := []taskCost{{requests: 2, mints: 1}, {requests: 2, mints: 1}}
	rows := besideOctoSTS(tasks, ours, nil, "", errors.New("no\nproxy"))
	if len(rows) != 4 || slices.ContainsFunc(rows, func(r row) bool { return r.Verdict != missing || r.PeerName != "" }) {
		t.Errorf("rows without the peer = %+v, want four that say so", rows)
	}
	if got := tableOf(rows); strings.Count(got, missing) != 5 || !strings.Contains(got, `octo-sts is missing: no\nproxy`) {
		t.Errorf("the table without the peer =\n%s\nwant the reason once, on one line", got)
	}
}

func TestTokenOfMoreIsNotTheSameWork(t *testing.T) {
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, RESTOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	v := &brokerSetup{fleet: &fleet{github: gh}}
	defer v.close()
	app, err := gh.AddApp(fakegithub.App{Permissions: fakegithub.Permissions{"contents": "write"}})
	for _, name := range []string{"one", "two"} {
		_, repoErr := gh.AddRepository(fakegithub.Repository{Owner: "acme", Name: name})
		err = firstOf(err, repoErr)
	}
	in, installErr := gh.AddInstallation(fakegithub.Installation{AppID: app.ID, Account: "acme", RepositorySelection: "all"})
	if err := firstOf(err, installErr); err != nil {
		t.Fatal(err)
	}
	read := fakegithub.Permissions{"contents": "read"}
	for _, c := range []struct {
		name   string
		repos  []string
		may    fakegithub.Permissions
		isSame bool
	}{
		{"to read the one", []string{"one"}, read, true},
		{"to write it", []string{"one"}, fakegithub.Permissions{"contents": "write"}, false},
		{"to read both", []string{"one", "two"}, read, false},
		{"to read another", []string{"two"}, read, false},
	} {
		token, err := gh.MintFor(in.ID, c.repos, c.may)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.opens(token, "acme/one"); (err == nil) != c.isSame {
			t.Errorf("a token %s: opens = %v, want it to be the same work: %v", c.name, err, c.isSame)
		}
	}
	if err := v.opens("ghs_unknown", "acme/one"); err == nil {
		t.Error("opens of a token that is not live = nil, want an error")
	}
}
