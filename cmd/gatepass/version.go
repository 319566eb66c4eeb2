package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/gatepass/gatepass/internal/version"
	"github.com/urfave/cli/v2"
)

type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, with "+" when it had changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (w *world) versionCommand() *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "say which gatepass this is",
		UsageText: "gatepass version [--json]",
		Flags:     []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			v := buildVersion()
			if c.Bool("json") {
				return writeJSON(w.stdout, v)
			}
			_, err := fmt.Fprintf(w.stdout, "gatepass %s (%s, %s)\n", v.Version, v.Go, v.Platform)
			return err
		},
	}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON instead of text", DisableDefaultText: true}
}

func buildVersion() versionInfo {
	v := versionInfo{Version: version.String(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "(devel)" && info.Main.Version != "" {
		v.Version = info.Main.Version // "go install …@v1.2.3" sets no link flags
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Revision = s.Value + v.Revision
		case s.Key == "vcs.modified" && s.Value == "true":
			v.Revision += "+"
		}
	}
	return v
}
