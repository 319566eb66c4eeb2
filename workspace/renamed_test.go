package workspace

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
)

// A workspace of an organization that was renamed keeps its tokens while the store
// knows the installation, and the record says what the organization is called now.
// Where the store does not, the error names it instead of a lost installation.
func TestARenamedOrganizationIsNamed(t *testing.T) {
	c := newCity(t)
	i := c.run(&mortal{})
	i.App.Client = &http.Client{Transport: c.Transport()} // GitHub's description has no redirects
	p := profile(t, "octo/widgets")
	if _, err := i.Create(t.Context(), "sb-1", p, 0); err != nil {
		t.Fatal(err)
	}
	if err := c.RenameAccount("octo", "newcorp"); err != nil {
		t.Fatal(err)
	}
	r, err := i.Refresh(t.Context(), "sb-1", true)
	if err != nil || !strings.Contains(r.Tokens[len(r.Tokens)-1].Note, "octo is called newcorp now; write that in the profile") {
		t.Errorf("Refresh = %+v, %v, want a token and the new name", r, err)
	}
	name, err := store.Installation("octo")
	if err == nil {
		err = c.store.Delete(t.Context(), name)
	}
	if err != nil {
		t.Fatal(err)
	}
	for id, text := range map[string]string{"sb-1": "octo/widgets", "sb-2": "octo/widgets"} { // with tokens before, and without
		r, err := i.Create(t.Context(), id, profile(t, text), 0)
		if id == "sb-1" {
			r, err = i.Refresh(t.Context(), id, true)
		}
		if err == nil || !strings.Contains(err.Error(), "newcorp") || strings.Contains(err.Error(), "install the App") || r.LastError == nil {
			t.Errorf("%s: %v, want the new name", id, err)
		}
	}
}
