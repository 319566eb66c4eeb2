package vaulttest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Root makes one request to a real Vault as its root user. The request must succeed.
func Root(t *testing.T, method, url, token, body string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", token)
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode/100 != 2 {
		t.Fatalf("%s %s = %s", method, url, response.Status)
	}
}
