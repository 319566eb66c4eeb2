package broker

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/credential"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// repositoryID asks for a token of acme/widgets and returns the id that it opens.
func repositoryID(t *testing.T, got *httptest.ResponseRecorder) int64 {
	t.Helper()
	var answer struct {
		IDs []int64 `json:"repository_ids"`
	}
	if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil || got.Code != 200 || len(answer.IDs) != 1 {
		t.Fatalf("answer = %d %s, want a token with the id of its repository", got.Code, got.Body)
	}
	return answer.IDs[0]
}

func (b *bench) pinned(caller string, id int64) *httptest.ResponseRecorder {
	return b.ask(caller, "/v1/token", "application/json", fmt.Sprintf(`{"host":"github.com","repo":"acme/widgets","operation":"read","repository_id":%d}`, id))
}

// take renames acme/widgets, and gives its name to a new repository.
func (b *bench) take() {
	b.t.Helper()
	if err := b.RenameRepository("acme", "widgets", "gadgets"); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.AddRepository(fakegithub.Repository{Owner: "acme", Name: "widgets"}); err != nil {
		b.t.Fatal(err)
	}
}

// forget has the next request get a new token.
func (b *bench) forget() {
	b.t.Helper()
	b.cache.Drop(func(Scope, credential.Token) bool { return true })
	for name, err := range b.store.List(b.t.Context(), store.AllShared()) {
		if err == nil {
			err = b.store.Delete(b.t.Context(), name)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestAnIDIsAskedFor(t *testing.T) {
	b := newBench(t)
	id := repositoryID(t, b.token("ci", "acme/widgets", "read"))
	if got := repositoryID(t, b.pinned("ci", id)); got != id {
		t.Errorf("a token asked for by id opens %d, want %d", got, id)
	}
	last := b.journal.entries[len(b.journal.entries)-1]
	if last.RepositoryID != id {
		t.Errorf("the last line says id %d, want %d", last.RepositoryID, id)
	}
	b.take()
	// What was given opens the repository that it was given for, under any name.
	if got := repositoryID(t, b.pinned("ci", id)); got != id {
		t.Errorf("a token asked for by id opens %d, want %d", got, id)
	}
	b.forget()
	refused := b.pinned("ci", id)
	if refused.Code != 403 || !strings.Contains(refused.Body.String(), fmt.Sprintf("does not have the id %d", id)) {
		t.Errorf("after the name was taken: %d %s, want 403", refused.Code, refused.Body)
	}
	if got := repositoryID(t, b.token("ci", "acme/widgets", "read")); got == id {
		t.Errorf("a token asked for by name alone opens %d, want the new repository", got)
	}
}

func TestAProfilePinsAnID(t *testing.T) {
	b := newBench(t)
	id := repositoryID(t, b.token("ci", "acme/widgets", "read"))
	b.policy.Rules[0].Profile = b.profile(fmt.Sprintf("['acme/*', 'acme/widgets#%d']", id), "[push]")
	if got := repositoryID(t, b.token("ci", "acme/widgets", "read")); got != id {
		t.Errorf("a token opens %d, want %d", got, id)
	}
	refused := b.pinned("ci", id+1000)
	if refused.Code != 403 || !strings.Contains(refused.Body.String(), fmt.Sprintf("allows acme/widgets with the id %d, not %d", id, id+1000)) {
		t.Errorf("another id: %d %s, want 403", refused.Code, refused.Body)
	}
	before := len(b.Tokens())
	b.take()
	b.forget()
	refused = b.token("ci", "acme/widgets", "read")
	if refused.Code != 403 || !strings.Contains(refused.Body.String(), "acme/gadgets now") {
		t.Errorf("after the name was taken: %d %s, want 403", refused.Code, refused.Body)
	}
	if after := len(b.Tokens()); after != before {
		t.Errorf("%d tokens are alive, want the %d of before", after, before)
	}
}

// Whoever guesses ids is not told what the repositories are called that its profile
// does not have.
func TestAnIDThatIsGuessedTellsNoName(t *testing.T) {
	b := newBench(t)
	secret, err := b.AddRepository(fakegithub.Repository{Owner: "acme", Name: "unannounced"})
	if err != nil {
		t.Fatal(err)
	}
	b.policy.Rules[0].Profile = b.profile("[acme/widgets]", "[push]")
	want := fmt.Sprintf("acme/widgets does not have the id %d", secret.ID)
	if got := b.pinned("ci", secret.ID); got.Code != 403 || !strings.Contains(got.Body.String(), want) || strings.Contains(got.Body.String(), secret.Name) {
		t.Errorf("a guessed id: %d %s, want 403 with %q", got.Code, got.Body, want)
	}
	b.policy.Rules[0].Profile = b.profile("[acme/widgets, 'acme/un*']", "[push]")
	if got := b.pinned("ci", secret.ID); got.Code != 403 || !strings.Contains(got.Body.String(), "acme/unannounced now") {
		t.Errorf("the id of what the profile has: %d %s, want 403 with the name", got.Code, got.Body)
	}
}

// The former name of a repository that has no other owner leads to it at GitHub,
// and opens nothing here.
func TestAFormerNameOpensNothing(t *testing.T) {
	b := newBench(t)
	if err := b.RenameRepository("acme", "widgets", "gadgets"); err != nil {
		t.Fatal(err)
	}
	got := b.token("ci", "acme/widgets", "read")
	if got.Code != 403 || !strings.Contains(got.Body.String(), "another name by now") {
		t.Errorf("a former name: %d %s, want 403", got.Code, got.Body)
	}
}
