package awsdebris

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/fakegithub"
)

// The whole of a look and a fix, of a store that the first system uses too.
func TestWhatIsGoneGoesAndAllElseStays(t *testing.T) {
	r := newRegion(t)
	a := r.open("ssm:///km?workspaces=/&kms_key=alias/gatepass-{workspace}")
	live, _ := store.OnlyToken("sb-live")
	r.put(a, live)
	r.key(types.KeySpecSymmetricDefault, "alias/km-github-token-sb-live")
	gone := r.key(types.KeySpecSymmetricDefault, "alias/km-github-token-sb-gone", "alias/gatepass-sb-gone")
	r.key(types.KeySpecRsa2048, "alias/gatepass-app")
	r.schedule("default", "live", function, input("sb-live", "/sandbox/sb-live/github-token"))
	r.schedule("default", "gone", function, input("sb-gone", "/sandbox/sb-gone/github-token"))
	r.schedule("default", "backup", function, `{"bucket": "sb-gone"}`)
	gh, err := fakegithub.New(fakegithub.Options{HandlerOnly: true, Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer gh.Close()
	c := &doctor.Checkup{Store: a.store, StoreURL: "ssm:///km", Cloud: a, Client: &http.Client{Transport: gh.Transport()}, Now: a.time, Limit: time.Minute}

	report := c.Look(t.Context())
	var things []string
	for _, thing := range report.Debris {
		things = append(things, strings.TrimSpace(string(thing.Kind)+" of "+thing.Workspace+" "+thing.Left))
	}
	if want := []string{"schedule of sb-gone", "key of sb-gone", "key of sb-gone"}; !slices.Equal(things, want) {
		t.Fatalf("Look finds %q, want %q; all:\n%v", things, want, report.All())
	}
	isServed := slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool {
		return f.Level == doctor.OK && f.Text == "another system refreshes the tokens of sb-live"
	})
	if !isServed {
		t.Errorf("Look finds %v, want it told that sb-live is another system's", report.Findings)
	}
	for _, f := range c.Fix(t.Context(), report.Fixable()) {
		if f.Level != doctor.OK {
			t.Errorf("Fix says %+v, want it done", f)
		}
	}
	if got, want := r.aliases(), []string{"alias/gatepass-app", "alias/km-github-token-sb-live"}; !slices.Equal(got, want) {
		t.Errorf("the aliases are %q, want %q", got, want)
	}
	if got, want := r.schedules(), []string{"default/backup", "default/live"}; !slices.Equal(got, want) {
		t.Errorf("the schedules are %q, want %q", got, want)
	}
	if key := r.describe(gone); key.KeyState != types.KeyStatePendingDeletion {
		t.Errorf("the key is %s, want it to go with the last of its names", key.KeyState)
	}
	if again := c.Look(t.Context()); len(again.Debris) > 0 {
		t.Errorf("afterwards Look finds %+v, want nothing", again.Debris)
	}
}
