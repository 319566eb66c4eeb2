package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gatepass/gatepass/issuing"
	"github.com/gatepass/gatepass/store"
	"github.com/gatepass/gatepass/test/dynamotest"
	"github.com/gatepass/gatepass/test/fakegithub"
	"github.com/gatepass/gatepass/test/stacktest"
	"github.com/gatepass/gatepass/workspace"
)

// A cloud is AWS as a function of the template sees it: the emulator, with a record of
// its requests.
type cloud struct {
	*world
	stack  *stacktest.Stack
	lambda *lambdaService
	aws    *stacktest.Recorder
	began  time.Time
}

// newCloud deploys the template and runs the program that its function ships.
func newCloud(t *testing.T, given ...string) *cloud {
	t.Helper()
	endpoint, programs := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT"), os.Getenv("GATEPASS_TEST_BIN_DIR")
	if endpoint == "" || programs == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server, and GATEPASS_TEST_BIN_DIR to where the programs are)")
	}
	c := &cloud{aws: stacktest.Record(t, endpoint)}
	prefix := "/gp" + time.Now().Format("150405.000000000")
	c.stack = newStack(t, append(given, "StorePrefix="+prefix, "WorkspacesPrefix="+prefix+"-w", "Grace=0s")...)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": endpoint,
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
	} {
		t.Setenv(name, value)
	}
	s, err := issuing.OpenStore(c.stack.Environment()["GATEPASS_STORE"])
	if err != nil {
		t.Fatal(err)
	}
	c.world = newWorldWith(t, fakegithub.Options{}, s)
	c.settle("sb-1", "sb-2")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, c.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := []string{ // what AWS adds, and the addresses of its services and GitHub
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_SESSION_TOKEN=test", "AWS_REGION=us-east-1",
		"AWS_ENDPOINT_URL=" + c.aws.URL, "SSL_CERT_FILE=" + ca,
	}
	for name, value := range c.stack.Environment() {
		environment = append(environment, name+"="+value)
	}
	c.began = time.Now()
	c.lambda = startLambda(t, filepath.Join(programs, "gatepass-refresher"), environment...)
	return c
}

func TestTheFunctionForReal(t *testing.T) {
	c := newCloud(t)
	before := []string{c.token("sb-1"), c.token("sb-2")}
	if made := c.lambda.report("{}"); made.Workspaces != 2 || made.Minted != 2 || made.Failed != 0 {
		t.Errorf("the first invocation = %+v, want two minted", made)
	}
	t.Logf("%s from start to the first reply", time.Since(c.began).Round(time.Millisecond))
	after := []string{c.token("sb-1"), c.token("sb-2")}
	if slices.Equal(before, after) || after[0] == after[1] {
		t.Error("the tokens in the store are not two new ones")
	}
	if made := c.lambda.report(scheduled); made.Due != 0 || made.Minted != 0 || c.asked() != 2 {
		t.Errorf("the second invocation = %+v, %d mints in all, want nothing due", made, c.asked())
	}
	c.checkPayloads()
	c.checkJWTs(10)
	c.lambda.stop()
	if log := c.lambda.log.String(); strings.Contains(log, "ghs_") || !strings.Contains(log, "token_generated") {
		t.Errorf("the log:\n%s", log)
	}
}

