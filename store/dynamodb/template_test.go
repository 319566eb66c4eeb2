package dynamodb

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gatepass/gatepass/test/stacktest"
)

// A table that keeps what was deleted breaks what package store promises.
func TestTheTableKeepsNothingDeleted(t *testing.T) {
	table := stacktest.New(t, "dynamodb.yaml").Properties("Table")
	if stream := table["StreamSpecification"]; stream != nil {
		t.Errorf("the table has the stream %v", stream)
	}
	for property, want := range map[string]string{
		"PointInTimeRecoverySpecification": "map[PointInTimeRecoveryEnabled:false]",
		"TimeToLiveSpecification":          fmt.Sprintf("map[AttributeName:%s Enabled:true]", attrEnds),
		"DeletionProtectionEnabled":        "true",
		"BillingMode":                      "PAY_PER_REQUEST",
		"KeySchema":                        fmt.Sprintf("[map[AttributeName:%s KeyType:HASH] map[AttributeName:%s KeyType:RANGE]]", attrShard, attrEntry),
		"GlobalSecondaryIndexes":           fmt.Sprintf("[map[IndexName:%s KeySchema:[map[AttributeName:%s KeyType:HASH] map[AttributeName:%s KeyType:RANGE]] Projection:map[ProjectionType:KEYS_ONLY]]]", dueIndex, attrDueShard, attrDue),
		"SSESpecification":                 "<nil>",
	} {
		if got := fmt.Sprint(table[property]); got != want {
			t.Errorf("%s = %s, want %s", property, got, want)
		}
	}
	const key = "arn:aws:kms:us-east-1:123456789012:key/1"
	table = stacktest.New(t, "dynamodb.yaml", "KeyArn="+key).Properties("Table")
	if got, want := fmt.Sprint(table["SSESpecification"]), "map[KMSMasterKeyId:"+key+" SSEEnabled:true SSEType:KMS]"; got != want {
		t.Errorf("with a key, SSESpecification = %s, want %s", got, want)
	}
}

// Each policy allows what its program does, and no more.
func TestPolicies(t *testing.T) {
	const (
		table = "arn:aws:dynamodb:us-east-1:123456789012:table/gatepass"
		index = table + "/index/due"
	)
	all := []string{"GetItem", "BatchGetItem", "PutItem", "DeleteItem", "Query"}
	var workspaces, dues []string
	for n := range workspaceShards {
		workspaces = append(workspaces, workspaceShard(n))
	}
	for n := range dueShards {
		dues = append(dues, workspaceDueShard(n))
	}
	s := stacktest.New(t, "dynamodb.yaml")
	for _, test := range []struct {
		policy, resource string
		shards           []string
		actions          []string
	}{
		{"RefresherPolicy", table, []string{configShard, otherShard}, []string{"GetItem", "Query"}},
		{"RefresherPolicy", table, workspaces, all},
		{"RefresherPolicy", index, dues, []string{"Query"}},
		{"RefresherPolicy", index, []string{otherShard, configShard}, nil},
		{"BrokerPolicy", table, []string{configShard}, []string{"GetItem", "Query"}},
		{"BrokerPolicy", table, append(slices.Clone(workspaces), otherShard), all},
		{"BrokerPolicy", index, append(slices.Clone(dues), otherShard), []string{"Query"}},
		{"BrokerPolicy", index, []string{configShard}, nil},
		{"OperatorPolicy", table, append(slices.Clone(workspaces), otherShard, configShard), all},
		{"OperatorPolicy", index, append(slices.Clone(dues), otherShard, configShard), []string{"Query"}},
	} {
		for _, shard := range test.shards {
			for _, action := range append([]string{"Scan", "UpdateItem", "BatchWriteItem", "TransactWriteItems", "PartiQLSelect", "DescribeTable", "UpdateTable", "DeleteTable", "ExportTableToPointInTime", "CreateBackup"}, all...) {
				isAllowed := slices.ContainsFunc(s.Policy(test.policy), func(st stacktest.Statement) bool {
					return st.Allows("dynamodb:"+action, test.resource, shard)
				})
				if want := slices.Contains(test.actions, action); isAllowed != want {
					t.Errorf("%s allows %s on %s of %s: %v, want %v", test.policy, action, shard, test.resource, isAllowed, want)
				}
			}
		}
	}
}

// Only where tokens are delivered to Parameter Store does anybody reach it, and only
// workspaces' tokens there.
func TestPoliciesOnTokens(t *testing.T) {
	for _, policy := range []string{"RefresherPolicy", "BrokerPolicy", "OperatorPolicy"} {
		for _, st := range stacktest.New(t, "dynamodb.yaml").Policy(policy) {
			if slices.ContainsFunc(st.Actions, func(a string) bool { return !strings.HasPrefix(a, "dynamodb:") }) {
				t.Errorf("without tokens, keys and signer %s allows %v", policy, st.Actions)
			}
		}
		for prefix, root := range map[string]string{"/gatepass": "/gatepass", "/": ""} {
			statements := stacktest.New(t, "dynamodb.yaml", "TokensPrefix="+prefix).Policy(policy)
			for path, want := range map[string]bool{
				"/sandbox/sb-1/github-token": true, "/sandbox/sb-1/github-tokens/acme": true,
				"/sandbox/sb-1/workspace": false, "/config/github/private-key": false, "/other": false,
			} {
				resource := "arn:aws:ssm:us-east-1:123456789012:parameter" + root + path
				for _, action := range []string{"ssm:GetParameter", "ssm:DeleteParameter", "ssm:PutParameter"} {
					want := want && (action != "ssm:PutParameter" || policy != "BrokerPolicy")
					isAllowed := slices.ContainsFunc(statements, func(st stacktest.Statement) bool { return st.Allows(action, resource) })
					if isAllowed != want {
						t.Errorf("%s allows %s on %s: %v, want %v", policy, action, resource, isAllowed, want)
					}
				}
			}
		}
	}
}

func TestTheOutputIsAStore(t *testing.T) {
	const key = "arn:aws:kms:us-east-1:123456789012:key/1"
	for _, test := range []struct {
		given []string
		want  string
	}{
		{nil, "dynamodb://gatepass?region=us-east-1"},
		{[]string{"TokensPrefix=/", "TableName=gp.prod"}, "dynamodb://gp.prod?region=us-east-1&tokens=ssm:///"},
		{[]string{"TokensPrefix=/km", "TokensKeyArn=" + key}, "dynamodb://gatepass?region=us-east-1&tokens=ssm:///km%3Fkms_key=" + key},
	} {
		got := stacktest.New(t, "dynamodb.yaml", test.given...).Outputs["StoreUrl"].(map[string]any)["Value"]
		if got != test.want {
			t.Errorf("%q: StoreUrl = %v, want %s", test.given, got, test.want)
		}
		u, err := url.Parse(test.want)
		if err != nil {
			t.Fatal(err)
		}
		query := u.Query()
		query.Del("tokens") // which package issuing takes out
		u.RawQuery = query.Encode()
		if _, err := OpenStore(u); err != nil {
			t.Errorf("OpenStore(%s) = %v", u, err)
		}
	}
}
