// Package deploy holds the files by which the programs are deployed, for the
// tests that hold them against the programs.
package deploy

import "embed"

// Files are the CloudFormation template, the Prometheus rules and the systemd
// units.
//
//go:embed aws prometheus systemd
var Files embed.FS
