package dynamodb

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepass/gatepass/store"
)

func TestOpenStore(t *testing.T) {
	for _, raw := range []string{"dynamodb://gatepass", "dynamodb://My_table-1.x/?region=eu-west-1&profile=p", "dynamodb://abc?endpoint=http://127.0.0.1:1"} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := OpenStore(u); err != nil || s.table != u.Host {
			t.Errorf("OpenStore(%s) = %v", raw, err)
		}
	}
	for _, test := range []struct{ raw, want string }{
		{"ssm:///x", "scheme"},
		{"dynamodb:///gatepass", "a table's name"},
		{"dynamodb:gatepass", "a table's name"},
		{"dynamodb://ab", "a table's name"},
		{"dynamodb://u@gatepass", "a table's name"},
		{"dynamodb://gatepass:80", "a table's name"},
		{"dynamodb://gatepass/prefix", "path"},
		{"dynamodb://gatepass#x", "fragment"},
		{"dynamodb://gatepass?table=x", "unknown key table"},
		{"dynamodb://gatepass?region=a.b", "region"},
		{"dynamodb://gatepass?endpoint=http://dynamo.example", "https"},
	} {
		u, err := url.Parse(test.raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(u); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("OpenStore(%s) = %v, want an error with %q", test.raw, err, test.want)
		}
	}
}

const secretText = "ghs_dynamodb0123456789abcdefghijklmnop"

// answering returns a function that opens a store before a server that gives one answer.
// After a throttle a store waits before it calls again, so that each call has its own.
func answering(t *testing.T, status int, body string) func() *Store {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	return func() *Store {
		return open(t, "dynamodb://gatepass?region=eu-west-1&endpoint="+url.QueryEscape(server.URL))
	}
}

func fault(code, message string) string {
	return fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":%q}`, code, message)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, test := range []struct {
		status     int
		body, want string
	}{
		{400, fault("ResourceNotFoundException", "Requested resource not found"), "there is no table gatepass in eu-west-1; create it with deploy/aws/dynamodb.yaml"},
		{400, fault("AccessDeniedException", "User: x is not authorized"), "access denied: User: x is not authorized; allow dynamodb:"},
		{400, fault("ProvisionedThroughputExceededException", "x"), "AWS throttles this account (ProvisionedThroughputExceededException)"},
		{400, fault("RequestLimitExceeded", "x"), "AWS throttles this account (RequestLimitExceeded)"},
		{400, fault("ValidationException", "The table does not have the specified index: due"), "AWS refuses (ValidationException): The table does not have"},
		{500, fault("InternalServerError", ""), "DynamoDB has an internal error"},
		{200, `{"Item":`, "the answer is incomplete or is not from DynamoDB"},
	} {
		s := answering(t, test.status, test.body)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, getErr := s().Get(ctx, store.Signer())
		errs := []error{getErr, s().Put(ctx, store.Signer(), store.NewSecret(secretText), store.Replace), s().Delete(ctx, store.Signer())}
		for _, err := range s().List(ctx, store.Installations()) {
			errs = append(errs, err)
		}
		for _, err := range s().Due(ctx, store.UsedProofs(), time.Now(), 0) {
			errs = append(errs, err)
		}
		cancel()
		if len(errs) != 5 {
			t.Errorf("%d of 5 calls return", len(errs))
		}
		for _, err := range errs {
			if text := fmt.Sprint(err); !strings.Contains(text, test.want) || !strings.Contains(text, "dynamodb://gatepass: ") || strings.Contains(text, secretText) || strings.Contains(text, "\n") {
				t.Errorf("%s: error %q, want one line with %q", test.body, text, test.want)
			}
		}
	}
}

// DynamoDB sends the item that a condition did not hold for, with its value.
func TestRefusalsHaveNoValue(t *testing.T) {
	body := strings.TrimSuffix(fault("ConditionalCheckFailedException", "The conditional request failed"), "}") +
		`,"Item":{"content":{"S":"` + secretText + `"},"version":{"S":"other"}}}`
	s := answering(t, 400, body)()
	_, swapErr := s.Swap(t.Context(), store.Signer(), store.NewSecret(secretText), "1", time.Time{})
	for err, want := range map[error]error{s.Put(t.Context(), store.Signer(), store.NewSecret(secretText), store.CreateOnly): store.ErrExists, swapErr: store.ErrChanged} {
		if text := fmt.Sprintf("%v %#v", err, err); err == nil || !strings.Contains(err.Error(), want.Error()) || strings.Contains(text, secretText) {
			t.Errorf("error = %q, want %q without the value", text, want)
		}
	}
}

// DynamoDB has no clock of its own in items: the writer's counts, corrected by what
// DynamoDB's answers say.
func TestModifiedIsByTheServersClock(t *testing.T) {
	theirs := time.Now().Add(-3 * time.Hour)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", theirs.UTC().Format(http.TimeFormat))
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	s := open(t, "dynamodb://gatepass?region=eu-west-1&endpoint="+url.QueryEscape(server.URL))
	if _, err := s.Get(t.Context(), store.Signer()); err == nil {
		t.Fatal("Get finds an entry")
	}
	if off := s.now().Sub(theirs).Abs(); off > 10*time.Second {
		t.Errorf("now is %v off the server's clock", off)
	}
}

// A broker that reads the block list late refuses everybody: whatever workspaces are
// throttled by, the block list is read at once.
func TestThrottledWorkspacesDoNotHoldUpTheBlockList(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"w-`) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, fault("ProvisionedThroughputExceededException", "x"))
			return
		}
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	s := open(t, "dynamodb://gatepass?region=eu-west-1&endpoint="+url.QueryEscape(server.URL))
	record, err := store.Record("sb-1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var waiting sync.WaitGroup
	for range 20 {
		waiting.Go(func() {
			if _, err := s.Get(ctx, record); err == nil {
				t.Error("Get of a workspace is not refused")
			}
		})
	}
	time.Sleep(500 * time.Millisecond) // for those that wait to be in line
	for range 5 {
		began := time.Now()
		for _, err := range s.List(t.Context(), store.AllBlocks()) {
			t.Errorf("List = %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the block list is read after %v", took)
		}
	}
	cancel()
	waiting.Wait()
}
