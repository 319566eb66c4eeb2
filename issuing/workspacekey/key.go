package workspacekey

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// The tags of a key. A key with both was made by gatepass for a workspace of this
// store.
const (
	workspaceTag = "gatepass:workspace"
	storeTag     = "gatepass:store"
)

// deletionDays is the longest waiting period before KMS deletes a key.
const deletionDays = 30

// alias returns the name of a workspace's key. It returns an error if the workspace's
// id has characters that KMS does not allow.
func (k *Store) alias(id string) (string, error) {
	name, err := store.OnlyToken(id)
	if err != nil {
		return "", err
	}
	alias := k.KeyOf(name)
	for i := 0; i < len(id); i++ {
		if id[i] == '.' {
			return "", usererr.New("create the KMS key "+alias, "an alias of KMS must not have dots", "choose a workspace ID without dots")
		}
	}
	return alias, nil
}

// Prepare implements [store.Preparer]. Afterwards the workspace has its key.
func (k *Store) Prepare(ctx context.Context, id string) error {
	if k.isReady(id) {
		return nil
	}
	alias, err := k.alias(id)
	if err != nil {
		return err
	}
	key, err := k.describe(ctx, alias)
	if err == nil {
		if err = check(alias, key); err == nil {
			k.setReady(id, time.Unix(1, 0))
		}
		return err
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return k.make(ctx, id, alias)
}

// check returns an error if Parameter Store cannot encrypt with a key.
func check(alias string, key types.KeyMetadata) error {
	what := "use the KMS key " + alias
	switch {
	case key.KeyState == types.KeyStatePendingDeletion:
		return usererr.New(what, "its deletion is scheduled", "keep it: aws kms cancel-key-deletion and aws kms enable-key --key-id "+aws.ToString(key.KeyId)+"; or remove the alias, so that gatepass creates another key: aws kms delete-alias --alias-name "+alias)
	case key.KeyState != types.KeyStateEnabled:
		return usererr.New(what, "its state is "+string(key.KeyState), "enable it: aws kms enable-key --key-id "+aws.ToString(key.KeyId))
	case key.KeySpec != types.KeySpecSymmetricDefault || key.KeyManager != types.KeyManagerTypeCustomer:
		return usererr.New(what, "it must be a symmetric customer managed key of this account", "write another alias in the store's kms_key")
	}
	return nil
}

// make makes a key and names it. Before, it writes a mark into the store: if the run is
// killed between the two steps, the next run finds the unnamed key by its tags instead
// of making another.
func (k *Store) make(ctx context.Context, id, alias string) error {
	mark, err := store.KeyMark(id)
	if err != nil {
		return err
	}
	key := ""
	err = k.Store.Put(ctx, mark, store.NewSecret(time.Now().UTC().Format(time.RFC3339)), store.CreateOnly)
	if errors.Is(err, store.ErrExists) {
		key, err = k.find(ctx, id)
	}
	if err != nil {
		return err
	}
	isOwn := key == ""
	if isOwn {
		if key, err = k.create(ctx, id, alias); err != nil {
			return err
		}
	}
	if err := k.name(ctx, id, alias, key, isOwn); err != nil {
		return err
	}
	k.setReady(id, time.Now())
	return k.Store.Delete(ctx, mark)
}

// name gives a key its alias. If another process was faster, that one's key is used,
// and the one that this process made is deleted.
func (k *Store) name(ctx context.Context, id, alias, key string, isOwn bool) error {
	op := operation{"name the KMS key " + alias, "kms:CreateAlias on the key and the alias"}
	_, err := call(ctx, &k.kms, op, func(ctx context.Context, c *kms.Client) (*kms.CreateAliasOutput, error) {
		return c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(alias), TargetKeyId: aws.String(key)}, inTime(ctx))
	})
	if !errors.Is(err, store.ErrExists) {
		return err
	}
	now, err := k.describe(ctx, alias)
	if err != nil {
		return err
	}
	if isOwn && aws.ToString(now.KeyId) != key {
		if err := k.schedule(ctx, alias, key); err != nil {
			return err
		}
	}
	return check(alias, now)
}

