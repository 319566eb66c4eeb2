package charttest

import (
	"net/http"
	"time"

	"github.com/gatepass/gatepass/test/kubernetestest"
)

const deployments = "/apis/apps/v1/namespaces/gatepass/deployments/gatepass-operator"

// rollOut says of the operator's Deployment that its pods run, until stop is called: no
// controller of Deployments and no kubelet is here, and helm --wait waits for them.
func rollOut(c *kubernetestest.Cluster) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if code, o := c.Try(http.MethodGet, deployments, nil); code == http.StatusOK {
				report(c, o)
			}
			select {
			case <-end:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() { close(end); <-ended }
}

// report writes the status of a Deployment whose spec has changed, and the ReplicaSet
// that helm looks for.
func report(c *kubernetestest.Cluster, o fields) {
	generation := at(o, "metadata", "generation")
	if at(o, "status", "observedGeneration") == generation {
		return
	}
	spec := o["spec"].(fields)
	set := fields{
		"metadata": fields{
			"generateName": "gatepass-operator-", "labels": at(spec, "template", "metadata", "labels"),
			"ownerReferences": []fields{{"apiVersion": "apps/v1", "kind": "Deployment", "name": "gatepass-operator", "uid": at(o, "metadata", "uid"), "controller": true}},
		},
		"spec": fields{"replicas": spec["replicas"], "selector": spec["selector"], "template": spec["template"]},
	}
	const sets = "/apis/apps/v1/namespaces/gatepass/replicasets"
	if code, made := c.Try(http.MethodPost, sets, set); code == http.StatusCreated {
		ready := fields{"status": fields{
			"replicas": spec["replicas"], "readyReplicas": spec["replicas"], "observedGeneration": at(made, "metadata", "generation"),
		}}
		c.Try(http.MethodPatch, sets+"/"+at(made, "metadata", "name").(string)+"/status", ready)
		c.Try(http.MethodPatch, deployments+"/status", fields{"status": fields{"observedGeneration": generation}})
	}
}
