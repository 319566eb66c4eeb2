package awsclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go/logging"

	"github.com/gatepass/gatepass/internal/usererr"
)

// Settings are the AWS settings in a URL's query; the SDK finds those that are empty.
type Settings struct{ Region, Endpoint, Profile string }

// ParseSettings parses a query of region, endpoint and profile. what starts the errors.
func ParseSettings(what, rawQuery string) (Settings, error) {
	var s Settings
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return s, usererr.New(what, "its query is malformed", "")
	}
	for key, list := range values {
		if len(list) != 1 || list[0] == "" {
			return s, usererr.New(what, key+" is given twice or is empty", "")
		}
		if err := s.set(what, key, list[0]); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *Settings) set(what, key, value string) error {
	if strings.ContainsAny(value, "{}") {
		return usererr.New(what, "a placeholder is in "+key, "placeholders are allowed in the path only")
	}
	switch key {
	case "region":
		s.Region = value
		if !isRegion(value) {
			return usererr.New(what, "region is not an AWS region", "write one such as us-east-1")
		}
	case "endpoint":
		s.Endpoint = value
		return checkEndpoint(what, value)
	case "profile":
		s.Profile = value
	default:
		return usererr.New(what, "unknown key "+key, "known: region, endpoint, profile")
	}
	return nil
}

// isRegion accepts only a single label, because a region becomes part of a host name.
func isRegion(s string) bool {
	for i := 0; i < len(s); i++ {
		if !IsAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return len(s) <= 63
}

// IsAlnum reports whether c is one of the letters and digits allowed in AWS names.
func IsAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// checkEndpoint accepts https, and http only on this machine, because the answers hold
// secrets.
func checkEndpoint(what, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return usererr.New(what, "endpoint is not an address", "write endpoint=https://host[:port]")
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()) {
		return nil
	}
	return usererr.New(what, "endpoint must be an https URL, or http on this machine", "write endpoint=https://host[:port]")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// load loads the configuration twice: the client of the instance metadata service is
// made from the first and is an option of the second. It reads a few small files and
// does not use the network.
func (s Settings) load(ctx context.Context) (aws.Config, error) {
	// By default, the SDK writes warnings to standard error, which is the user's.
	options := []func(*config.LoadOptions) error{config.WithLogger(logging.Nop{})}
	if s.Region != "" {
		options = append(options, config.WithRegion(s.Region))
	}
	if s.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(s.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, err
	}
	metadata := config.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) {
		o.Client = impatient{imds.NewFromConfig(cfg)}
	})
	return config.LoadDefaultConfig(ctx, append(options, metadata)...)
}

// impatient limits each request to the instance metadata service. The service is on the
// same machine or does not exist, and a machine without credentials should get its
// error soon. By default, the SDK gives up after five seconds.
type impatient struct {
	ec2rolecreds.GetMetadataAPIClient
}

const (
	metadataWait = 1500 * time.Millisecond
	maxMetadata  = 64 << 10 // bytes; credentials take about two thousand
)

// GetMetadata reads the whole answer before its deadline is cancelled.
func (i impatient) GetMetadata(ctx context.Context, in *imds.GetMetadataInput, options ...func(*imds.Options)) (*imds.GetMetadataOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataWait)
	defer cancel()
	out, err := i.GetMetadataAPIClient.GetMetadata(ctx, in, options...)
	if err != nil {
		return nil, err
	}
	defer out.Content.Close()
	body, err := io.ReadAll(io.LimitReader(out.Content, maxMetadata+1))
	if err == nil && len(body) > maxMetadata {
		err = fmt.Errorf("the answer of the instance metadata service is over %d bytes", maxMetadata)
	}
	if err != nil {
		return nil, err
	}
	out.Content = io.NopCloser(bytes.NewReader(body))
	return out, nil
}
