package main

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/certcrypto"
	"github.com/go-acme/lego/v5/certificate"
	"github.com/go-acme/lego/v5/challenge"
	"github.com/go-acme/lego/v5/challenge/dns01"
	"github.com/go-acme/lego/v5/lego"
	"github.com/go-acme/lego/v5/providers/dns/cloudflare"
	"github.com/go-acme/lego/v5/providers/dns/dnsupdate"
	"github.com/go-acme/lego/v5/providers/dns/httpreq"
	"github.com/go-acme/lego/v5/providers/dns/route53"
	"github.com/go-acme/lego/v5/registration"
)

// Each provider is a package of its own, so the program holds the code of these only.
var providers = map[string]func() (challenge.Provider, error){
	"cloudflare": func() (challenge.Provider, error) { return cloudflare.NewDNSProvider() },
	"rfc2136":    func() (challenge.Provider, error) { return dnsupdate.NewDNSProvider() },
	"route53":    func() (challenge.Provider, error) { return route53.NewDNSProvider() },
	"webhook":    func() (challenge.Provider, error) { return httpreq.NewDNSProvider() },
}

// account is lego's registration.User.
type account struct {
	email      string
	key        crypto.Signer
	registered *acme.ExtendedAccount
}

func (a *account) GetEmail() string                       { return a.email }
func (a *account) GetRegistration() *acme.ExtendedAccount { return a.registered }
func (a *account) GetPrivateKey() crypto.Signer           { return a.key }

// accountName is under which name the key of this server's account is kept: going to another server and back keeps both.
func accountName(directory string) string {
	digest := sha256.Sum256([]byte(directory))
	return hex.EncodeToString(digest[:8]) + ".key"
}

// connect is a client whose account is registered. The server knows an account by its key, so the key is all that is kept.
func connect(ctx context.Context, said *settings, key crypto.Signer, http01 challenge.Provider) (*lego.Client, error) {
	user := &account{email: said.email, key: key}
	config := lego.NewConfig(user)
	config.CADirURL = said.directory
	config.UserAgent = program
	if said.caFile != "" {
		pool, err := lego.CreateCertPool([]string{said.caFile}, false)
		if err != nil {
			return nil, err
		}
		config.HTTPClient.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	client, err := lego.NewClient(config)
	if err != nil {
		return nil, err
	}
	if user.registered, err = register(ctx, client, said); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	if client, err = lego.NewClient(config); err != nil { // now with the account's address
		return nil, err
	}
	return client, solve(client, said, http01)
}

func register(ctx context.Context, client *lego.Client, said *settings) (*acme.ExtendedAccount, error) {
	known, err := client.Registration.ResolveAccountByKey(ctx)
	var problem *acme.ProblemDetails
	if err == nil || !errors.As(err, &problem) || problem.Type != acme.AccountDoesNotExistErrorType {
		return known, err
	}
	if said.eabKeyID == "" {
		return client.Registration.Register(ctx, registration.RegisterOptions{TermsOfServiceAgreed: true})
	}
	secret, err := os.ReadFile(said.eabKeyFile)
	if err != nil {
		return nil, err
	}
	return client.Registration.RegisterWithExternalAccountBinding(ctx, registration.RegisterEABOptions{
		TermsOfServiceAgreed: true, Kid: said.eabKeyID, HmacEncoded: strings.TrimSpace(string(secret)),
	})
}

func solve(client *lego.Client, said *settings, http01 challenge.Provider) error {
	if said.dnsProvider == "" {
		return client.Challenge.SetHTTP01Provider(http01)
	}
	if err := nameFiles(said.dnsFolder); err != nil {
		return err
	}
	provider, err := providers[said.dnsProvider]()
	if err != nil {
		return err
	}
	options := dns01.NewOptions()
	if said.resolvers != "" {
		options.RecursiveNameservers = strings.Split(said.resolvers, ",")
	}
	dns01.SetDefaultClient(dns01.NewClient(options))
	return client.Challenge.SetDNS01Provider(provider,
		dns01.CondOptions(said.dnsWait > 0, dns01.PropagationWait(said.dnsWait, true)))
}

// nameFiles tells lego where the values of its variables are. They are secrets, so the environment holds their paths only.
func nameFiles(folder string) error {
	files, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasPrefix(file.Name(), ".") { // the kubelet's own
			continue
		}
		if err := os.Setenv(file.Name()+"_FILE", filepath.Join(folder, file.Name())); err != nil {
			return err
		}
	}
	return nil
}

// order obtains a certificate with a new key. `former` is the one it replaces, so that the server counts it as a renewal.
func order(ctx context.Context, client *lego.Client, said *settings, former *x509.Certificate) (*certificate.Resource, error) {
	request := certificate.ObtainRequest{
		Domains: []string{said.host}, KeyType: certcrypto.EC256, Bundle: true, Profile: said.profile,
	}
	if former != nil {
		if info, err := client.Certificate.GetRenewalInfo(ctx, former); err == nil && info != nil {
			request.ReplacesCertID = replaced(former)
		}
	}
	found, err := client.Certificate.Obtain(ctx, request)
	var already *acme.AlreadyReplacedError
	if errors.As(err, &already) { // by an order whose certificate never arrived here
		request.ReplacesCertID = ""
		found, err = client.Certificate.Obtain(ctx, request)
	}
	return found, err
}

// wanted is when the server wants a certificate renewed, and after which time to ask again; nil where it does not say.
func wanted(ctx context.Context, client *lego.Client, current *x509.Certificate) (*window, time.Duration) {
	info, err := client.Certificate.GetRenewalInfo(ctx, current)
	if err != nil {
		return nil, 0
	}
	return &window{info.SuggestedWindow.Start, info.SuggestedWindow.End}, info.RetryAfter
}
