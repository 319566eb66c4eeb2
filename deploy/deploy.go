// Package deploy holds the files by which gatepass-refresher is deployed, for
// the tests that hold them against the program.
package deploy

import "embed"

// Files are the CloudFormation template, the Prometheus rules and the systemd
// units.
//
//go:embed aws prometheus systemd
var Files embed.FS
