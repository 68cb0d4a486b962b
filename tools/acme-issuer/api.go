package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	apiTimeout    = 15 * time.Second
	longestAnswer = 4 << 20 // a Secret has a MiB at most
)

// secret is what of a Secret is read and written; values of data travel as base64, which encoding/json does for bytes.
type secret struct {
	Metadata struct {
		ResourceVersion string            `json:"resourceVersion"`
		Annotations     map[string]string `json:"annotations"`
	} `json:"metadata"`
	Data map[string][]byte `json:"data"`
}

// kubeAPI is the Kubernetes API as a service account sees it: a few Secrets by name in one namespace.
type kubeAPI struct {
	url, namespace, credentials string
	client                      *http.Client
}

func newAPI(url, namespace, credentials string) (*kubeAPI, error) {
	authority, err := os.ReadFile(filepath.Join(credentials, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s/ca.crt: no certificate", credentials)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return &kubeAPI{url, namespace, credentials, &http.Client{Transport: transport, Timeout: apiTimeout}}, nil
}

func (a *kubeAPI) read(ctx context.Context, name string) (*secret, error) {
	return a.ask(ctx, http.MethodGet, name, nil)
}

// patch changes what it names and nothing else, and only if the Secret is still the one that was read: two issuers, as there
// may be for a moment when a node dies, cannot overwrite each other's work.
func (a *kubeAPI) patch(ctx context.Context, name string, read *secret, annotations map[string]*string, data map[string][]byte) (*secret, error) {
	change := map[string]any{
		"metadata": map[string]any{"resourceVersion": read.Metadata.ResourceVersion, "annotations": annotations},
	}
	if data != nil {
		change["data"] = data
	}
	body, err := json.Marshal(change)
	if err != nil {
		return nil, err
	}
	return a.ask(ctx, http.MethodPatch, name, body)
}

func (a *kubeAPI) ask(ctx context.Context, method, name string, body []byte) (*secret, error) {
	// Rotated by the kubelet, so read each time.
	token, err := os.ReadFile(filepath.Join(a.credentials, "token"))
	if err != nil {
		return nil, err
	}
	where := fmt.Sprintf("%s/api/v1/namespaces/%s/secrets/%s?fieldManager=%s", a.url, a.namespace, name, program)
	request, err := http.NewRequestWithContext(ctx, method, where, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if body != nil {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		// The API's own words; an error holds nothing of the object.
		var status struct{ Message string }
		_ = json.Unmarshal(text, &status)
		return nil, fmt.Errorf("%s Secret %s: %s %s", method, name, response.Status, status.Message)
	}
	found := &secret{}
	if err := json.Unmarshal(text, found); err != nil {
		return nil, errors.New("Secret " + name + ": the API's answer cannot be read")
	}
	return found, nil
}
