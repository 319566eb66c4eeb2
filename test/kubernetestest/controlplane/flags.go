package controlplane

import "net"

// auditPolicy logs one line about each request, and a second one when the first bytes
// of a watch were sent. The lines contain no contents of Secrets.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// etcdFlags returns etcd's flags. Syncing to disk is off, because the data is
// temporary.
func (f files) etcdFlags() []string {
	return []string{
		"--data-dir=" + f.path("data"), "--unsafe-no-fsync", "--log-level=error",
		"--listen-client-urls=" + f.etcd, "--advertise-client-urls=" + f.etcd,
		"--listen-peer-urls=" + f.peer, "--initial-advertise-peer-urls=" + f.peer, "--initial-cluster=default=" + f.peer,
	}
}

func (f files) apiServerFlags() []string {
	host, port, _ := net.SplitHostPort(f.api) // freeport joined them
	return []string{
		"--etcd-servers=" + f.etcd,
		"--bind-address=" + host, "--advertise-address=" + host, "--secure-port=" + port, "--cert-dir=" + f.dir,
		"--tls-cert-file=" + f.path("serving.crt"), "--tls-private-key-file=" + f.path("serving.key"),
		// Its own service would have only a loopback address, which Kubernetes refuses.
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=" + f.url(), "--service-account-jwks-uri=" + f.url() + "/openid/v1/jwks",
		"--service-account-key-file=" + f.path("accounts.key"), "--service-account-signing-key-file=" + f.path("accounts.key"),
		"--authorization-mode=RBAC", "--token-auth-file=" + f.path("tokens.csv"),
	}
}

// auditFlags returns the flags for a single audit file of up to 10 GB.
func (f files) auditFlags(log string) []string {
	return []string{"--audit-policy-file=" + f.path("audit-policy.yaml"), "--audit-log-path=" + log, "--audit-log-mode=blocking", "--audit-log-maxsize=10000"}
}
