package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/credential/ssmstore"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/dynamodb"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/storetest"
	"github.com/gatepass/gatepass/workspace"
)

// openDouble opens the store of a double of Parameter Store, counted.
func openDouble(t *testing.T, double *parameterStore, counted *callCounter) *ssmstore.Store {
	t.Helper()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	server := httptest.NewServer(counted.wrap(double))
	t.Cleanup(server.Close)
	u, err := url.Parse("ssm:///km?region=us-east-1&endpoint=" + url.QueryEscape(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssmstore.OpenStore(u)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The double is what figures of Parameter Store are measured at.
func TestTheDoubleOfParameterStoreIsAStore(t *testing.T) {
	counted := &callCounter{nameOf: awsOperation}
	storetest.Run(t, func(t *testing.T) func() store.Store {
		s := openDouble(t, new(parameterStore), counted)
		return func() store.Store { return s }
	})
}

// Copies of what the product wrote are read by the product as so many workspaces with
// tokens of their own.
func TestCopiesAreWorkspaces(t *testing.T) {
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer gh.Close()
	double, counted := new(parameterStore), &callCounter{nameOf: awsOperation}
	s := openDouble(t, double, counted)
	app, err := (&fleet{github: gh, url: "https://github.test"}).setUp(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	live, over, err := newTemplates(t.Context(), s, app)
	if err != nil {
		t.Fatal(err)
	}
	double.load(live, 0, 20)
	double.load(over, 0, 5)
	if err := fill(t.Context(), s, live, 20, 30, nil); err != nil {
		t.Fatal(err)
	}
	hashes := map[string]bool{}
	for found, err := range workspace.Records(t.Context(), s) {
		if err != nil || found.Record == nil || len(found.Record.Tokens) != 1 {
			t.Fatalf("a record = %+v, %v, want one token", found, err)
		}
		hashes[found.Record.Tokens[0].Hash] = true
	}
	if len(hashes) != 31 {
		t.Errorf("the records have %d tokens, want 31 with the model", len(hashes))
	}
	counted.take()
	ids := map[string]bool{}
	for name, err := range s.List(t.Context(), store.Workspaces()) {
		if err != nil {
			t.Fatal(err)
		}
		if name.IsVended() {
			ids[name.TokenID()] = true
		}
	}
	if len(ids) != 31+6 {
		t.Errorf("%d tokens were vended, want 37", len(ids))
	}
	// 31 workspaces with a record, two names of a token and a vended one; ten a page.
	if made := counted.take(); made["GetParametersByPath"] != 13 || made.total() != 13 {
		t.Errorf("the calls of a list are %v, want 13 pages", made)
	}
}

func TestOperations(t *testing.T) {
	for _, c := range []struct{ method, target, vault, kubernetes string }{
		{"GET", "/v1/scale/data/km/a", "read data", ""},
		{"LIST", "/v1/scale/metadata/km", "list metadata", ""},
		{"GET", "/v1/scale/metadata/km?list=true", "list metadata", ""},
		{"GET", "/v1/auth/token/lookup-self", "", ""},
		{"GET", "/api/v1/namespaces/default/secrets?limit=250", "read namespaces", "list secrets"},
		{"GET", "/api/v1/namespaces/default/secrets/x", "read namespaces", "get secrets"},
		{"GET", "/api/v1/namespaces/default/configmaps?watch=true", "read namespaces", "watch configmaps"},
		{"PUT", "/api/v1/namespaces/default/secrets/x", "write namespaces", "update secrets"},
		{"GET", "/readyz", "", ""},
	} {
		r := httptest.NewRequest(c.method, c.target, nil)
		if got := kubernetesOperation(r); got != c.kubernetes {
			t.Errorf("%s %s is %q for Kubernetes, want %q", c.method, c.target, got, c.kubernetes)
		}
		if got := vaultOperation(r); r.URL.Path[1] == 'v' && got != c.vault {
			t.Errorf("%s %s is %q for Vault, want %q", c.method, c.target, got, c.vault)
		}
	}
}

// The double is what figures of DynamoDB are measured at.
func TestTheDoubleOfDynamoDBIsAStore(t *testing.T) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	storetest.Run(t, func(t *testing.T) func() store.Store {
		server := httptest.NewServer(new(dynamoTable))
		t.Cleanup(server.Close)
		u, err := url.Parse("dynamodb://gatepass?region=us-east-1&endpoint=" + url.QueryEscape(server.URL))
		if err != nil {
			t.Fatal(err)
		}
		s, err := dynamodb.OpenStore(u)
		if err != nil {
			t.Fatal(err)
		}
		return func() store.Store { return s }
	})
}

// A prepared statement is counted each time that it is executed, not when it is prepared.
func TestStatementsAreCounted(t *testing.T) {
	message := func(kind byte, texts ...string) []byte {
		body := []byte(strings.Join(texts, "\x00") + "\x00\x00\x00")
		return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
	}
	start := binary.BigEndian.AppendUint32(nil, 8)
	sent := slices.Concat(append(start, 0, 3, 0, 0),
		message('P', "s1", "SELECT 1"), message('S'),
		message('B', "", "s1"), message('E', ""), message('S'),
		message('B', "", "s1"), message('E', ""), message('S'),
		message('Q', "LISTEN gatepass"), message('Q', "-- ping"))
	var passed bytes.Buffer
	counted := new(callCounter)
	c := pgCounter{tally: counted, statements: map[string]string{}, portals: map[string]string{}}
	if err := c.copy(&passed, bytes.NewReader(sent)); err != io.EOF || !bytes.Equal(passed.Bytes(), sent) {
		t.Errorf("copy = %v, and %d of %d bytes were passed on", err, passed.Len(), len(sent))
	}
	if got, want := counted.take(), (calls{"select": 2, "listen": 1, "ping": 1}); !maps.Equal(got, want) {
		t.Errorf("counted are %v, want %v", got, want)
	}
}
