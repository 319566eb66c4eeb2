package awsdebris

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/gatepass/gatepass/cmd/internal/doctor"
	"github.com/gatepass/gatepass/internal/oneline"
)

// Outcomes that Examine goes on from.
var (
	errDenied      = errors.New("access denied")
	errUnknownCall = errors.New("unknown call")
)

const (
	// freshKey is how old a key is at least: one that was just made may be for a
	// workspace that is made right after it.
	freshKey = time.Hour

	// idleTime is how long nobody has used a key that may go. Tokens are renewed
	// every hour.
	idleTime = 7 * 24 * time.Hour

	// deletionDays is the longest time that KMS lets one think it over.
	deletionDays = 30

	pageSize = 100
)

// Keys implements [doctor.Cloud].
func (a *Account) Keys(ctx context.Context) ([]doctor.Key, error) {
	forms, err := a.forms()
	if err != nil || len(forms) == 0 {
		return nil, err
	}
	h, err := a.where(ctx)
	if err != nil {
		return nil, err
	}
	var keys []doctor.Key
	err = a.aliases(ctx, "", func(e types.AliasListEntry) {
		name, id := aws.ToString(e.AliasName), aws.ToString(e.TargetKeyId)
		if id == "" || !h.has("kms", aws.ToString(e.AliasArn)) {
			return
		}
		for _, f := range forms {
			if workspace, ok := f.workspaceOf(name); ok {
				keys = append(keys, doctor.Key{Workspace: workspace, Name: name, ID: id, Named: latest(e.CreationDate, e.LastUpdatedDate)})
				return
			}
		}
	})
	return keys, err
}

func latest(times ...*time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t != nil && t.After(last) {
			last = *t
		}
	}
	return last
}

// aliases yields those of one key; of all keys where id is "".
func (a *Account) aliases(ctx context.Context, id string, yield func(types.AliasListEntry)) error {
	input := &kms.ListAliasesInput{Limit: aws.Int32(pageSize)}
	if id != "" {
		input.KeyId = aws.String(id)
	}
	for {
		page, err := call(ctx, &a.kms, operation{"list KMS aliases", "KMS", "kms:ListAliases"}, func(ctx context.Context, c *kms.Client) (*kms.ListAliasesOutput, error) {
			return c.ListAliases(ctx, input, inTimeKMS(ctx))
		})
		if err != nil {
			return err
		}
		for _, e := range page.Aliases {
			yield(e)
		}
		if !page.Truncated || aws.ToString(page.NextMarker) == "" {
			return nil
		}
		input.Marker = page.NextMarker
	}
}

// Examine implements [doctor.Cloud]. Whatever a key is called, it is one of a
// workspace only where Parameter Store could encrypt with it, and no parameter of
// this region is encrypted with it any more.
func (a *Account) Examine(ctx context.Context, k doctor.Key) (doctor.Verdict, error) {
	verdict, _, err := a.examine(ctx, k)
	return verdict, err
}

func (a *Account) examine(ctx context.Context, k doctor.Key) (doctor.Verdict, *types.KeyMetadata, error) {
	key, err := a.describe(ctx, k.ID)
	if err != nil {
		return doctor.Verdict{}, nil, err
	}
	if key.KeyManager != types.KeyManagerTypeCustomer || key.KeySpec != types.KeySpecSymmetricDefault {
		return doctor.Verdict{Foreign: true}, key, nil
	}
	isUsed, err := a.isUsed(ctx, k, key)
	if err != nil || isUsed {
		return doctor.Verdict{Foreign: isUsed}, key, err
	}
	left, err := a.whyLeft(ctx, k, key)
	return doctor.Verdict{Left: left}, key, err
}

func (a *Account) whyLeft(ctx context.Context, k doctor.Key, key *types.KeyMetadata) (string, error) {
	switch now := a.time(); {
	case key.KeyState == types.KeyStatePendingDeletion:
		return "", nil // only its name is left to remove
	case aws.ToBool(key.MultiRegion):
		return "it is a multi-Region key; remove it by hand", nil
	case key.KeyState != types.KeyStateEnabled && key.KeyState != types.KeyStateDisabled:
		return "its state is " + string(key.KeyState), nil
	case now.Sub(latest(key.CreationDate, &k.Named)) < freshKey:
		return "it was made or named less than an hour ago", nil
	}
	return a.whyBusy(ctx, k)
}

