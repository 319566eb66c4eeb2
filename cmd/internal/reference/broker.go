package reference

import "slices"

func brokerFile() File {
	return File{
		Name: "broker", Title: "The broker's configuration", Default: "/etc/gatepass/broker.yaml",
		About: "Says where a broker listens, who may call it, and what each caller gets. A changed file takes effect within two seconds; if the new file is wrong, the last good one stays in force.",
		Keys: slices.Concat([]Key{
			{Name: "listen", Required: true, About: "where it listens: https://HOST:PORT, unix:///PATH, http:// of a loopback address, or a list of these", Of: Type{Either: []Type{listenAddress, {List: &listenAddress}}}},
			{Name: "tls", About: "the certificate of https listeners; read again when the files change", Of: Type{Keys: []Key{
				{Name: "cert_file", About: "the certificate with its chain, in PEM", Of: text},
				{Name: "key_file", About: "its key, in PEM", Of: text},
			}}},
			{Name: "socket_mode", About: "mode of Unix sockets in octal digits", Default: "0660", Of: Type{Either: []Type{{Number: true}, {Pattern: `^(0o?)?[0-7]{1,3}$`}}}},
			{Name: "store", About: "URL of the store with the App and the ledger", Default: "file:///var/lib/gatepass", Of: Type{Pattern: `^[a-z]+:`}},
			{Name: "github_url", About: "another GitHub than github.com", Default: "the URL in the store, else https://github.com", Of: Type{Pattern: `^https://`}},
			{Name: "upstream_proxy", About: "http://HOST:PORT or https://HOST:PORT of a proxy between the broker and GitHub that supports CONNECT", Default: "no proxy", Of: Type{Pattern: `^https?://`}},
			{Name: "upstream_proxy_login_file", About: "file with USER:PASSWORD for the proxy, mode 0600", Default: "no login", Of: text},
			{Name: "no_proxy", About: "hosts that are reached without the proxy: a host, or *.NAME for every host below a name", Default: "none", Of: texts},
			{Name: "upstream_ca", About: "authorities in PEM for the certificates of GitHub and its storage", Default: "the system's", Of: text},
			{Name: "hosts", About: "GitHub's names for git: exact hosts, each with an optional :port", Default: "the host of github_url", Of: texts},
			{Name: "audit", Required: true, About: "path of the audit log, or a mapping", Of: Type{Either: []Type{path, {Keys: audit}}}},
			{Name: "profiles", About: "files of profiles; * matches within a name", Default: "none", Of: texts},
			{Name: "callers", About: "rules for callers; the first that matches decides", Default: "every caller is refused", Of: Type{List: &Type{Keys: slices.Concat(proofs, callerKeys)}}},
			{Name: "operators", About: "rules for operators, who may see tokens' records, revoke and block", Default: "every operator is refused", Of: Type{List: &Type{Keys: slices.Concat(proofs, operatorKeys)}}},
			{Name: "webhook", About: "how GitHub signs its webhooks", Default: "webhooks are refused", Of: Type{Keys: []Key{
				{Name: "secret_file", About: "file with the secret from the App's settings", Of: text},
			}}},
			{Name: "gateway", About: "serve git and GitHub's API itself; {} for the defaults", Default: "off", Of: Type{Keys: gateway}},
			{Name: "metrics", About: "HOST:PORT or unix:///PATH for Prometheus", Default: "off", Of: text},
			{Name: "pprof", About: "unix:///PATH of a profiling socket, only for the broker's user", Default: "off", Of: Type{Pattern: `^unix:///`}},
			{Name: "log", About: "the broker's own log, on standard error", Of: Type{Keys: []Key{
				{Name: "format", About: "its format", Default: "text", Of: Type{OneOf: []string{"text", "json"}}},
				{Name: "level", About: "its lowest level", Default: "info", Of: Type{OneOf: []string{"debug", "info", "warn", "error"}}},
			}}},
			{Name: "limits", About: "limits for callers", Of: Type{Keys: limits}},
		}),
		Example: `listen: https://0.0.0.0:8443
tls: {cert_file: /etc/gatepass/tls.crt, key_file: /etc/gatepass/tls.key}
store: ssm:///km?region=us-east-1
audit: /var/log/gatepass/audit.jsonl
profiles: []
gateway: {}
callers: []
`,
	}
}

var listenAddress = Type{Pattern: `^(https?://.+:[0-9]+/?|unix:///.+)$`}

var audit = []Key{
	{Name: "file", Required: true, About: "path of the audit log", Of: path},
	{Name: "max_size", About: "size at which another file is begun, such as 100MB", Default: "one file, which another program may rotate", Of: size},
	{Name: "cloudevents", About: "URL that gets a copy of each line as a CloudEvent", Default: "none", Of: Type{Pattern: `^https?://`}},
	{Name: "otlp", About: "URL that gets copies as OTLP log records, https://HOST/v1/logs", Default: "none", Of: Type{Pattern: `^https?://`}},
}

