package ledger

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	sealName = "gatepass-operator-seal"
	sealKey  = "key"
	keySize  = 32
)

// A seal encrypts the texts of tokens.
type seal struct{ aead cipher.AEAD }

// openSeal reads the key from the operator's namespace, or creates one.
func openSeal(ctx context.Context, secrets client.Client, namespace string) (*seal, error) {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: sealName}}
	err := secrets.Get(ctx, client.ObjectKeyFromObject(s), s)
	if apierrors.IsNotFound(err) {
		key := make([]byte, keySize)
		rand.Read(key)
		s.Data = map[string][]byte{sealKey: key}
		s.Labels = map[string]string{"app.kubernetes.io/managed-by": "gatepass-operator"}
		err = secrets.Create(ctx, s)
		if apierrors.IsAlreadyExists(err) {
			err = secrets.Get(ctx, client.ObjectKeyFromObject(s), s)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of the records, Secret %s/%s: %w", namespace, sealName, err)
	}
	return newSeal(s.Data[sealKey], namespace)
}

func newSeal(key []byte, namespace string) (*seal, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("the key of the records, Secret %s/%s: it has %d bytes, not %d; delete the Secret; the operator then creates a new key", namespace, sealName, len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &seal{aead}, err
}

// bound returns the data that ties a sealed text to its object and token, so that it
// cannot be moved to another.
func bound(uid types.UID, id string) []byte { return []byte(string(uid) + "\x00" + id) }

func (s *seal) seal(text string, uid types.UID, id string) []byte {
	return s.aead.Seal(nil, nil, []byte(text), bound(uid, id))
}

func (s *seal) open(sealed []byte, uid types.UID, id string) (string, error) {
	text, err := s.aead.Open(nil, nil, sealed, bound(uid, id))
	if err != nil {
		return "", fmt.Errorf("open the record of %s: %w: another key sealed it", uid, ErrUnknown)
	}
	return string(text), nil
}
