package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/acme/api"
	"github.com/go-acme/lego/v5/certcrypto"
	"github.com/go-acme/lego/v5/lego"
)

const (
	orderWithin   = 10 * time.Minute
	askWindowHour = 6 * time.Hour // RFC 9773, 4.3: where the server does not say how often
	longestNote   = 800           // characters of an error in an annotation
)

type issuer struct {
	said    *settings
	api     *kubeAPI
	answers *answers
	numbers *numbers
	log     *slog.Logger

	client   *lego.Client
	window   *window
	windowOf string    // serial number of the certificate it is for
	askAgain time.Time // when to ask for the window again
}

var errChanged = errors.New("the settings in files are other ones; starting anew with them")

// loop goes on until it is told to end or its files change: whatever fails is tried again, and the certificate that there is stays.
func (i *issuer) loop(ctx context.Context) error {
	for ctx.Err() == nil {
		if now, err := i.said.digest(); err == nil && now != i.said.fingerprint {
			return errChanged
		}
		if err := i.look(ctx); err != nil && ctx.Err() == nil {
			i.log.Warn("the Secrets cannot be read or written", "error", err.Error())
		}
		i.numbers.set(func(n *numbers) { n.looked = time.Now() })
		select {
		case <-ctx.Done():
		case <-time.After(i.said.look):
		}
	}
	return nil
}

// look brings the Secret one step further. Its errors are those of the Kubernetes API.
func (i *issuer) look(ctx context.Context) error {
	found, err := i.api.read(ctx, i.said.secretName)
	if err != nil {
		return err
	}
	if found.kept(i.said).certificate == nil {
		if found, err = i.stock(ctx, found); err != nil {
			return err
		}
	}
	now := found.kept(i.said)
	i.numbers.set(func(n *numbers) {
		n.stocked, n.issued, n.failures = true, now.issued, now.failures
		n.notBefore, n.notAfter = now.certificate.NotBefore, now.certificate.NotAfter
	})
	if time.Now().Before(now.next) {
		return nil
	}
	if now.issued && time.Now().Before(i.due(ctx, now.certificate)) {
		return nil
	}
	if i.said.dnsProvider == "" {
		if err := i.answers.routed(ctx, i.said.gateway, i.said.host); err != nil {
			return i.tell(ctx, found, "waiting", "the gateways do not lead to the issuer yet: "+err.Error())
		}
	}
	return i.attempt(ctx, found, now)
}

// stock puts the first certificate into a Secret that has none.
func (i *issuer) stock(ctx context.Context, found *secret) (*secret, error) {
	first, err := i.api.read(ctx, i.said.firstName)
	if err != nil {
		return nil, err
	}
	if first.kept(i.said).certificate == nil {
		return nil, fmt.Errorf("Secret %s: no certificate with its key", i.said.firstName)
	}
	data := map[string][]byte{"tls.crt": first.Data["tls.crt"], "tls.key": first.Data["tls.key"]}
	return i.api.patch(ctx, i.said.secretName, found, notes(map[string]string{requestKey: ""}), data)
}

// due asks the server for its window now and then. One that cannot be asked does not move the certificate's own time.
func (i *issuer) due(ctx context.Context, current *x509.Certificate) time.Time {
	serial := current.SerialNumber.String()
	if serial != i.windowOf {
		i.window, i.windowOf, i.askAgain = nil, serial, time.Time{}
	}
	if time.Now().After(i.askAgain) {
		i.askAgain = time.Now().Add(askWindowHour)
		if err := i.connected(ctx); err == nil {
			said, again := wanted(ctx, i.client, current)
			if said != nil {
				i.window = said
			}
			if again > time.Minute {
				i.askAgain = time.Now().Add(min(again, askWindowHour))
			}
		}
	}
	return due(current, i.window)
}

