package oskeyring

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/gatepass/gatepass/credential"
)

// entry is a token as a Cache writes it. [credential.ParseToken] can read it too.
type entry struct {
	Token        string            `json:"token"`
	ExpiresAt    time.Time         `json:"expires_at"`
	Username     string            `json:"username,omitempty"`
	Repositories []string          `json:"repositories,omitempty"`
	Permissions  map[string]string `json:"permissions,omitempty"`
}

var errNotOurs = errors.New("this entry of the keyring is not what a cache writes")

func format(t credential.Token) ([]byte, error) {
	return json.Marshal(entry{
		Token: t.Secret(), ExpiresAt: t.Expiry, Username: t.Username,
		Repositories: t.Repositories, Permissions: t.Permissions,
	})
}

// parse reads an entry. It refuses an entry without an expiry. Its errors do not repeat
// the text.
func parse(data []byte) (credential.Token, error) {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil || e.ExpiresAt.IsZero() {
		return credential.Token{}, errNotOurs
	}
	if err := credential.CheckSecret(e.Token); err != nil {
		return credential.Token{}, errNotOurs
	}
	t := credential.NewToken(e.Token, e.ExpiresAt)
	t.Username, t.Repositories, t.Permissions = e.Username, e.Repositories, e.Permissions
	return t, nil
}
