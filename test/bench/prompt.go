package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gatepass/gatepass/api"
)

// The askpass of the simple kind, a peer: this program under another name. It
// fetches a credential whenever it is asked, and prints the part asked for.
const (
	promptProgram  = "simple-askpass"
	socketVariable = "BENCH_BROKER_SOCKET"
	hostVariable   = "BENCH_BROKER_HOST"
)

func answerPrompt(getenv func(string) string, stdout io.Writer) int {
	username, password, err := fetch(getenv(socketVariable), getenv(hostVariable))
	if err != nil {
		return 1
	}
	answer := password
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "Username") {
		answer = username
	}
	fmt.Fprintln(stdout, answer)
	return 0
}

func fetch(socket, host string) (username, password string, err error) {
	body, err := api.EncodeRequest(api.TokenRequest{Host: host, Repo: api.Repo{Owner: "acme", Name: "widgets"}, Operation: api.Read})
	if err != nil {
		return "", "", err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	res, err := client.Post("http://broker"+api.TokenPath, api.MediaType, bytes.NewReader(body))
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	var answer struct{ Username, Token string }
	err = json.NewDecoder(res.Body).Decode(&answer)
	return answer.Username, answer.Token, err
}