// whyBusy says when the key was used last, where that is not long ago.
func (a *Account) whyBusy(ctx context.Context, k doctor.Key) (string, error) {
	op := operation{"see when the KMS key " + k.Name + " was used", "KMS", "kms:GetKeyLastUsage"}
	out, err := call(ctx, &a.kms, op, func(ctx context.Context, c *kms.Client) (*kms.GetKeyLastUsageOutput, error) {
		if isEmulator(c) {
			return new(kms.GetKeyLastUsageOutput), nil // it keeps no such books
		}
		return c.GetKeyLastUsage(ctx, &kms.GetKeyLastUsageInput{KeyId: aws.String(k.ID)}, inTimeKMS(ctx))
	})
	switch {
	case errors.Is(err, errUnknownCall): // not in every partition
		return "", nil
	case errors.Is(err, errDenied):
		return "whether anybody uses it cannot be told without kms:GetKeyLastUsage", nil
	case err != nil:
		return "", err
	}
	if u := out.KeyLastUsage; u != nil && u.Timestamp != nil && a.time().Sub(*u.Timestamp) < idleTime {
		return "it was used on " + u.Timestamp.UTC().Format(time.DateOnly) + ", and has to be idle for seven days", nil
	}
	return "", nil
}

// isEmulator reports an endpoint without TLS, which AWS has none of.
func isEmulator(c *kms.Client) bool {
	return strings.HasPrefix(aws.ToString(c.Options().BaseEndpoint), "http://")
}

func (a *Account) describe(ctx context.Context, id string) (*types.KeyMetadata, error) {
	what := "look at the KMS key " + id
	out, err := call(ctx, &a.kms, operation{what, "KMS", "kms:DescribeKey"}, func(ctx context.Context, c *kms.Client) (*kms.DescribeKeyOutput, error) {
		return c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(id)}, inTimeKMS(ctx))
	})
	if err != nil {
		return nil, err
	}
	if out.KeyMetadata == nil || aws.ToString(out.KeyMetadata.KeyId) != id {
		return nil, oneline.New(what, "the answer is about another key", "check the endpoint that the store or AWS_ENDPOINT_URL names")
	}
	return out.KeyMetadata, nil
}

// isUsed reports whether any parameter of the region is encrypted with the key, by
// whatever name.
func (a *Account) isUsed(ctx context.Context, k doctor.Key, key *types.KeyMetadata) (bool, error) {
	h, err := a.where(ctx)
	if err != nil {
		return false, err
	}
	names := []string{k.Name, h.arn("kms", k.Name), k.ID, aws.ToString(key.Arn)}
	input := &ssm.DescribeParametersInput{ParameterFilters: []ssmtypes.ParameterStringFilter{
		{Key: aws.String("KeyId"), Option: aws.String("Equals"), Values: slices.DeleteFunc(names, func(n string) bool { return n == "" })},
	}}
	for {
		op := operation{"see which parameters the KMS key " + k.Name + " encrypts", "SSM", "ssm:DescribeParameters"}
		page, err := call(ctx, &a.parameters, op, func(ctx context.Context, c *ssm.Client) (*ssm.DescribeParametersOutput, error) {
			return c.DescribeParameters(ctx, input, inTimeSSM(ctx))
		})
		if err != nil || len(page.Parameters) > 0 {
			return true, err
		}
		if aws.ToString(page.NextToken) == "" {
			return false, nil
		}
		input.NextToken = page.NextToken
	}
}

// RemoveKey implements [doctor.Cloud]. The alias goes last: without it nobody
// would find the key again.
func (a *Account) RemoveKey(ctx context.Context, k doctor.Key) (done string, err error) {
	what := "remove the KMS key " + k.Name
	verdict, key, err := a.examine(ctx, k)
	switch {
	case err != nil:
		return "", err
	case verdict.Foreign:
		return "", oneline.New(what, "it is in use by now", "")
	case verdict.Left != "":
		return "", oneline.New(what, verdict.Left, "")
	}
	var names []string
	if err := a.aliases(ctx, k.ID, func(e types.AliasListEntry) { names = append(names, aws.ToString(e.AliasName)) }); err != nil {
		return "", err
	}
	switch {
	case !slices.Contains(names, k.Name):
		return "", oneline.New(what, "the alias has gone, or names another key by now", "")
	case len(names) > 1:
		done = "removed the alias; the key itself has other names and stays"
	case key.KeyState == types.KeyStatePendingDeletion:
		done = "removed the alias; the key was to be deleted already"
	default:
		done = "removed the alias, and the key is deleted in 30 days unless somebody cancels it: aws kms cancel-key-deletion --key-id " + k.ID
		if err := a.scheduleDeletion(ctx, what, k.ID); err != nil {
			return "", err
		}
	}
	_, err = call(ctx, &a.kms, operation{what, "KMS", "kms:DeleteAlias on alias and key"}, func(ctx context.Context, c *kms.Client) (*kms.DeleteAliasOutput, error) {
		return c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String(k.Name)}, inTimeKMS(ctx))
	})
	return done, err
}

func (a *Account) scheduleDeletion(ctx context.Context, what, id string) error {
	_, err := call(ctx, &a.kms, operation{what, "KMS", "kms:ScheduleKeyDeletion"}, func(ctx context.Context, c *kms.Client) (*kms.ScheduleKeyDeletionOutput, error) {
		return c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: aws.String(id), PendingWindowInDays: aws.Int32(deletionDays)}, inTimeKMS(ctx))
	})
	return err
}
