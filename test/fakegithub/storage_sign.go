package fakegithub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The form of signatures is Amazon's; the signed text is this double's own.
const (
	amzAlgorithm = "AWS4-HMAC-SHA256"
	amzTime      = "20060102T150405Z"
	amzScope     = "/us-east-1/s3/aws4_request"
	amzKeyID     = "AKIAFAKEGITHUBDOUBLE"
)

// sign returns the signature of parts.
func (h *storageHost) sign(parts ...string) string {
	m := hmac.New(sha256.New, h.key)
	for _, p := range parts {
		fmt.Fprintf(m, "%d:%s\n", len(p), p)
	}
	return hex.EncodeToString(m.Sum(nil))
}

func mediaPath(repository int64, oid string) string {
	return fmt.Sprintf("/alambic/media/%d/%s/%s/%s", repository, oid[:2], oid[2:4], oid)
}

// signedURL returns a URL that can be read for life.
func (s *Server) signedURL(repository int64, oid string, life time.Duration) string {
	now := s.Now()
	q := url.Values{
		"X-Amz-Algorithm": {amzAlgorithm}, "X-Amz-Credential": {amzKeyID + "/" + now.Format("20060102") + amzScope}, "X-Amz-Date": {now.Format(amzTime)},
		"X-Amz-Expires": {strconv.Itoa(int(life.Seconds()))}, "X-Amz-SignedHeaders": {"host"},
		"actor_id": {"0"}, "key_id": {"0"}, "repo_id": {strconv.FormatInt(repository, 10)},
	}
	path := mediaPath(repository, oid)
	q.Set("X-Amz-Signature", s.storage.sign("GET", path, q.Encode()))
	return s.storage.url + path + "?" + q.Encode()
}

// checkSignedURL refuses, as S3 does, a URL that signedURL did not make or that has
// expired.
func (s *Server) checkSignedURL(r *http.Request) *refusal {
	q := r.URL.Query()
	signature := q.Get("X-Amz-Signature")
	q.Del("X-Amz-Signature")
	made, err := time.Parse(amzTime, q.Get("X-Amz-Date"))
	seconds, err2 := strconv.Atoi(q.Get("X-Amz-Expires"))
	switch {
	case signature == "":
		return refuse(http.StatusForbidden, "AccessDenied")
	case r.Header.Get("Authorization") != "":
		return refuse(http.StatusBadRequest, "InvalidArgument") // only one authentication mechanism is allowed
	case err != nil || err2 != nil || !hmac.Equal([]byte(signature), []byte(s.storage.sign("GET", r.URL.EscapedPath(), q.Encode()))):
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch")
	case !s.Now().Before(made.Add(time.Duration(seconds) * time.Second)):
		return refuse(http.StatusForbidden, "AccessDenied")
	}
	return nil
}

// signedUpload returns where to write an object, and the headers that authorize it
// there.
func (s *Server) signedUpload(repository int64, oid string, size int64) (href string, header object) {
	now := s.Now()
	date := now.Format(amzTime)
	path := mediaPath(repository, oid)
	signature := s.storage.sign("PUT", path, oid, date, strconv.FormatInt(size, 10))
	authorization := fmt.Sprintf("%s Credential=%s/%s%s,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=%s",
		amzAlgorithm, amzKeyID, now.Format("20060102"), amzScope, signature)
	href = fmt.Sprintf("%s%s?actor_id=0&key_id=0&repo_id=%d", s.storage.url, path, repository)
	return href, object{"Authorization": authorization, "x-amz-content-sha256": oid, "x-amz-date": date}
}

func (s *Server) checkSignedUpload(r *http.Request, repository int64, oid string) *refusal {
	date := r.Header.Get("X-Amz-Date")
	made, err := time.Parse(amzTime, date)
	_, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	switch {
	case !strings.HasPrefix(r.Header.Get("Authorization"), amzAlgorithm+" Credential="+amzKeyID+"/"):
		return refuse(http.StatusForbidden, "AccessDenied")
	case r.ContentLength < 0:
		return refuse(http.StatusLengthRequired, "MissingContentLength")
	case r.Header.Get("X-Amz-Content-Sha256") != oid:
		return refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch")
	case err != nil || !hmac.Equal([]byte(signature), []byte(s.storage.sign("PUT", mediaPath(repository, oid), oid, date, strconv.FormatInt(r.ContentLength, 10)))):
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch")
	case !s.Now().Before(made.Add(uploadLife)):
		return refuse(http.StatusForbidden, "RequestTimeTooSkewed")
	}
	return nil
}

// remoteAuth returns the credential for verifying one object.
func (s *Server) remoteAuth(repository int64, oid string, expires time.Time) string {
	end := strconv.FormatInt(expires.Unix(), 10)
	signature := s.storage.sign("verify", strconv.FormatInt(repository, 10), oid, end)
	return base64.StdEncoding.EncodeToString([]byte(end + "." + signature))
}

func (s *Server) isRemoteAuth(r *http.Request, repository int64, oid string) bool {
	text, isRemote := strings.CutPrefix(r.Header.Get("Authorization"), "RemoteAuth ")
	raw, err := base64.StdEncoding.DecodeString(text)
	end, _, _ := strings.Cut(string(raw), ".")
	unix, err2 := strconv.ParseInt(end, 10, 64)
	if !isRemote || err != nil || err2 != nil {
		return false
	}
	expires := time.Unix(unix, 0)
	return hmac.Equal([]byte(text), []byte(s.remoteAuth(repository, oid, expires))) && s.Now().Before(expires)
}
