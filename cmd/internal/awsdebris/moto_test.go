package awsdebris

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/store"
)

func TestKeysAreThoseOfTheForm(t *testing.T) {
	r := newRegion(t)
	r.key(types.KeySpecSymmetricDefault, "alias/gatepass-sb-1", "alias/gatepassx", "alias/sb-1")
	r.key(types.KeySpecSymmetricDefault, "alias/km-github-token-sb-2", "alias/km-github-token-", "alias/gatepass-a/b")
	for url, want := range map[string][]string{
		"ssm:///gp":                   nil,
		"ssm:///gp?kms_key=alias/one": nil,
		"ssm:///gp?kms_key=alias/gatepass-{workspace}":                            {"sb-1 alias/gatepass-sb-1"},
		"ssm:///gp?kms_key=arn:aws:kms:eu-north-1:1:alias/gatepass-{workspace}":   {"sb-1 alias/gatepass-sb-1"},
		"ssm:///km?workspaces=/":                                                  {"sb-2 alias/km-github-token-sb-2"},
		"ssm:///km?workspaces=/&kms_key=alias/km-github-token-{workspace}":        {"sb-2 alias/km-github-token-sb-2"},
		"ssm:///km?workspaces=/&kms_key=alias/gatepass-{workspace}":               {"sb-1 alias/gatepass-sb-1", "sb-2 alias/km-github-token-sb-2"},
		"ssm:///?region=" + r.name + "&endpoint=" + strings.TrimSpace(r.endpoint): {"sb-2 alias/km-github-token-sb-2"},
	} {
		keys, err := r.open(url).Keys(t.Context())
		if got := texts(keys); err != nil || !slices.Equal(got, want) {
			t.Errorf("Keys of %s = %q, %v, want %q", url, got, err, want)
		}
	}
	if _, err := r.open("ssm:///gp?kms_key=alias/x{workspace}").Keys(t.Context()); err == nil || !strings.Contains(err.Error(), "fits any alias") {
		t.Errorf("Keys of a form that fits anything = %v, want an error", err)
	}
}

func TestAStoreWithoutAnAppKnowsNoKeys(t *testing.T) {
	r := newRegion(t)
	r.key(types.KeySpecSymmetricDefault, "alias/km-github-token-sb-1")
	a := r.open("ssm:///km?workspaces=/")
	if err := a.store.Delete(t.Context(), store.AppClientID()); err != nil {
		t.Fatal(err)
	}
	if keys, err := a.Keys(t.Context()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Keys = %v, %v, want ErrNotFound", keys, err)
	}
	if schedules, err := a.Schedules(t.Context()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Schedules = %v, %v, want ErrNotFound", schedules, err)
	}
}

// What is in another account or region than the store is not of its workspaces.
func TestOtherAccountsAreLeftAlone(t *testing.T) {
	r := newRegion(t)
	r.key(types.KeySpecSymmetricDefault, "alias/km-github-token-sb-1")
	r.schedule("default", "s", function, input("sb-1", "/sandbox/sb-1/github-token"))
	for _, elsewhere := range []home{{"aws", r.name, "999999999999"}, {"aws", "us-west-2", "123456789012"}, {"aws-cn", r.name, "123456789012"}} {
		a := r.open("ssm:///km?workspaces=/")
		a.home = &elsewhere
		keys, err := a.Keys(t.Context())
		schedules, scheduleErr := a.Schedules(t.Context())
		if len(keys) > 0 || len(schedules) > 0 || err != nil || scheduleErr != nil {
			t.Errorf("of a store in %v: Keys = %v, %v, Schedules = %v, %v, want none", elsewhere, keys, err, schedules, scheduleErr)
		}
	}
}

