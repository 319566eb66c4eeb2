package kubernetestest

import (
	"net/http"
	"testing"
	"time"
)

func TestControllers(t *testing.T) {
	c := Start(t, Options{Controllers: true})
	c.ApplyText([]byte(widgets))
	owner := Fields{"apiVersion": "example.com/v1", "kind": "Widget", "name": "one", "uid": c.Call(http.MethodGet, widget, nil)["metadata"].(Fields)["uid"]}
	const maps = "/api/v1/namespaces/default/configmaps"
	for _, name := range []string{"owned", "free"} {
		metadata := Fields{"name": name}
		if name == "owned" {
			metadata["ownerReferences"] = []Fields{owner}
		}
		c.Call(http.MethodPost, maps, Fields{"metadata": metadata})
	}
	c.Call(http.MethodPost, "/api/v1/namespaces/team/secrets", Fields{"metadata": Fields{"name": "in-it"}})

	c.Call(http.MethodDelete, widget, nil)
	c.Call(http.MethodDelete, "/api/v1/namespaces/team", nil)
	for _, path := range []string{maps + "/owned", "/api/v1/namespaces/team/secrets/in-it", "/api/v1/namespaces/team"} {
		Wait(t, 2*time.Minute, path+" to be gone", func() (bool, any) {
			code, _ := c.Try(http.MethodGet, path, nil)
			return code == http.StatusNotFound, code
		})
	}
	c.Call(http.MethodGet, maps+"/free", nil)
}
