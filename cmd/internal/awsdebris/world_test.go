package awsdebris

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/store"
)

// A region is one that nobody else of this run of tests uses, in an emulator that
// is somebody else's reading of AWS's protocol.
type region struct {
	t         *testing.T
	name      string
	endpoint  string
	kms       *kms.Client
	scheduler *scheduler.Client
}

// regions are taken in turn, one by each test: the emulator keeps them apart.
var regions = []string{"eu-north-1", "eu-west-3", "ap-south-1", "sa-east-1", "ca-central-1", "us-west-1", "ap-northeast-2"}

func newRegion(t *testing.T) *region {
	t.Helper()
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server)")
	}
	isolate(t)
	r := &region{t: t, name: regions[0], endpoint: endpoint}
	regions = append(regions[1:], r.name)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_REGION", r.name)
	t.Setenv("AWS_ENDPOINT_URL", endpoint)
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.kms, r.scheduler = kms.NewFromConfig(cfg), scheduler.NewFromConfig(cfg)
	return r
}

// isolate takes this machine's own AWS away.
func isolate(t *testing.T) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for _, name := range []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL_SCHEDULER", "AWS_ROLE_ARN",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_MAX_ATTEMPTS", "AWS_CA_BUNDLE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// open is a store with an App, in two hours: what was just made counts.
func (r *region) open(raw string) *Account {
	r.t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := Open(u)
	if err != nil {
		r.t.Fatal(err)
	}
	a.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	r.put(a, store.AppClientID())
	return a
}

// put is undone when the test ends, as is all that a region makes but keys, which
// nothing removes at once.
func (r *region) put(a *Account, name store.Name) {
	r.t.Helper()
	if err := a.store.Put(r.t.Context(), name, store.NewSecret("x"), store.Replace); err != nil {
		r.t.Fatal(err)
	}
	r.atEnd(func(ctx context.Context) { _ = a.store.Delete(ctx, name) })
}

func (r *region) atEnd(undo func(context.Context)) {
	r.t.Cleanup(func() { undo(context.WithoutCancel(r.t.Context())) })
}

// key makes one with these aliases.
func (r *region) key(spec types.KeySpec, names ...string) (id string) {
	r.t.Helper()
	usage := types.KeyUsageTypeEncryptDecrypt
	if spec != types.KeySpecSymmetricDefault {
		usage = types.KeyUsageTypeSignVerify
	}
	made, err := r.kms.CreateKey(r.t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})
	if err != nil {
		r.t.Fatal(err)
	}
	id = aws.ToString(made.KeyMetadata.KeyId)
	for _, name := range names {
		if _, err := r.kms.CreateAlias(r.t.Context(), &kms.CreateAliasInput{AliasName: aws.String(name), TargetKeyId: aws.String(id)}); err != nil {
			r.t.Fatal(err)
		}
		r.atEnd(func(ctx context.Context) {
			_, _ = r.kms.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String(name)})
		})
	}
	return id
}

// aliases are those that somebody made.
func (r *region) aliases() []string {
	r.t.Helper()
	out, err := r.kms.ListAliases(r.t.Context(), &kms.ListAliasesInput{})
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range out.Aliases {
		if name := aws.ToString(e.AliasName); !strings.HasPrefix(name, "alias/aws/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (r *region) describe(id string) types.KeyMetadata {
	r.t.Helper()
	out, err := r.kms.DescribeKey(r.t.Context(), &kms.DescribeKeyInput{KeyId: aws.String(id)})
	if err != nil {
		r.t.Fatal(err)
	}
	return *out.KeyMetadata
}

const function = "arn:aws:lambda:us-east-1:123456789012:function:refresher"

func (r *region) schedule(group, name, target, input string) {
	r.t.Helper()
	in := &scheduler.CreateScheduleInput{
		Name: aws.String(name), ScheduleExpression: aws.String("rate(45 minutes)"),
		FlexibleTimeWindow: &schedulertypes.FlexibleTimeWindow{Mode: schedulertypes.FlexibleTimeWindowModeOff},
		Target:             &schedulertypes.Target{Arn: aws.String(target), RoleArn: aws.String("arn:aws:iam::123456789012:role/x"), Input: aws.String(input)},
	}
	if group != "default" {
		in.GroupName = aws.String(group)
	}
	if _, err := r.scheduler.CreateSchedule(r.t.Context(), in); err != nil {
		r.t.Fatal(err)
	}
	r.atEnd(func(ctx context.Context) {
		_, _ = r.scheduler.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{GroupName: aws.String(group), Name: aws.String(name)})
	})
}

func (r *region) group(name string) {
	r.t.Helper()
	if _, err := r.scheduler.CreateScheduleGroup(r.t.Context(), &scheduler.CreateScheduleGroupInput{Name: aws.String(name)}); err != nil {
		r.t.Fatal(err)
	}
	r.atEnd(func(ctx context.Context) {
		_, _ = r.scheduler.DeleteScheduleGroup(ctx, &scheduler.DeleteScheduleGroupInput{Name: aws.String(name)})
	})
}

func (r *region) schedules() []string {
	r.t.Helper()
	out, err := r.scheduler.ListSchedules(r.t.Context(), &scheduler.ListSchedulesInput{})
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, s := range out.Schedules {
		names = append(names, aws.ToString(s.GroupName)+"/"+aws.ToString(s.Name))
	}
	slices.Sort(names)
	return names
}

// input is what the first system hands to its function.
func input(id, parameter string) string {
	return fmt.Sprintf(`{"sandbox_id": %q, "installation_id": "1", "ssm_parameter_name": %q, "allowed_repos": ["acme/x"], "permissions": {"contents": "write"}}`, id, parameter)
}

func texts(keys []doctor.Key) []string {
	var all []string
	for _, k := range keys {
		all = append(all, k.Workspace+" "+k.Name)
	}
	slices.Sort(all)
	return all
}
