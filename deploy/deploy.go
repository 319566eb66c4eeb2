// Package deploy holds the files by which the programs are deployed, for the
// tests that hold them against the programs.
package deploy

import "embed"

// Files are the CloudFormation template, the CustomResourceDefinitions, the Kubernetes
// manifest, the Prometheus rules and the systemd units.
//
//go:embed aws crds kubernetes prometheus systemd
var Files embed.FS
