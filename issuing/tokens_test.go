package issuing

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/store/dynamodb"
	"github.com/gatepass/gatepass/store/split"
)

func TestOpenStoreInDynamoDB(t *testing.T) {
	for _, test := range []struct{ raw, want string }{
		{"dynamodb://gatepass?region=eu-west-1", "*dynamodb.Store"},
		{"dynamodb://gatepass?region=eu-west-1&tokens=ssm:///gatepass", "*split.Store"},
		{"dynamodb://gatepass?tokens=ssm:///gatepass%3Fkms_key=alias/gatepass-{workspace}%26region=eu-west-1", "*split.Store"},
	} {
		s, err := OpenStore(test.raw)
		if got := fmt.Sprintf("%T", s); err != nil || got != test.want {
			t.Errorf("OpenStore(%s) = %s, %v, want %s", test.raw, got, err, test.want)
		}
	}
	for _, test := range []struct{ raw, want string }{
		{"dynamodb://gatepass/team", "a store is a whole table"},
		{"dynamodb://gatepass?tokens=", "tokens is no store in Parameter Store; write tokens=ssm:///PREFIX"},
		{"dynamodb://gatepass?tokens=file:///tmp", "tokens is no store in Parameter Store"},
		{"dynamodb://gatepass?tokens=ssm:///a&tokens=ssm:///b", "tokens is given twice"},
		{"dynamodb://gatepass?tokens=ssm:///aws", "AWS keeps names"},
		{"dynamodb://gatepass?tokens=ssm:///a%3Fkms_key=create:alias/gatepass-{workspace}", "keys are made only where"},
		{"dynamodb://gatepass?tokens=ssm:///a&kms_key=alias/x", "unknown key kms_key"},
		{"file:///tmp?tokens=ssm:///a", ""},
	} {
		s, err := OpenStore(test.raw)
		if err == nil || !strings.Contains(err.Error(), test.want) || s != nil {
			t.Errorf("OpenStore(%s) = %v, %v, want an error with %q", test.raw, s, err, test.want)
		}
	}
}

// What the store for tokens does not say of AWS it has from the first one, and nothing else.
func TestTokensAreInTheSameRegion(t *testing.T) {
	for _, test := range []struct{ raw, tokens, rest string }{
		{"dynamodb://t?region=a&profile=p&tokens=ssm:///x", "ssm:///x?profile=p&region=a", "dynamodb://t?profile=p&region=a"},
		{"dynamodb://t?region=a&tokens=ssm:///x?region=b", "ssm:///x?region=b", "dynamodb://t?region=a"},
		{"dynamodb://t?endpoint=http://127.0.0.1:1&tokens=ssm:///x", "ssm:///x", "dynamodb://t?endpoint=http%3A%2F%2F127.0.0.1%3A1"},
	} {
		u, err := url.Parse(test.raw)
		if err != nil {
			t.Fatal(err)
		}
		tokens, rest, err := takeTokens(u)
		if err != nil || tokens.String() != test.tokens || rest.String() != test.rest {
			t.Errorf("takeTokens(%s) = %s, %s, %v, want %s, %s", test.raw, tokens, rest, err, test.tokens, test.rest)
		}
	}
}

// A store in PostgreSQL tells of changes and has tables to make, also where its tokens are
// in another store.
func TestTokensBesidePostgreSQL(t *testing.T) {
	s, err := OpenStore("postgres://gatepass@db.example/gatepass?sslmode=verify-full&tokens=ssm:///gatepass%3Fregion=eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.(store.Watcher); !ok {
		t.Errorf("%T is no Watcher", s)
	}
	both, ok := s.(interface{ Unwrap() store.Store })
	if !ok {
		t.Fatalf("%T has no main store", s)
	}
	if main := fmt.Sprintf("%T", both.Unwrap()); main != "*postgres.Store" {
		t.Errorf("the main store is %s", main)
	}
}

var _ split.Main = (*dynamodb.Store)(nil)
