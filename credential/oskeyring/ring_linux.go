package oskeyring

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
)

const storeHint = "store a token with secret-tool store --label=gatepass service SERVICE username ACCOUNT"

// Names of the Secret Service API (specifications.freedesktop.org/secret-service).
const (
	busName              = "org.freedesktop.secrets"
	servicePath          = "/org/freedesktop/secrets"
	loginPath            = "/org/freedesktop/secrets/collection/login"
	serviceInterface     = "org.freedesktop.Secret.Service"
	collectionInterface  = "org.freedesktop.Secret.Collection"
	itemInterface        = "org.freedesktop.Secret.Item"
	promptInterface      = "org.freedesktop.Secret.Prompt"
	propertiesInterface  = "org.freedesktop.DBus.Properties"
	lockedError          = "org.freedesktop.Secret.Error.IsLocked"
	noObject             = dbus.ObjectPath("/")
	unencryptedTransport = "plain"
)

var (
	errNoService    = errors.New("no keyring runs in this session")
	errNoCollection = errors.New("the keyring has no default collection")
	errOdd          = errors.New("the keyring's answer breaks its protocol")
)

func system() ring { return secretService{} }

// secretService speaks the Secret Service API itself, with entries that go-keyring and
// secret-tool find and write too. go-keyring, which serves the other systems, would save
// 268 lines here and make gatepass-agent 32,768 bytes larger. A check of the bus before
// each call would keep it from starting a bus and from the bus of another user. With that
// check it still cannot keep these promises:
//   - A locked collection fails at once and shows no dialog. go-keyring asks for the
//     dialog and waits for the answer without end
//     (TestALockedSecretServiceFailsAtOnceWithoutADialog).
//   - An entry says when it was written, by which a bare token ends in an hour
//     (TestSecretServiceKeepsValues).
//   - Several entries of one name are an error, and remove deletes all of them.
//     go-keyring reads and deletes the first (TestSecretServiceWithTwoEntriesOfOneName).
//   - An entry is found in whichever collection. go-keyring searches one.
//   - No keyring is started. go-keyring lets the bus start one.
//   - A bus that does not answer costs one call. go-keyring dials under a lock, so that
//     later calls wait too, even for another bus.
type secretService struct{}

// A session is one connection for one access. Secrets cross the user's own bus
// unencrypted: a process that can listen there can also ask the keyring.
type session struct {
	ctx  context.Context
	bus  *dbus.Conn
	path dbus.ObjectPath
}

// A secret is the struct (oayays) of the API.
type secret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