// attempt orders a certificate and writes it, or why there is none, together with what a restart must not forget.
func (i *issuer) attempt(ctx context.Context, found *secret, now kept) error {
	i.numbers.set(func(n *numbers) { n.lastAttempt = time.Now() })
	if now.failures == 0 {
		if err := i.tell(ctx, found, "waiting", "ordering a certificate"); err != nil {
			return err
		}
	}
	certificate, key, err := i.obtain(ctx, now)
	if ctx.Err() != nil {
		return nil // stopped: nothing was learnt
	}
	if err != nil {
		return i.failed(ctx, now.failures+1, err)
	}
	i.numbers.set(func(n *numbers) { n.succeeded++ })
	i.log.Info("issued", "host", i.said.host, "directory", i.said.directory)
	return i.write(ctx, map[string]string{
		stateKey: "issued", messageKey: "", requestKey: i.said.request(), failuresKey: "", nextKey: "",
		triedKey: i.said.fingerprint,
	}, map[string][]byte{"tls.crt": certificate, "tls.key": key})
}

func (i *issuer) obtain(ctx context.Context, now kept) (certificate, key []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, orderWithin)
	defer cancel()
	if err := i.connected(ctx); err != nil {
		return nil, nil, err
	}
	var former *x509.Certificate
	if now.issued {
		former = now.certificate
	}
	made, err := order(ctx, i.client, i.said, former)
	if err != nil {
		return nil, nil, err
	}
	return made.Certificate, made.PrivateKey, nil
}

func (i *issuer) failed(ctx context.Context, failures int, cause error) error {
	i.client = nil // the server may have forgotten the account: the next order asks for it again
	var limited *acme.RateLimitedError
	var asked time.Duration
	if errors.As(cause, &limited) {
		asked = limited.RetryAfter
	}
	next := time.Now().Add(pause(failures, i.said.firstPause, asked)).UTC().Format(time.RFC3339)
	i.numbers.set(func(n *numbers) { n.failed++ })
	i.log.Warn("no certificate", "error", cause.Error(), "failures", failures, "next", next)
	return i.write(ctx, map[string]string{
		stateKey: "failed", messageKey: oneLine(cause.Error()), failuresKey: strconv.Itoa(failures), nextKey: next,
		triedKey: i.said.fingerprint,
	}, nil)
}

// write puts the outcome of an order down; it would be a pity to lose it, so it is tried for a while.
func (i *issuer) write(ctx context.Context, annotations map[string]string, data map[string][]byte) error {
	var err error
	for range 20 {
		var found *secret
		if found, err = i.api.read(ctx, i.said.secretName); err == nil {
			if _, err = i.api.patch(ctx, i.said.secretName, found, notes(annotations), data); err == nil {
				return nil
			}
		}
		i.log.Warn("the outcome cannot be written yet", "error", err.Error())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Second):
		}
	}
	return err
}

// tell says how it stands, once.
func (i *issuer) tell(ctx context.Context, found *secret, state, message string) error {
	message = oneLine(message)
	if found.Metadata.Annotations[stateKey] == state && found.Metadata.Annotations[messageKey] == message {
		return nil
	}
	_, err := i.api.patch(ctx, i.said.secretName, found, notes(map[string]string{stateKey: state, messageKey: message}), nil)
	return err
}

// connected has the account's key read, or made and kept before any server hears of it.
func (i *issuer) connected(ctx context.Context) error {
	if i.client != nil {
		return nil
	}
	key, err := i.accountKey(ctx)
	if err != nil {
		return err
	}
	i.client, err = connect(ctx, i.said, key, i.answers)
	if err != nil {
		i.client = nil
	}
	return err
}

func (i *issuer) accountKey(ctx context.Context) (crypto.Signer, error) {
	found, err := i.api.read(ctx, i.said.accountName)
	if err != nil {
		return nil, err
	}
	name := accountName(i.said.directory)
	if text := found.Data[name]; len(text) > 0 {
		return certcrypto.ParsePEMPrivateKey(text)
	}
	key, err := certcrypto.GeneratePrivateKey(certcrypto.EC256)
	if err != nil {
		return nil, err
	}
	_, err = i.api.patch(ctx, i.said.accountName, found, nil, map[string][]byte{name: certcrypto.PEMEncode(key)})
	return key, err
}

func replaced(former *x509.Certificate) string {
	name, err := api.MakeARICertID(former)
	if err != nil {
		return ""
	}
	return name
}

func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longestNote {
		text = text[:longestNote]
	}
	return text
}
