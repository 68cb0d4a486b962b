package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const challengePath = "/.well-known/acme-challenge/"

// answers are the responses to HTTP-01 challenges that are open now. The gateways send every request below challengePath here.
type answers struct {
	mu   sync.Mutex
	open map[string]string
	// One that is always open, to see that requests come here before a server is asked to look: a look that fails counts.
	own string
}

func newAnswers() *answers {
	own := rand.Text()
	return &answers{open: map[string]string{own: own}, own: own}
}

// Present and CleanUp are lego's challenge.Provider.
func (a *answers) Present(_ context.Context, _, token, response string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[token] = response
	return nil
}

func (a *answers) CleanUp(_ context.Context, _, token, _ string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, token)
	return nil
}

func (a *answers) ServeHTTP(to http.ResponseWriter, request *http.Request) {
	token, below := strings.CutPrefix(request.URL.Path, challengePath)
	a.mu.Lock()
	response, found := a.open[token]
	a.mu.Unlock()
	if !below || !found || request.Method != http.MethodGet {
		http.NotFound(to, request)
		return
	}
	to.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(to, response)
}

// routed is nil if the gateway, asked for the host, leads to this process. It says nothing of the way from the internet.
func (a *answers) routed(ctx context.Context, gateway, host string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+challengePath+a.own, nil)
	if err != nil {
		return err
	}
	request.Host = host
	response, err := http.DefaultTransport.RoundTrip(request) // no redirect is followed: one is the wrong answer
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return err
	}
	if string(text) != a.own {
		return fmt.Errorf("%s answers %s", gateway, response.Status)
	}
	return nil
}