func openSession(ctx context.Context) (*session, error) {
	bus, err := dialBus(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{ctx: ctx, bus: bus}
	var unused dbus.Variant
	err = s.call(servicePath, serviceInterface+".OpenSession", unencryptedTransport, dbus.MakeVariant("")).into(&unused, &s.path)
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close ends the session too: the service drops the sessions of a closed connection.
func (s *session) close() { s.bus.Close() }

type answer struct{ call *dbus.Call }

// call calls a method of one object, and never lets the bus start a service for it.
func (s *session) call(path dbus.ObjectPath, method string, args ...any) answer {
	return answer{s.bus.Object(busName, path).CallWithContext(s.ctx, method, dbus.FlagNoAutoStart, args...)}
}

func (a answer) into(values ...any) error {
	if err := a.call.Err; err != nil {
		return explain(err)
	}
	if a.call.Store(values...) != nil {
		return errOdd
	}
	return nil
}

// explain shortens the errors of a bus, which contain text from outside.
func explain(err error) error {
	reply, ok := errors.AsType[dbus.Error](err)
	if !ok {
		return errNoAnswer
	}
	switch reply.Name {
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner":
		return errNoService
	case lockedError:
		return errLocked
	}
	return errors.New("the keyring refuses: " + reply.Name)
}

// search returns the entries of a name in all collections.
func (s *session) search(it item) (unlocked, locked []dbus.ObjectPath, err error) {
	err = s.call(servicePath, serviceInterface+".SearchItems", it.attributes()).into(&unlocked, &locked)
	return unlocked, locked, err
}

func (it item) attributes() map[string]string {
	return map[string]string{"service": it.service, "username": it.account}
}

func (s *session) property(path dbus.ObjectPath, iface, name string, value any) error {
	var v dbus.Variant
	if err := s.call(path, propertiesInterface+".Get", iface, name).into(&v); err != nil {
		return err
	}
	if v.Store(value) != nil {
		return errOdd
	}
	return nil
}

func (secretService) get(ctx context.Context, it item) ([]byte, time.Time, error) {
	s, err := openSession(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer s.close()
	found, locked, err := s.search(it)
	switch {
	case err != nil:
		return nil, time.Time{}, err
	case len(found) > 1:
		return nil, time.Time{}, errAmbiguous
	case len(found) == 1:
		return s.read(found[0])
	case len(locked) > 0:
		return nil, time.Time{}, errLocked
	}
	return nil, time.Time{}, errNotFound
}

func (s *session) read(path dbus.ObjectPath) ([]byte, time.Time, error) {
	var sec secret
	if err := s.call(path, itemInterface+".GetSecret", s.path).into(&sec); err != nil {
		return nil, time.Time{}, err
	}
	var modified uint64 // seconds since 1970
	if err := s.property(path, itemInterface, "Modified", &modified); err != nil {
		return nil, time.Time{}, err
	}
	return sec.Value, time.Unix(int64(modified), 0), nil
}

func (secretService) set(ctx context.Context, it item, label string, value []byte) error {
	s, err := openSession(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	collection, err := s.unlockedCollection()
	if err != nil {
		return err
	}
	properties := map[string]dbus.Variant{
		itemInterface + ".Label":      dbus.MakeVariant(label),
		itemInterface + ".Attributes": dbus.MakeVariant(it.attributes()),
	}
	sec := secret{Session: s.path, Parameters: []byte{}, Value: value, ContentType: "text/plain; charset=utf8"}
	const replace = true
	var path, prompt dbus.ObjectPath
	if err := s.call(collection, collectionInterface+".CreateItem", properties, sec, replace).into(&path, &prompt); err != nil {
		return err
	}
	return s.dismiss(prompt)
}

// unlockedCollection returns the collection for new entries, which go-keyring chooses
// in the same way: the collection "login", or else the default one.
func (s *session) unlockedCollection() (dbus.ObjectPath, error) {
	var all []dbus.ObjectPath
	if err := s.property(servicePath, serviceInterface, "Collections", &all); err != nil {
		return "", err
	}
	path := dbus.ObjectPath(loginPath)
	if !slices.Contains(all, path) {
		if err := s.call(servicePath, serviceInterface+".ReadAlias", "default").into(&path); err != nil {
			return "", err
		}
	}
	if path == noObject {
		return "", errNoCollection
	}
	var locked bool
	if err := s.property(path, collectionInterface, "Locked", &locked); err != nil {
		return "", err
	}
	if locked {
		return "", errLocked
	}
	return path, nil
}

// dismiss cancels the question that the service would ask a person before it carries
// out a call. The service shows a question only after a call of Prompt.
func (s *session) dismiss(prompt dbus.ObjectPath) error {
	if prompt == noObject {
		return nil
	}
	_ = s.call(prompt, promptInterface+".Dismiss")
	return errLocked
}

func (secretService) remove(ctx context.Context, it item) error {
	s, err := openSession(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	found, locked, err := s.search(it)
	if err != nil {
		return err
	}
	for _, path := range found {
		var prompt dbus.ObjectPath
		if err := s.call(path, itemInterface+".Delete").into(&prompt); err != nil {
			return err
		}
		if err := s.dismiss(prompt); err != nil {
			return err
		}
	}
	if len(locked) > 0 {
		return errLocked
	}
	return nil
}