// checkPayloads tests payloads for single workspaces, and invalid ones.
func (c *cloud) checkPayloads() {
	c.t.Helper()
	parameter := c.stack.Parameters["WorkspacesPrefix"] + "/sandbox/sb-1/github-token"
	payload := func(id, parameter, permissions string) string {
		return fmt.Sprintf(`{"sandbox_id": %q, "installation_id": "12345", "ssm_parameter_name": %q, "kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/1",
			"allowed_repos": ["octo/*"], "permissions": %s}`, id, parameter, permissions)
	}
	for _, permissions := range []string{`["clone", "push"]`, `{"contents": "admin"}`} {
		if made := c.lambda.report(payload("sb-1", parameter, permissions)); made.Refreshed != 1 || made.Minted != 0 {
			c.t.Errorf("a schedule's invocation = %+v, want nothing minted", made)
		}
	}
	c.lambda.refuses(payload("sb-1", "/sandbox/sb-1/github-token", "[]"), badPayload, "add workspaces=/")
	c.lambda.refuses(payload("sb-9", "", `["clone"]`), workspaceUnknown, "GATEPASS_ADOPT=true")
	c.lambda.refuses(`{"sandbox": "sb-1"}`, badPayload, "it has an unknown form; send {} for all workspaces, or {\"workspace\": \"ID\"}")
	cancel := c.Fail(fakegithub.To(http.MethodPost, "/access_tokens"), fakegithub.Slow(time.Minute), -1)
	defer cancel()
	for within := 5 * time.Second; ; within *= 2 { // a tenth of it is for the answer, and this machine may be slow
		reply := c.lambda.invoke(`{"workspace": "sb-1", "force": true}`, within)
		isInTime := !reply.isError && strings.Contains(reply.body, `"deferred":1`) && reply.took <= within
		if isInTime {
			return
		}
		if within > 15*time.Second {
			c.t.Errorf("the reply to one that takes too long is %+v, want it in time, and the workspace deferred", reply)
			return
		}
	}
}

// checkJWTs checks that warm invocations sign once.
func (c *cloud) checkJWTs(invocations int) {
	c.t.Helper()
	c.ResetRequests()
	for range invocations {
		if made := c.lambda.report(`{"workspace": "sb-2", "force": true}`); made.Minted != 1 || made.Revoked != 1 {
			c.t.Errorf("by force = %+v, want one minted and one revoked", made)
		}
	}
	signed := map[string]bool{}
	for _, r := range c.Requests() {
		if strings.HasSuffix(r.Path, "/access_tokens") {
			signed[r.Hash] = true
		}
	}
	if c.asked() != invocations || len(signed) != 1 {
		c.t.Errorf("%d tokens were asked for with %d JWTs, want %d with one", c.asked(), len(signed), invocations)
	}
}

// The role allows every call to AWS that the function makes, and nothing more. The
// emulator signs digests wrongly, so a key in KMS yields no token; the calls are made
// all the same.
func TestRecordedCallsAreAllowed(t *testing.T) {
	const key = "arn:aws:kms:us-east-1:123456789012:key/"
	c := newCloud(t, "SigningKeyArn="+key+"1", "Adopt=true")
	c.lambda.report("{}")
	c.lambda.report(`{"workspace": "sb-1", "force": true}`)
	c.lambda.report(`{"sandbox_id": "sb-3", "allowed_repos": ["octo/widgets"], "permissions": ["clone"]}`)
	id := c.newKey()
	c.put(store.Signer(), "awskms:///"+id)
	c.lambda.refuses(`{"workspace": "sb-1", "force": true}`, roundIsFailed, "sign with the KMS key")

	c.checkPolicy(func(call *stacktest.Call) { call.KeyID = strings.Replace(call.KeyID, id, key+"1", 1) })
}

