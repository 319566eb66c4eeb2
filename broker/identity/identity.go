// Package identity says who sent a request: a process on a Unix socket
// ([SocketIdentifier]), the owner of a TLS client certificate ([MTLSIdentifier]), a
// workspace with a session that it got for a join token ([SessionIdentifier]), or an
// operator with a bearer token ([BearerIdentifier]). The folders below it hold the
// proofs whose checks need large libraries: oidc and aws.
package identity
