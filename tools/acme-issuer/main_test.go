package main

import (
	"context"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-acme/lego/v5/acme"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func valid(life time.Duration, serial int64) *x509.Certificate {
	return &x509.Certificate{NotBefore: start, NotAfter: start.Add(life), SerialNumber: big.NewInt(serial)}
}

func TestACertificateIsRenewedEarlyInTheLastThirdOfItsLife(t *testing.T) {
	for _, life := range []time.Duration{90 * 24 * time.Hour, 6 * 24 * time.Hour, time.Minute} {
		first := start.Add(life * 2 / 3)
		places := map[time.Time]bool{}
		for serial := range int64(50) {
			at := due(valid(life, serial), nil)
			if at.Before(first) || at.After(first.Add(life/30)) {
				t.Errorf("%v: %v is not in the first tenth of the last third", life, at.Sub(start))
			}
			if again := due(valid(life, serial), nil); again != at {
				t.Errorf("%v: another look says %v, not %v", life, again, at)
			}
			places[at] = true
		}
		if len(places) < 45 {
			t.Errorf("%v: only %d times for 50 certificates", life, len(places))
		}
	}
}

func TestTheServersWindowDecides(t *testing.T) {
	const day = 24 * time.Hour
	life := 90 * day
	for _, each := range []struct {
		name          string
		said          window
		least, latest time.Duration
	}{
		{"as usual", window{start.Add(58 * day), start.Add(60 * day)}, 58 * day, 60 * day},
		{"soon, because it will be revoked", window{start.Add(10 * day), start.Add(11 * day)}, 10 * day, 11 * day},
		{"in the past: soon, but not in circles", window{start.Add(-2 * day), start.Add(-day)}, day, day},
		{"until the end: with time for a second try", window{start.Add(89 * day), start.Add(90 * day)}, 81 * day, 81 * day},
	} {
		for serial := range int64(20) {
			at := due(valid(life, serial), &each.said).Sub(start)
			if at < each.least || at > each.latest {
				t.Errorf("%s: %v", each.name, at)
			}
		}
	}
	if at := due(valid(time.Minute, 1), &window{start.Add(-day), start}).Sub(start); at != 20*time.Second {
		t.Errorf("a minute's certificate is renewed after %v", at)
	}
}

func TestFailuresArePausedForLongerAndNeverTooOften(t *testing.T) {
	at, inAnHour := time.Duration(0), 0
	for failures := 1; failures < 40; failures++ {
		if at < time.Hour {
			inAnHour++
		}
		length := pause(failures, 2*time.Minute, 0)
		if length < 2*time.Minute || length > longestPause*6/5 {
			t.Fatalf("pause %d: %v", failures, length)
		}
		at += length
	}
	if inAnHour > 5 {
		t.Errorf("%d failures in the first hour; Let's Encrypt allows five", inAnHour)
	}
	if length := pause(1, 2*time.Minute, 30*time.Hour); length != 30*time.Hour {
		t.Errorf("the server asked for 30 h, got %v", length)
	}
}

func TestARateLimitIsFoundInWhatLegoReturns(t *testing.T) {
	limited := &acme.RateLimitedError{ProblemDetails: &acme.ProblemDetails{}, RetryAfter: time.Hour}
	wrapped := errors.Join(errors.New("other"), limited)
	var found *acme.RateLimitedError
	if !errors.As(wrapped, &found) || found.RetryAfter != time.Hour {
		t.Error("not found")
	}
}

func TestOnlyOpenChallengesAreAnswered(t *testing.T) {
	served := newAnswers()
	_ = served.Present(context.Background(), "", "token", "token.thumbprint")
	ask := func(method, path string) (int, string) {
		recorder := httptest.NewRecorder()
		served.ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
		return recorder.Code, recorder.Body.String()
	}
	if code, body := ask(http.MethodGet, challengePath+"token"); code != 200 || body != "token.thumbprint" {
		t.Errorf("%d %q", code, body)
	}
	for _, path := range []string{"/", challengePath, challengePath + "other", challengePath + "token/x", "/token"} {
		if code, _ := ask(http.MethodGet, path); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _ := ask(http.MethodPost, challengePath+"token"); code != 404 {
		t.Errorf("POST: %d", code)
	}
	_ = served.CleanUp(context.Background(), "", "token", "")
	if code, _ := ask(http.MethodGet, challengePath+"token"); code != 404 {
		t.Errorf("closed, and answered %d", code)
	}
}

func TestOtherSettingsAreAnotherFingerprint(t *testing.T) {
	folder := t.TempDir()
	write := func(value string) {
		if err := os.WriteFile(filepath.Join(folder, "CLOUDFLARE_DNS_API_TOKEN"), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	said := &settings{host: "a.example.org", directory: "https://acme", dnsProvider: "cloudflare", dnsFolder: folder}
	digest := func() string {
		found, err := said.digest()
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	first := digest()
	write("another")
	if digest() == first {
		t.Error("another token is not noticed")
	}
	write("one")
	if digest() != first {
		t.Error("the same settings differ")
	}
	said.host = "b.example.org"
	if digest() == first {
		t.Error("another name is not noticed")
	}
}

func TestTheEnvironmentHoldsPathsOnly(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "HTTPREQ_PASSWORD")
	if err := os.WriteFile(path, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HTTPREQ_PASSWORD_FILE", "")
	if err := nameFiles(folder); err != nil {
		t.Fatal(err)
	}
	if found := os.Getenv("HTTPREQ_PASSWORD_FILE"); found != path {
		t.Errorf("%q", found)
	}
	if _, there := os.LookupEnv("HTTPREQ_PASSWORD"); there {
		t.Error("the value itself is in the environment")
	}
}
