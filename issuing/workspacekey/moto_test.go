package workspacekey

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/gatepass/gatepass/store"
)

// The emulator is an independent implementation of AWS's protocol.
func TestAgainstTheEmulator(t *testing.T) {
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server)")
	}
	isolate(t)
	s := openAt(t, endpoint)
	if err := s.Put(t.Context(), store.AppClientID(), store.NewSecret("Iv23x"), store.Replace); err != nil {
		t.Fatal(err)
	}
	if err := life(t.Context(), t, s); err != nil {
		t.Fatal(err)
	}
	key, err := s.describe(t.Context(), alias)
	if err != nil || key.KeyState != types.KeyStateEnabled {
		t.Fatalf("the key is %+v, %v, want it enabled", key, err)
	}
	id := aws.ToString(key.KeyId)
	if isTagged, err := s.isTagged(t.Context(), "sb-1", id); err != nil || !isTagged {
		t.Errorf("the key is tagged: %t, %v", isTagged, err)
	}
	client, err := s.kms.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	policy, err := client.Service.GetKeyPolicy(t.Context(), &kms.GetKeyPolicyInput{KeyId: aws.String(id), PolicyName: aws.String("default")})
	if err != nil || !strings.Contains(aws.ToString(policy.Policy), `:parameter/sandbox/sb-1/*"`) {
		t.Errorf("the policy is %v, %v, want it for the workspace's parameters", policy, err)
	}
	if err := life(t.Context(), t, openAt(t, endpoint)); err != nil {
		t.Errorf("another process: %v", err)
	}
	if again, err := s.describe(t.Context(), alias); err != nil || aws.ToString(again.KeyId) != id {
		t.Errorf("another process made another key: %v, %v", again, err)
	}
	if found, err := s.find(t.Context(), "sb-1"); err != nil || found != id {
		t.Errorf("find = %s, %v, want the key by its tags", found, err)
	}
	for range 2 { // the second time nothing is left to do
		if err := end(t.Context(), t, s); err != nil {
			t.Fatal(err)
		}
	}
	gone, err := s.describe(t.Context(), id)
	if left := time.Until(aws.ToTime(gone.DeletionDate)); err != nil || gone.KeyState != types.KeyStatePendingDeletion || left < 29*24*time.Hour {
		t.Errorf("the key is %s and deleted in %v, %v, want it pending for 30 days", gone.KeyState, left, err)
	}
	if _, err := s.describe(t.Context(), alias); err == nil {
		t.Error("the alias is still there")
	}
}