func TestExamine(t *testing.T) {
	r := newRegion(t)
	a := r.open("ssm:///gp?kms_key=alias/gatepass-{workspace}")
	other := r.open("ssm:///other?kms_key=alias/gatepass-used")
	token, _ := store.OnlyToken("sb-1")
	idle := r.key(types.KeySpecSymmetricDefault, "alias/gatepass-idle")
	used := r.key(types.KeySpecSymmetricDefault, "alias/gatepass-used")
	signing := r.key(types.KeySpecRsa2048, "alias/gatepass-app")
	ending := r.key(types.KeySpecSymmetricDefault, "alias/gatepass-ending")
	r.put(other, token)
	if _, err := r.kms.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: aws.String(ending)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, alias, id string
		in              time.Duration // from now
		want            doctor.Verdict
	}{
		{"nobody uses it", "alias/gatepass-idle", idle, 2 * time.Hour, doctor.Verdict{}},
		{"it was just made", "alias/gatepass-idle", idle, 0, doctor.Verdict{Left: "it was made or named less than an hour ago"}},
		{"a parameter of another store is encrypted with it", "alias/gatepass-used", used, 2 * time.Hour, doctor.Verdict{Foreign: true}},
		{"it signs for the App", "alias/gatepass-app", signing, 2 * time.Hour, doctor.Verdict{Foreign: true}},
		{"it is to be deleted already", "alias/gatepass-ending", ending, 0, doctor.Verdict{}},
	} {
		a.now = func() time.Time { return time.Now().Add(c.in) }
		got, err := a.Examine(t.Context(), doctor.Key{Workspace: "x", Name: c.alias, ID: c.id})
		if err != nil || got != c.want {
			t.Errorf("%s: Examine = %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

func TestRemoveKey(t *testing.T) {
	r := newRegion(t)
	a := r.open("ssm:///gp?kms_key=alias/gatepass-{workspace}")
	alone := r.key(types.KeySpecSymmetricDefault, "alias/gatepass-sb-1")
	shared := r.key(types.KeySpecSymmetricDefault, "alias/gatepass-sb-2", "alias/logs")
	signing := r.key(types.KeySpecRsa2048, "alias/gatepass-app")
	done, err := a.RemoveKey(t.Context(), doctor.Key{Workspace: "sb-1", Name: "alias/gatepass-sb-1", ID: alone})
	if err != nil || !strings.Contains(done, "in 30 days") || !strings.Contains(done, "cancel-key-deletion --key-id "+alone) {
		t.Errorf("RemoveKey = %q, %v, want it to say how to go back", done, err)
	}
	key := r.describe(alone)
	if left := time.Until(aws.ToTime(key.DeletionDate)); key.KeyState != types.KeyStatePendingDeletion || left < 29*24*time.Hour {
		t.Errorf("the key is %s and deleted in %v, want it pending for 30 days", key.KeyState, left)
	}
	if done, err = a.RemoveKey(t.Context(), doctor.Key{Workspace: "sb-2", Name: "alias/gatepass-sb-2", ID: shared}); err != nil || !strings.Contains(done, "stays") {
		t.Errorf("RemoveKey of a key with another name = %q, %v, want the key to stay", done, err)
	}
	if key := r.describe(shared); key.KeyState != types.KeyStateEnabled {
		t.Errorf("the key with another name is %s, want it enabled", key.KeyState)
	}
	for _, k := range []doctor.Key{
		{Workspace: "app", Name: "alias/gatepass-app", ID: signing},
		{Workspace: "sb-9", Name: "alias/gatepass-sb-9", ID: shared},
	} {
		if done, err := a.RemoveKey(t.Context(), k); err == nil {
			t.Errorf("RemoveKey(%s) = %q, want an error", k.Name, done)
		}
	}
	if got, want := r.aliases(), []string{"alias/gatepass-app", "alias/logs"}; !slices.Equal(got, want) {
		t.Errorf("the aliases are %q, want %q", got, want)
	}
}

func TestSchedulesAreThoseOfTheFirstSystem(t *testing.T) {
	r := newRegion(t)
	r.group("km")
	of := func(id string) string { return input(id, "/sandbox/"+id+"/github-token") }
	r.schedule("default", "a", function, of("sb-1"))
	r.schedule("km", "b", function, of("sb-2"))
	r.schedule("default", "no-function", "arn:aws:sqs:us-east-1:123456789012:queue", of("sb-3"))
	r.schedule("default", "another-parameter", function, input("sb-4", "/other/sandbox/sb-4/github-token"))
	r.schedule("default", "another-sandboxs", function, input("sb-5", "/sandbox/sb-6/github-token"))
	r.schedule("default", "backup", function, `{"bucket": "x"}`)
	a := r.open("ssm:///km?workspaces=/")
	all, err := a.Schedules(t.Context())
	var got []string
	for _, s := range all {
		got = append(got, s.Workspace+" "+s.Group+"/"+s.Name)
		if !s.IsEnabled || time.Since(s.Changed) > time.Minute {
			t.Errorf("%+v, want it enabled and just made", s)
		}
	}
	slices.Sort(got)
	if want := []string{"sb-1 default/a", "sb-2 km/b"}; err != nil || !slices.Equal(got, want) {
		t.Fatalf("Schedules = %q, %v, want %q", got, err, want)
	}
	if others, err := r.open("ssm:///km").Schedules(t.Context()); err != nil || len(others) > 0 {
		t.Errorf("Schedules of a store with other tokens = %v, %v, want none", others, err)
	}
	for _, s := range all {
		for range 2 { // the second time there is nothing left to do
			if err := a.RemoveSchedule(t.Context(), s); err != nil {
				t.Errorf("RemoveSchedule(%s) = %v, want nil", s.Name, err)
			}
		}
	}
	if err := a.RemoveSchedule(t.Context(), doctor.Schedule{Workspace: "sb-4", Group: "default", Name: "backup", IsEnabled: true}); err == nil {
		t.Error("RemoveSchedule of another's = nil, want an error")
	}
	if got, want := r.schedules(), []string{"default/another-parameter", "default/another-sandboxs", "default/backup", "default/no-function"}; !slices.Equal(got, want) {
		t.Errorf("there are the schedules %q, want %q", got, want)
	}
}
