// acme-issuer obtains one certificate from an ACME server (RFC 8555), renews it, and keeps it in one Secret, from which every
// gateway shows it (docs/adr/0023). It runs once: gateways ask nobody.
//
// It may read and change two Secrets and read a third, by name; it cannot create or list any. The Secrets are made without
// content by whoever deploys it. Its state is in annotations of the certificate's Secret, so a restart forgets nothing.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"syscall"
	"time"

	legolog "github.com/go-acme/lego/v5/log"
	_ "golang.org/x/crypto/x509roots/fallback" // Mozilla's authorities: the image has no files beside the program
)

const (
	program  = "acme-issuer"
	stalled  = 15 * time.Minute // an order over DNS may wait some minutes for name servers
	drainFor = 5 * time.Second
)

type settings struct {
	host, email, directory, profile, caFile string
	eabKeyID, eabKeyFile                    string
	dnsProvider, dnsFolder, resolvers       string
	dnsWait                                 time.Duration
	gateway                                 string
	secretName, accountName, firstName      string
	apiURL, apiNamespace, apiCredentials    string
	challengeAddress, metricsAddress        string
	look, firstPause                        time.Duration
	fingerprint                             string
}

// request is what a certificate is for: another one is ordered at once.
func (s *settings) request() string {
	text := s.host + " " + s.directory
	if s.profile != "" {
		text += " " + s.profile
	}
	return text
}

func parse() (*settings, error) {
	s := &settings{}
	text := func(into *string, name, value, usage string) { flag.StringVar(into, name, value, usage) }
	text(&s.host, "host", "", "name that the certificate is for")
	text(&s.email, "email", "", "contact of the account")
	text(&s.directory, "directory", "", "URL of the server's directory")
	text(&s.profile, "profile", "", "the server's name for a kind of certificate; empty: its default")
	text(&s.caFile, "ca-file", "", "whom to believe the server's own certificate, PEM; empty: the public authorities")
	text(&s.eabKeyID, "eab-key-id", "", "key identifier of the external account, where the server wants one")
	text(&s.eabKeyFile, "eab-key-file", "", "file of its key")
	text(&s.dnsProvider, "dns-provider", "", "DNS-01 by this provider; empty: HTTP-01")
	text(&s.dnsFolder, "dns-folder", "", "folder of the provider's settings, a file named like each of lego's variables")
	text(&s.resolvers, "resolvers", "", "name servers (ADDRESS:PORT,...) that are asked whether a record is there; empty: the pod's")
	flag.DurationVar(&s.dnsWait, "dns-wait", 0, "wait so long for a record in place of asking name servers")
	text(&s.gateway, "gateway", "", "URL of the gateways inside the cluster; HTTP-01 begins when they lead here")
	text(&s.secretName, "certificate", "traefik-acme", "the certificate's Secret")
	text(&s.accountName, "account", "acme-account", "Secret of the account's key")
	text(&s.firstName, "first", "", "Secret whose certificate is shown until there is one")
	text(&s.apiURL, "api", "https://kubernetes.default.svc", "the Kubernetes API")
	text(&s.apiNamespace, "namespace", "default", "of the Secrets")
	text(&s.apiCredentials, "credentials", "/var/run/secrets/kubernetes.io/serviceaccount", "folder of token and ca.crt")
	text(&s.challengeAddress, "challenges", ":8080", "answers to HTTP-01")
	text(&s.metricsAddress, "metrics", ":9090", "metrics, /healthz and /ready")
	flag.DurationVar(&s.look, "look", time.Minute, "between two looks at the Secret")
	flag.DurationVar(&s.firstPause, "first-pause", 2*time.Minute, "after a first failure; doubles up to an hour")
	flag.Parse()
	if s.host == "" || s.directory == "" || s.firstName == "" {
		return nil, errors.New("--host, --directory and --first are needed")
	}
	if _, known := providers[s.dnsProvider]; s.dnsProvider != "" && !known {
		return nil, fmt.Errorf("--dns-provider %s: not known", s.dnsProvider)
	}
	var err error
	s.fingerprint, err = s.digest()
	return s, err
}

// digest tells settings apart, those in files too.
func (s *settings) digest() (string, error) {
	var files []string
	if s.dnsFolder != "" {
		found, err := filepath.Glob(filepath.Join(s.dnsFolder, "[A-Z]*"))
		if err != nil {
			return "", err
		}
		sort.Strings(found)
		files = found
	}
	if s.eabKeyFile != "" {
		files = append(files, s.eabKeyFile)
	}
	if s.caFile != "" {
		files = append(files, s.caFile)
	}
	sum := sha256.New()
	fmt.Fprint(sum, s.request(), s.email, s.eabKeyID, s.dnsProvider, s.resolvers, s.dnsWait)
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "\x00%s\x00%x", filepath.Base(name), sha256.Sum256(content))
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	legolog.SetDefault(log)
	if err := run(log); err != nil {
		log.Error(err.Error())
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	said, err := parse()
	if err != nil {
		return err
	}
	kubernetes, err := newAPI(said.apiURL, said.apiNamespace, said.apiCredentials)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	work := &issuer{said: said, api: kubernetes, answers: newAnswers(), numbers: &numbers{looked: time.Now()}, log: log}
	failed := make(chan error, 2)
	for address, handler := range map[string]http.Handler{said.challengeAddress: work.answers, said.metricsAddress: work.watched()} {
		server := &http.Server{Addr: address, Handler: handler, ReadTimeout: drainFor, WriteTimeout: drainFor, MaxHeaderBytes: 16 << 10}
		go func() { failed <- server.ListenAndServe() }()
		defer server.Close()
	}
	ended := make(chan error, 1)
	go func() { ended <- work.loop(ctx) }()
	select {
	case err := <-failed:
		return err
	case err := <-ended:
		return err
	}
}

func (i *issuer) watched() http.Handler {
	say := func(good func(*numbers) bool) http.HandlerFunc {
		return func(to http.ResponseWriter, _ *http.Request) {
			i.numbers.mu.Lock()
			defer i.numbers.mu.Unlock()
			if !good(i.numbers) {
				to.WriteHeader(http.StatusServiceUnavailable)
			}
		}
	}
	routes := http.NewServeMux()
	routes.Handle("/metrics", i.numbers)
	routes.HandleFunc("/healthz", say(func(n *numbers) bool { return time.Since(n.looked) < stalled }))
	routes.HandleFunc("/ready", say(func(n *numbers) bool { return n.stocked }))
	return routes
}
