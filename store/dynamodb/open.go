package dynamodb

import (
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gatepass/gatepass/internal/awsclient"
	"github.com/gatepass/gatepass/internal/usererr"
)

const storeForm = "write dynamodb://TABLE?region=REGION"

// OpenStore reads a store's URL:
//
//	dynamodb://TABLE[?region=…][&endpoint=…][&profile=…]
//
// AWS is asked by the first call only. The table is not created here: see
// deploy/aws/dynamodb.yaml.
func OpenStore(u *url.URL) (*Store, error) {
	what := "store dynamodb://" + u.Host
	switch {
	case u.Scheme != "dynamodb":
		return nil, usererr.New("store", "its scheme is not dynamodb", storeForm)
	case u.Opaque != "" || u.User != nil || !isTable(u.Host):
		return nil, usererr.New(what, "a table's name has 3 to 255 letters, digits, dots, hyphens and underscores", storeForm)
	case strings.TrimSuffix(u.Path, "/") != "":
		return nil, usererr.New(what, "a store is a whole table, and the URL has a path", storeForm)
	case u.Fragment != "":
		return nil, usererr.New(what, "it has a fragment", storeForm)
	}
	settings, err := awsclient.ParseSettings(what, u.RawQuery)
	if err != nil {
		return nil, err
	}
	return &Store{table: u.Host, client: awsclient.Lazy[services]{Settings: settings, Make: newServices}}, nil
}

// isTable holds the rule of CreateTable in the DynamoDB API reference.
func isTable(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; !awsclient.IsAlnum(c) && strings.IndexByte("_.-", c) < 0 {
			return false
		}
	}
	return 3 <= len(name) && len(name) <= 255
}

// services are two clients of one table. After a throttle the calls of a client wait for
// their turn: those about workspaces, of which there may be thousands, do not hold up those
// about the block list.
type services struct{ workspaces, others *sdk.Client }

func newServices(cfg aws.Config, endpoint string) services {
	return services{newService(cfg, endpoint), newService(cfg, endpoint)}
}

func newService(cfg aws.Config, endpoint string) *sdk.Client {
	return sdk.NewFromConfig(cfg, func(o *sdk.Options) {
		o.Retryer = awsclient.NewAdaptiveRetryer(cfg.RetryMaxAttempts)
		// One host for the rules of firewalls and VPC endpoints, whatever the credentials.
		o.AccountIDEndpointMode = aws.AccountIDEndpointModeDisabled
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})
}