// proofs are the ways in which callers and operators prove their identity, and the
// conditions on their claims.
var proofs = []Key{
	{Name: "name", About: "the rule's name in the audit log and in messages", Default: "its place, such as callers[0]", Of: text},
	{Name: "socket", About: "a process of this machine, at a Unix socket", Of: Type{Keys: []Key{
		{Name: "uid", About: "the user", Default: "any", Of: number},
		{Name: "gid", About: "the group", Default: "any", Of: number},
	}}},
	{Name: "oidc", About: "a token of an OpenID Connect issuer", Of: Type{Keys: oidc}},
	{Name: "aws", About: "an AWS identity, proved by a signed STS request", Of: Type{Keys: []Key{
		{Name: "server_id", Required: true, About: "this broker's name for callers, best its host name", Of: text},
		{Name: "regions", About: "regions whose STS the broker may ask; aws-global is the endpoint without a region", Of: texts},
	}}},
	{Name: "mtls", About: "a client certificate", Of: Type{Keys: []Key{
		{Name: "ca_file", About: "authorities in PEM", Of: text},
		{Name: "bundle_file", About: "a trust domain's SPIFFE bundle, as JSON or PEM", Of: text},
		{Name: "trust_domain", About: "the trust domain; needed with a bundle", Default: "any trust domain of the authorities", Of: text},
		{Name: "id", About: "one SPIFFE ID", Default: "any; claims can restrict it", Of: text},
	}}},
	{Name: "join", About: "a session that began with a join token; not for operators", Of: Type{Keys: []Key{
		{Name: "sleep", About: "how long after it expired a session can be renewed once, at most 24h", Default: "not at all", Of: duration},
	}}},
	{Name: "claims", About: "claims of the proof, each a string or {pattern: EXPRESSION} for the whole value", Of: Type{Map: &Type{Either: []Type{{}, {Number: true}, {Truth: true}, {Keys: []Key{
		{Name: "pattern", Required: true, About: "a regular expression (RE2) for the whole claim", Of: text},
	}}}}}},
	{Name: "cel", About: "a CEL expression over claims that must be true", Of: text},
}

var callerKeys = []Key{
	{Name: "workspace", Required: true, About: "the workspace's ID; {claim.NAME} is replaced by the claim", Of: text},
	{Name: "profile", Required: true, About: "metadata.name of the workspace's profile", Of: text},
	{Name: "tokens", About: "which tokens it may get: none leaves only the gateway, read allows only read tokens", Default: "write", Of: Type{OneOf: []string{"none", "read", "write"}}},
}

var operatorKeys = []Key{
	{Name: "token_sha256", About: "SHA-256 of a bearer token, in hexadecimal", Of: Type{Pattern: `^[0-9a-fA-F]{64}$`}},
}

var oidc = []Key{
	{Name: "issuer", Required: true, About: "the exact claim iss; its keys are fetched from there", Of: Type{Pattern: `^https://`}},
	{Name: "audience", Required: true, About: "the one audience of a token", Of: text},
	{Name: "algorithms", About: "allowed signature algorithms", Default: "RS256 and ES256", Of: Type{List: &Type{OneOf: []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"}}}},
	{Name: "jwks_file", About: "the issuer's keys in a file, if the broker cannot reach it", Of: text},
	{Name: "ca_file", About: "authorities of the issuer's certificate", Default: "the system's", Of: text},
	{Name: "max_age", About: "the longest time since iat", Default: "until exp", Of: duration},
	{Name: "clock_skew", About: "allowed difference of the clocks, at most 10m", Default: "1m", Of: duration},
	{Name: "single_use", About: "accept each token once", Default: "false", Of: truth},
	{Name: "token_review", About: "ask a Kubernetes API server as well", Default: "no token review", Of: Type{Keys: []Key{
		{Name: "url", About: "the API server", Default: "the pod's cluster", Of: text},
		{Name: "ca_file", About: "authorities of its certificate", Default: "the pod's", Of: text},
		{Name: "token_file", About: "token of the broker's own service account, which may create tokenreviews", Default: "the pod's", Of: text},
	}}},
}

var gateway = []Key{
	{Name: "max_pack", About: "size of the largest push, such as 500MB", Default: "4GiB", Of: size},
	{Name: "idle_timeout", About: "how long a transfer may move no data", Default: "2m", Of: duration},
	{Name: "transfers", About: "concurrent transfers of one workspace, at one replica", Default: "8", Of: number},
	{Name: "transfer_rate", About: "bytes that one workspace may move in an hour, such as 10GiB", Default: "no limit", Of: size},
	{Name: "api_requests", About: "requests to GitHub's API of one workspace in an hour", Default: "2000", Of: number},
	{Name: "http2", About: "false: listeners offer HTTP/1.1 only, for proxies that reset streams of HTTP/2", Default: "true", Of: truth},
	{Name: "storage_hosts", About: `hosts from which downloads of the API are fetched: a host, "*.NAME" or "*"`, Default: "GitHub's own", Of: texts},
}

var limits = []Key{
	{Name: "requests", About: "concurrent requests; more are answered 429", Default: "512", Of: number},
	{Name: "workspace_requests", About: "concurrent requests of one workspace", Default: "64", Of: number},
	{Name: "workspace_rate", About: "requests of one workspace in a second, on average", Default: "20", Of: number},
	{Name: "workspace_burst", About: "requests of one workspace above the rate", Default: "200", Of: number},
	{Name: "stranger_rate", About: "requests in a second of an address without an identity", Default: "5", Of: number},
	{Name: "stranger_burst", About: "such requests above the rate", Default: "50", Of: number},
	{Name: "connections", About: "connections of one listener", Default: "4096", Of: number},
	{Name: "header_size", About: "size of a request's headers", Default: "32KiB", Of: size},
	{Name: "read_header_timeout", About: "time for a request's headers", Default: "10s", Of: duration},
	{Name: "read_timeout", About: "time for a whole request", Default: "30s", Of: duration},
	{Name: "write_timeout", About: "time for an answer, from the end of the request's headers", Default: "1m", Of: duration},
	{Name: "idle_timeout", About: "how long a connection may be idle between requests", Default: "2m", Of: duration},
	{Name: "drain_timeout", About: "time for running requests at shutdown", Default: "20s, and 5m with a gateway", Of: duration},
}