// The same with a key per workspace: through its creation, an interrupted creation, and
// its end.
func TestRecordedCallsOfWorkspaceKeysAreAllowed(t *testing.T) {
	c := newCloud(t, "WorkspaceKeys="+strings.ReplaceAll(t.Name(), "/", "-")+"-"+time.Now().Format("150405")+"-", "Adopt=true")
	if made := c.lambda.report("{}"); made.Refreshed != 2 {
		t.Fatalf("a round = %+v, want two refreshed", made)
	}
	mark, err := store.KeyMark("sb-3")
	if err != nil {
		t.Fatal(err)
	}
	c.put(mark, "cut off")
	if made := c.lambda.report(`{"sandbox_id": "sb-3", "allowed_repos": ["octo/widgets"], "permissions": ["clone"]}`); made.Refreshed != 1 {
		t.Errorf("a workspace whose key was not made to its end = %+v, want it made", made)
	}
	for _, id := range []string{"sb-1", "sb-3"} {
		record, err := (&workspace.Issuer{Store: c.store}).Load(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		record.Destroying = true
		data, err := record.Encode()
		if err != nil {
			t.Fatal(err)
		}
		name, err := store.Record(id)
		if err != nil {
			t.Fatal(err)
		}
		c.put(name, string(data))
		if made := c.lambda.report(`{"workspace": "` + id + `"}`); made.Failed != 0 {
			t.Errorf("the end of %s = %+v, want it done", id, made)
		}
	}
	c.checkPolicy(func(*stacktest.Call) {})
	for _, operation := range []string{"CreateKey", "CreateAlias", "ListKeys", "ScheduleKeyDeletion", "DeleteAlias"} {
		if !slices.ContainsFunc(c.aws.Calls(), func(a stacktest.Call) bool { return a.Operation == "TrentService."+operation }) {
			t.Errorf("%s was never called", operation)
		}
	}
}

// The same with the ledger in DynamoDB, by the function's role and the table's policy.
func TestRecordedCallsInATableAreAllowed(t *testing.T) {
	endpoint := os.Getenv("GATEPASS_TEST_AWS_ENDPOINT")
	if endpoint == "" {
		t.Skip("missing: AWS emulator (set GATEPASS_TEST_AWS_ENDPOINT to the address of a moto_server)")
	}
	table, err := dynamotest.NewTable(t.Context(), endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c := newCloud(t, "Table="+table, "TablePolicyArn=arn:aws:iam::123456789012:policy/gatepass", "Adopt=true")
	before := c.token("sb-1")
	if made := c.lambda.report("{}"); made.Refreshed != 2 || made.Failed != 0 {
		t.Fatalf("a round = %+v, want two refreshed", made)
	}
	if made := c.lambda.report(`{"sandbox_id": "sb-3", "allowed_repos": ["octo/widgets"], "permissions": ["clone"]}`); made.Refreshed != 1 {
		t.Errorf("a workspace that is new = %+v, want it made", made)
	}
	age := dynamotest.Client(endpoint)
	for _, owner := range []string{"acme", "octo"} { // after a new installation a round reads all records
		_, err := age.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: aws.String(table), UpdateExpression: aws.String("SET written = :written"),
			Key:                       map[string]types.AttributeValue{"shard": &types.AttributeValueMemberS{Value: "config"}, "entry": &types.AttributeValueMemberS{Value: "config/github/installations/" + owner}},
			ExpressionAttributeValues: map[string]types.AttributeValue{":written": &types.AttributeValueMemberN{Value: "1"}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if made := c.lambda.report("{}"); made.Due != 0 || made.Failed != 0 {
		t.Errorf("a round by the index = %+v, want nothing due", made)
	}
	if after := c.token("sb-1"); after == before || !strings.HasPrefix(after, "ghs_") {
		t.Error("the token in the store is not a new one")
	}
	for _, call := range c.aws.Calls() {
		if service, _, _ := strings.Cut(call.Operation, "."); service == "AmazonSSM" && !strings.Contains(call.Name, "/sandbox/sb-") {
			t.Errorf("%s is called for %s, want everything but tokens in the table", call.Operation, call.Name)
		}
	}
	ofTable := stacktest.New(t, "dynamodb.yaml").Policy("RefresherPolicy")
	c.checkPolicy(func(*stacktest.Call) {}, ofTable...)
}

// checkPolicy compares the recorded calls with the role's policy and its other
// policies, in both directions.
func (c *cloud) checkPolicy(change func(*stacktest.Call), others ...stacktest.Statement) {
	c.t.Helper()
	calls := c.aws.Calls()
	for i := range calls {
		change(&calls[i])
	}
	stacktest.Check(c.t, calls, append(c.stack.Policy("Role"), others...))
}

// newKey makes a key in the emulator that could sign for an App.
func (c *cloud) newKey() string {
	c.t.Helper()
	q, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, os.Getenv("GATEPASS_TEST_AWS_ENDPOINT"), strings.NewReader(`{"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}`))
	if err != nil {
		c.t.Fatal(err)
	}
	q.Header.Set("X-Amz-Target", "TrentService.CreateKey")
	q.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0")
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	var made struct {
		KeyMetadata struct{ KeyID string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&made); err != nil || made.KeyMetadata.KeyID == "" {
		c.t.Fatalf("CreateKey = %+v, %v", made, err)
	}
	return made.KeyMetadata.KeyID
}
