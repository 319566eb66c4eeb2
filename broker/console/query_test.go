package console

import "testing"

// What a person reads in a request, or a filter before the broker let through, is what
// is answered: a query has known keys, each once, as a body does.
func TestQueriesHaveKnownKeysOnce(t *testing.T) {
	b := newBench(t)
	for path, want := range map[string]int{
		"/v1/workspaces?limit=1":                                200,
		"/v1/workspaces?limit=1&limit=2":                        400,
		"/v1/workspaces?Limit=1":                                400,
		"/v1/workspaces?prefix=sb-1&pre%66ix=":                  400,
		"/v1/workspaces?limit=1;prefix=sb":                      400,
		"/v1/workspaces?prefix=%zz":                             400,
		"/v1/workspaces?owner=acme":                             400,
		"/v1/explain?host=github.com&repo=acme/widgets":         200,
		"/v1/explain?host=github.com&repo=acme/widgets&repo=x":  400,
		"/v1/explain?host=github.com&repo=acme/widgets&REPO=x":  400,
		"/v1/explain?host=github.com&repo=acme/widgets&claim=x": 400,
	} {
		who := "night"
		if path[:5] == "/v1/e" {
			who = "ci"
		}
		wantCode(t, path, b.Do(who, "GET", path, ""), want)
	}
}
