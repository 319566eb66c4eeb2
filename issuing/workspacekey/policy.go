package workspacekey

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/gatepass/gatepass/internal/usererr"
	"github.com/gatepass/gatepass/store"
)

// A home is the partition, region and account of a store's parameters and keys.
type home struct{ partition, region, account string }

// where returns the home. It asks once, by a parameter that every store with an App
// has.
func (k *Store) where(ctx context.Context) (home, error) {
	k.mu.Lock()
	known := k.home
	k.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	name := store.AppClientID()
	arn, err := k.ARN(ctx, name)
	if err != nil {
		return home{}, err
	}
	part := strings.SplitN(arn, ":", 6)
	if len(part) != 6 || part[2] != "ssm" || part[4] == "" {
		return home{}, usererr.New("look up SSM parameter "+k.Parameter(name), "AWS does not say which account it is in", "check the endpoint that the store or AWS_ENDPOINT_URL names")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.home = &home{part[1], part[3], part[4]}
	return *k.home, nil
}

// A statement is a statement of a key policy.
type statement struct {
	Sid       string
	Effect    string
	Principal map[string]string
	Action    []string
	Resource  string
	Condition map[string]map[string]string `json:",omitempty"`
}

// policy returns the policy of a workspace's key. Identities that IAM allows in this
// account may manage the key. Only Parameter Store may use it, and only for parameters
// of this workspace: it sets the encryption context PARAMETER_ARN
// (https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html).
func (k *Store) policy(ctx context.Context, id string) (string, error) {
	h, err := k.where(ctx)
	if err != nil {
		return "", err
	}
	account := map[string]string{"AWS": "arn:" + h.partition + ":iam::" + h.account + ":root"}
	parameters := strings.Join([]string{"arn", h.partition, "ssm", h.region, h.account, "parameter" + k.folder(id) + "/*"}, ":")
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []statement{
		{
			Sid: "TheAccountManagesTheKey", Effect: "Allow", Principal: account, Resource: "*",
			Action: []string{
				"kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:Describe*", "kms:DisableKey", "kms:EnableKey", "kms:Get*", "kms:List*",
				"kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription",
			},
		},
		{
			Sid: "ParameterStoreEncryptsTheWorkspace", Effect: "Allow", Principal: account, Resource: "*",
			Action: []string{"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"},
			Condition: map[string]map[string]string{"StringLike": {
				"kms:ViaService": "ssm." + h.region + ".*", "kms:EncryptionContext:PARAMETER_ARN": parameters,
			}},
		},
	}})
	return string(text), err
}