func (k *Store) create(ctx context.Context, id, alias string) (key string, err error) {
	policy, err := k.policy(ctx, id)
	if err != nil {
		return "", err
	}
	op := operation{"create the KMS key " + alias, "kms:CreateKey and kms:TagResource"}
	out, err := call(ctx, &k.kms, op, func(ctx context.Context, c *kms.Client) (*kms.CreateKeyOutput, error) {
		return c.CreateKey(ctx, &kms.CreateKeyInput{
			Description: aws.String("gatepass: tokens of workspace " + id), Policy: aws.String(policy), Tags: k.tags(id),
		}, once)
	})
	if err != nil {
		return "", err
	}
	if out.KeyMetadata == nil || aws.ToString(out.KeyMetadata.KeyId) == "" {
		return "", usererr.New(op.what, "the answer has no key", "check the endpoint that the store or AWS_ENDPOINT_URL names")
	}
	return aws.ToString(out.KeyMetadata.KeyId), nil
}

// tags returns the tags of a workspace's key.
func (k *Store) tags(id string) []types.Tag {
	return []types.Tag{
		{TagKey: aws.String(workspaceTag), TagValue: aws.String(id)},
		{TagKey: aws.String(storeTag), TagValue: aws.String(k.folder(id))},
	}
}

// folder returns the path of the workspace's parameters.
func (k *Store) folder(id string) string {
	name, err := store.OnlyToken(id)
	if err != nil {
		return ""
	}
	full := k.Parameter(name)
	return full[:strings.LastIndexByte(full, '/')]
}

// find returns a key that an earlier run made for the workspace but did not name; "" if
// there is none. It skips keys whose tags it may not read: they are not gatepass's.
func (k *Store) find(ctx context.Context, id string) (string, error) {
	input := &kms.ListKeysInput{Limit: aws.Int32(1000)}
	for {
		op := operation{"find the unnamed KMS key of workspace " + id, "kms:ListKeys"}
		page, err := call(ctx, &k.kms, op, func(ctx context.Context, c *kms.Client) (*kms.ListKeysOutput, error) {
			return c.ListKeys(ctx, input, inTime(ctx))
		})
		if err != nil {
			return "", err
		}
		for _, e := range page.Keys {
			isOurs, err := k.isOurs(ctx, id, aws.ToString(e.KeyId))
			if errors.Is(err, errDenied) || errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil || isOurs {
				return aws.ToString(e.KeyId), err
			}
		}
		if !page.Truncated || aws.ToString(page.NextMarker) == "" {
			return "", nil
		}
		input.Marker = page.NextMarker
	}
}

// isOurs reports whether a key is usable and has the tags of the workspace's key.
func (k *Store) isOurs(ctx context.Context, id, key string) (bool, error) {
	isTagged, err := k.isTagged(ctx, id, key)
	if err != nil || !isTagged {
		return false, err
	}
	now, err := k.describe(ctx, key)
	return err == nil && check(key, now) == nil, err
}

func (k *Store) isTagged(ctx context.Context, id, key string) (bool, error) {
	op := operation{"read the tags of the KMS key " + key, "kms:ListResourceTags on the key"}
	out, err := call(ctx, &k.kms, op, func(ctx context.Context, c *kms.Client) (*kms.ListResourceTagsOutput, error) {
		return c.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: aws.String(key)}, inTime(ctx))
	})
	if err != nil {
		return false, err
	}
	found := map[string]string{}
	for _, tag := range out.Tags {
		found[aws.ToString(tag.TagKey)] = aws.ToString(tag.TagValue)
	}
	for _, tag := range k.tags(id) {
		if found[aws.ToString(tag.TagKey)] != aws.ToString(tag.TagValue) {
			return false, nil
		}
	}
	return true, nil
}

func (k *Store) describe(ctx context.Context, key string) (types.KeyMetadata, error) {
	op := operation{"look at the KMS key " + key, "kms:DescribeKey on the key"}
	out, err := call(ctx, &k.kms, op, func(ctx context.Context, c *kms.Client) (*kms.DescribeKeyOutput, error) {
		return c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(key)}, inTime(ctx))
	})
	if err != nil {
		return types.KeyMetadata{}, err
	}
	if out.KeyMetadata == nil || aws.ToString(out.KeyMetadata.KeyId) == "" {
		return types.KeyMetadata{}, usererr.New(op.what, "the answer has no key", "check the endpoint that the store or AWS_ENDPOINT_URL names")
	}
	return *out.KeyMetadata, nil
}
