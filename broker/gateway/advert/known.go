package advert

// receivePack are the capabilities of a push that the gateway supports. push-options
// and push-cert are missing on purpose: clients use them if they are advertised, and
// the gateway refuses both.
var receivePack = []string{"report-status", "report-status-v2", "delete-refs", "side-band-64k", "quiet", "atomic", "ofs-delta", "object-format", "agent"}

// uploadPack are the capabilities of a fetch in protocol versions 0 and 1.
var uploadPack = []string{
	"multi_ack", "multi_ack_detailed", "no-done", "thin-pack", "side-band", "side-band-64k", "ofs-delta",
	"shallow", "deepen-since", "deepen-not", "deepen-relative", "no-progress", "include-tag",
	"allow-tip-sha1-in-want", "allow-reachable-sha1-in-want", "symref", "filter", "object-format", "agent",
}

// version2 are the capabilities of a fetch in version 2, with the features that their
// values may name; nil allows any value. bundle-uri, promisor-remote and the feature
// packfile-uris name other servers, which workspaces cannot reach; no client uses
// object-info.
var version2 = map[string][]string{
	"agent":         nil,
	"ls-refs":       {"unborn"},
	"fetch":         {"shallow", "wait-for-done", "filter", "ref-in-want", "sideband-all"},
	"server-option": nil,
	"object-format": nil,
}
