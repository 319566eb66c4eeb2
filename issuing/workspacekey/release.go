package workspacekey

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/gatepass/gatepass/store"
)

// release schedules the deletion of a workspace's key in 30 days, and deletes its
// alias. It leaves a key that gatepass did not make, by its tags. The alias is deleted
// last: without it the next run would not find the key.
func (k *Store) release(ctx context.Context, id string) error {
	k.setReady(id, time.Time{})
	alias, err := k.alias(id)
	if err != nil {
		return nil // no key can exist for such an id
	}
	key, err := k.describe(ctx, alias)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	isTagged, err := k.isTagged(ctx, id, aws.ToString(key.KeyId))
	if err != nil || !isTagged {
		return err
	}
	if key.KeyState != types.KeyStatePendingDeletion {
		if err := k.schedule(ctx, alias, aws.ToString(key.KeyId)); err != nil {
			return err
		}
	}
	op := operation{"remove the alias of the KMS key " + alias, "kms:DeleteAlias on the key and the alias"}
	_, err = call(ctx, &k.kms, op, func(ctx context.Context, c *kms.Client) (*kms.DeleteAliasOutput, error) {
		return c.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String(alias)}, inTime(ctx))
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// releaseUnnamed schedules the deletion of a key whose creation was interrupted,
// according to a mark.
func (k *Store) releaseUnnamed(ctx context.Context, id string) error {
	key, err := k.find(ctx, id)
	if err != nil || key == "" {
		return err
	}
	return k.schedule(ctx, key, key)
}

func (k *Store) schedule(ctx context.Context, alias, key string) error {
	op := operation{"schedule the deletion of the KMS key " + alias, "kms:ScheduleKeyDeletion on the key"}
	_, err := call(ctx, &k.kms, op, func(ctx context.Context, c *kms.Client) (*kms.ScheduleKeyDeletionOutput, error) {
		return c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: aws.String(key), PendingWindowInDays: aws.Int32(deletionDays)}, inTime(ctx))
	})
	return err
}
