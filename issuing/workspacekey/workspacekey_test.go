package workspacekey

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/store"
)

const alias = "alias/km-github-token-sb-1"

var _ store.Preparer = (*Store)(nil)

var _ store.Ledger = (*Store)(nil)

// life does what a run does to a workspace: writes its lock, its record and its token,
// and deletes all of it.
func life(ctx context.Context, t *testing.T, s store.Store) error {
	t.Helper()
	for _, text := range []string{"lock", "workspace", "github-tokens/acme", "github-token", "superseded/0011223344556677"} {
		if err := s.Put(ctx, name(t, "sb-1", text), store.NewSecret("x"), store.Replace); err != nil {
			return err
		}
	}
	return nil
}

// end destroys a workspace in the usual order.
func end(ctx context.Context, t *testing.T, s store.Store) error {
	t.Helper()
	for _, text := range []string{"github-tokens/acme", "github-token", "superseded/0011223344556677", "key-being-made", "workspace", "lock"} {
		if err := s.Delete(ctx, name(t, "sb-1", text)); err != nil {
			return err
		}
	}
	return nil
}

// A workspace's tokens are encrypted with its own key, which is made and deleted with
// it, and costs one call per process.
func TestTheKeyOfAWorkspace(t *testing.T) {
	a := newAccount(t)
	s := a.open()
	for range 3 {
		if err := life(t.Context(), t, s); err != nil {
			t.Fatal(err)
		}
	}
	key := a.aliases[alias]
	if len(a.keys) != 1 || key == "" || a.keys[key].tags[workspaceTag] != "sb-1" || a.keys[key].tags[storeTag] != "/sandbox/sb-1" {
		t.Fatalf("the keys are %v, the aliases %v, want one with its tags", a.keys, a.aliases)
	}
	for text, want := range map[string]string{"/sandbox/sb-1/github-token": key, "/sandbox/sb-1/superseded/0011223344556677": key, "/sandbox/sb-1/lock": "", "/sandbox/sb-1/workspace": ""} {
		if got := a.parameters[text].key; got != want {
			t.Errorf("%s is encrypted with %q, want %q", text, got, want)
		}
	}
	for operation, want := range map[string]int{"DescribeKey": 1, "CreateKey": 1, "CreateAlias": 1, "ListKeys": 0} {
		if n := len(slices.DeleteFunc(slices.Clone(a.calls), func(c string) bool { return c != operation })); n != want {
			t.Errorf("%s is called %d times, want %d", operation, n, want)
		}
	}
	if err := end(t.Context(), t, s); err != nil {
		t.Fatal(err)
	}
	if len(a.aliases) != 0 || a.count("PendingDeletion") != 1 || len(a.parameters) != 1 {
		t.Errorf("afterwards there are the aliases %v, the keys %v and the parameters %v, want nothing but the App's", a.aliases, a.keys, a.parameters)
	}
	// A new workspace of the same name gets a new key.
	if err := life(t.Context(), t, s); err != nil || a.count("Enabled") != 1 {
		t.Errorf("again = %v with %d keys, want another one", err, a.count("Enabled"))
	}
}

// A run that is cut off at any call, before or after AWS carried it out, leaves at most
// one key, and the next run uses that.
func TestTheKeyThroughCrashes(t *testing.T) {
	for at := 1; ; at++ {
		for _, after := range []bool{false, true} {
			a := newAccount(t)
			a.lost, a.after = at, after
			_ = life(t.Context(), t, a.open())
			calls := len(a.calls)
			a.lost = 0
			if err := life(t.Context(), t, a.open()); err != nil {
				t.Fatalf("after a run that was cut off at %s: %v", a.calls[at-1], err)
			}
			if len(a.keys) != 1 || len(a.aliases) != 1 {
				t.Errorf("after a run that was cut off at %s there are the keys %v", a.calls[at-1], a.keys)
			}
			a.lost = len(a.calls) + at
			_ = end(t.Context(), t, a.open())
			calls = max(calls, len(a.calls)-a.lost+at)
			a.lost = 0
			if err := end(t.Context(), t, a.open()); err != nil {
				t.Fatalf("an end that was cut off is not finished: %v", err)
			}
			if len(a.aliases) != 0 || a.count("Enabled") != 0 || len(a.parameters) != 1 {
				t.Errorf("an end that was cut off at %d leaves %v, %v and %v", at, a.aliases, a.keys, a.parameters)
			}
			if at > calls {
				return
			}
		}
	}
}

// A key that was made but never named is deleted with its workspace.
func TestAnUnnamedKeyIsEnded(t *testing.T) {
	a := newAccount(t)
	a.refused["CreateAlias"] = "InvalidAliasNameException"
	if err := life(t.Context(), t, a.open()); err == nil {
		t.Fatal("life = nil, want AWS's refusal")
	}
	if err := end(t.Context(), t, a.open()); err != nil || a.count("Enabled") != 0 {
		t.Errorf("end = %v with %d keys that are enabled, want none", err, a.count("Enabled"))
	}
}

