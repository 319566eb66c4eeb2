package credential_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/credential/protocol"
)

// A source of your own, cached, that answers for one host and one owner.
func Example() {
	fetched := 0
	source := credential.SourceFunc(func(context.Context, credential.Request) (credential.Token, error) {
		fetched++
		return credential.NewToken("ghs_example", time.Now().Add(time.Hour)), nil
	})
	allowed, err := credential.ParseRepositories([]string{"acme/*"})
	if err != nil {
		fmt.Println(err)
		return
	}
	guarded := credential.OnlyHosts(credential.OnlyRepositories(&credential.Cache{Source: source}, allowed), "github.com")

	for _, req := range []credential.Request{
		{Protocol: "https", Host: "github.com", Path: "acme/widgets.git"},
		{Protocol: "https", Host: "github.com", Path: "acme/widgets.git"},
		{Protocol: "https", Host: "github.com", Path: "other/secrets.git"},
		{Protocol: "https", Host: "github.com.evil.example", Path: "acme/widgets.git"},
	} {
		_, err := guarded.Token(context.Background(), req)
		fmt.Println(req.Host, req.Path, "gets a token:", err == nil)
	}
	fmt.Println("tokens fetched:", fetched)
	// Output:
	// github.com acme/widgets.git gets a token: true
	// github.com acme/widgets.git gets a token: true
	// github.com other/secrets.git gets a token: false
	// github.com.evil.example acme/widgets.git gets a token: false
	// tokens fetched: 1
}

// What a credential helper of your own prints for git.
func ExampleResponder_Get() {
	source := credential.SourceFunc(func(context.Context, credential.Request) (credential.Token, error) {
		return credential.NewToken("ghs_example", time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)), nil
	})
	responder := credential.Responder{Source: credential.OnlyHosts(source, "github.com")}
	req, err := protocol.ParseRequest([]byte("protocol=https\nhost=github.com\npath=acme/widgets.git\n\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := responder.Get(context.Background(), req)
	fmt.Printf("%s", answer.Stdout)
	// Output:
	// username=x-access-token
	// password=ghs_example
	// password_expiry_utc=4102444800
}

// A token can be logged: it shows the hash that GitHub's audit log has of it.
func ExampleToken() {
	token := credential.NewToken("ghs_example", time.Now().Add(time.Hour))
	fmt.Println("minted", token)
	fmt.Printf("%+v\n", struct{ Token credential.Token }{token})
	fmt.Println(token.Secret())
	// Output:
	// minted sha256:UMaRjVoedd29MJgtcZ6b6jIFPLlG7OzD84ZhFi+79Cc=
	// {Token:sha256:UMaRjVoedd29MJgtcZ6b6jIFPLlG7OzD84ZhFi+79Cc=}
	// ghs_example
}

// A source that has nothing for a request says so, and git asks its next helper.
func ExampleOnlyHosts() {
	source := credential.SourceFunc(func(context.Context, credential.Request) (credential.Token, error) {
		return credential.NewToken("ghs_example", time.Now().Add(time.Hour)), nil
	})
	_, err := credential.OnlyHosts(source, "github.com").Token(context.Background(), credential.Request{Protocol: "https", Host: "gitlab.example"})
	fmt.Println(errors.Is(err, credential.ErrNoCredential))
	// Output: true
}
