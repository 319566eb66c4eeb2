package throttle

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"
)

// call makes n calls of an operation, and returns how many were passed on.
func call(p *Proxy, operation string, n int) (passed int) {
	for range n {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("X-Amz-Target", operation)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			passed++
		}
	}
	return passed
}

var taken = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })

func TestBucketsFillUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(taken, ParameterStore, Table(2, 1))
		for _, step := range []struct {
			after     time.Duration
			operation string
			calls     int
			want      int
		}{
			{0, "AmazonSSM.PutParameter", 10, 3},
			{0, "AmazonSSM.GetParameter", 30, 30},
			{0, "AmazonSSM.GetParametersByPath", 30, 10}, // shares the bucket
			{0, "AmazonSSM.DescribeParameters", 30, 10},
			{0, "AmazonSSM.DeleteParameter", 30, 5},
			{0, "AmazonSSM.AddTagsToResource", 30, 30},
			{time.Second, "AmazonSSM.PutParameter", 10, 3},
			{400 * time.Millisecond, "AmazonSSM.PutParameter", 10, 1},
			{time.Hour, "AmazonSSM.PutParameter", 10, 3},
			{0, "DynamoDB_20120810.Query", 3, 2},
			{0, "DynamoDB_20120810.PutItem", 3, 1},
		} {
			time.Sleep(step.after)
			if got := call(p, step.operation, step.calls); got != step.want {
				t.Errorf("%d calls of %s after %v: %d passed, want %d", step.calls, step.operation, step.after, got, step.want)
			}
		}
		if got, want := p.Counts()["PutParameter"], (Count{Passed: 10, Refused: 30}); got != want {
			t.Errorf("counts of PutParameter = %v, want %v", got, want)
		}
		if got, want := p.Total(), (Count{Passed: 98, Refused: 98}); got != want {
			t.Errorf("Total = %v, want %v", got, want)
		}
		p.Reset()
		if got := p.Total(); got != (Count{}) {
			t.Errorf("Total after Reset = %v, want none", got)
		}
	})
}

// A refusal that AWS's SDK does not take for a throttle tests nothing.
func TestSDKTakesItForAThrottle(t *testing.T) {
	next, err := To(serve(t, taken))
	if err != nil {
		t.Fatal(err)
	}
	p := New(next, []Limit{{Operations: []string{"AmazonSSM.GetParameter"}, PerSecond: 0.001}})
	client := ssm.New(ssm.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(serve(t, p)), Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	input := &ssm.GetParameterInput{Name: aws.String("/a")}
	if _, err := client.GetParameter(t.Context(), input); err != nil {
		t.Fatalf("the first call = %v, want it passed on", err)
	}
	_, err = client.GetParameter(t.Context(), input)
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err) != aws.TrueTernary {
		t.Fatalf("the second call = %v, want a throttle", err)
	}
	if api.ErrorMessage() != "Rate exceeded" {
		t.Errorf("the message = %q, want AWS's", api.ErrorMessage())
	}
}

func serve(t *testing.T, h http.Handler) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func TestAddressOfNoServerIsRefused(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1", "http://", "http://a b"} {
		if _, err := To(address); err == nil || !strings.Contains(err.Error(), "address") {
			t.Errorf("To(%q) = %v, want an error", address, err)
		}
	}
}