// If several replicas make a workspace's key at the same time, one key remains.
func TestTwoProcessesMakeOneKey(t *testing.T) {
	a := newAccount(t)
	var all []error
	done := make(chan error)
	for range 4 {
		s := a.open()
		go func() {
			done <- s.Put(t.Context(), name(t, "sb-1", "vended/0011223344556677"), store.NewSecret("x"), store.Replace)
		}()
	}
	for range 4 {
		all = append(all, <-done)
	}
	if err := errors.Join(all...); err != nil || a.count("Enabled") != 1 || len(a.aliases) != 1 {
		t.Errorf("Put = %v with %d keys that are enabled, want one", err, a.count("Enabled"))
	}
}

// KMS does not know a new key everywhere at once.
func TestANewKeyIsWaitedFor(t *testing.T) {
	a := newAccount(t)
	a.slow = 1
	if err := life(t.Context(), t, a.open()); err != nil {
		t.Errorf("life = %v, want it to wait", err)
	}
}

// A key that gatepass did not make is not deleted because of its name. One that cannot
// be used is an error with a hint, before any token is minted.
func TestKeysOfOthers(t *testing.T) {
	a := newAccount(t)
	a.keys["byhand"] = &kmsKey{state: "Enabled", policy: "{}", tags: map[string]string{workspaceTag: "sb-1"}}
	a.aliases[alias] = "byhand"
	s := a.open()
	if err := s.Prepare(t.Context(), "sb-1"); err != nil || len(a.keys) != 1 {
		t.Errorf("Prepare = %v, %v, want the key that is there", err, a.keys)
	}
	if err := s.Delete(t.Context(), name(t, "sb-1", "workspace")); err != nil || a.aliases[alias] == "" || a.count("Enabled") != 1 {
		t.Errorf("Delete = %v, want a key that gatepass did not make left alone", err)
	}
	for state, want := range map[string]string{"PendingDeletion": "cancel-key-deletion", "Disabled": "aws kms enable-key --key-id byhand"} {
		a.keys["byhand"].state = state
		if err := a.open().Prepare(t.Context(), "sb-1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Prepare with a key that is %s = %v, want %q", state, err, want)
		}
	}
}

func TestWhatIsNotAllowedIsSaid(t *testing.T) {
	for operation, want := range map[string]string{"DescribeKey": "allow kms:DescribeKey on the key", "CreateKey": "allow kms:CreateKey and kms:TagResource", "CreateAlias": "allow kms:CreateAlias on the key and the alias"} {
		a := newAccount(t)
		a.refused[operation] = "AccessDeniedException"
		err := a.open().Prepare(t.Context(), "sb-1")
		if err == nil || !strings.Contains(err.Error(), want+" for this identity") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s is denied: Prepare = %v, want one line with %q", operation, err, want)
		}
	}
	a := newAccount(t)
	if err := a.open().Prepare(t.Context(), "sb.1"); err == nil || !strings.Contains(err.Error(), "must not have dots") || len(a.keys) != 0 {
		t.Errorf("Prepare of an id with a dot = %v, want it refused", err)
	}
}

// Locks are also written for workspaces that may not exist, and contain no token.
func TestALockMakesNoKey(t *testing.T) {
	a := newAccount(t)
	s := a.open()
	for _, text := range []string{"lock", "workspace"} {
		if err := s.Put(t.Context(), name(t, "sb-9", text), store.NewSecret("x"), store.CreateOnly); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(t.Context(), store.PrivateKey(), store.NewSecret("x"), store.Replace); err != nil || len(a.keys) != 0 {
		t.Errorf("Put = %v with the keys %v, want none", err, a.keys)
	}
}

// The policy allows only Parameter Store to use the key, for this workspace's
// parameters, and only identities that IAM allows in this account to manage it.
func TestThePolicyOfAKey(t *testing.T) {
	a := newAccount(t)
	text, err := a.open().policy(t.Context(), "sb-1")
	if err != nil {
		t.Fatal(err)
	}
	var policy struct{ Statement []statement }
	if err := json.Unmarshal([]byte(text), &policy); err != nil || len(policy.Statement) != 2 {
		t.Fatalf("the policy is %s, %v, want two statements", text, err)
	}
	for _, s := range policy.Statement {
		uses := slices.ContainsFunc(s.Action, func(action string) bool {
			return action == "kms:*" || slices.Contains([]string{"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:CreateGrant", "kms:ReEncrypt*"}, action)
		})
		if s.Principal["AWS"] != "arn:aws:iam::123456789012:root" || uses != (s.Condition != nil) {
			t.Errorf("%+v, want use with a condition, and management without", s)
		}
		if uses && s.Condition["StringLike"]["kms:EncryptionContext:PARAMETER_ARN"] != arnStart+"/sandbox/sb-1/*" {
			t.Errorf("%+v, want it for the workspace's parameters alone", s)
		}
	}
}
