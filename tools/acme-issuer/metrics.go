package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// numbers is what Prometheus reads.
type numbers struct {
	mu                  sync.Mutex
	notBefore, notAfter time.Time
	issued              bool
	failures            int
	succeeded, failed   int
	lastAttempt, looked time.Time
	stocked             bool // the gateways have something to show
}

func (n *numbers) set(change func(*numbers)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *numbers) ServeHTTP(to http.ResponseWriter, _ *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	issued := 0
	if n.issued {
		issued = 1
	}
	write := func(name, kind, help string, value any) {
		fmt.Fprintf(to, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", name, help, name, kind, name, value)
	}
	to.Header().Set("Content-Type", "text/plain; version=0.0.4")
	write("acme_issuer_issued", "gauge", "1: the gateways show a certificate of the ACME server.", issued)
	if n.issued {
		life := n.notAfter.Sub(n.notBefore).Seconds()
		write("acme_issuer_not_after_seconds", "gauge", "When it ends, seconds since 1970.", n.notAfter.Unix())
		write("acme_issuer_lifetime_seconds", "gauge", "How long it is valid in all.", int64(life))
	}
	write("acme_issuer_failures_in_a_row", "gauge", "Orders that failed since one succeeded.", n.failures)
	write("acme_issuer_last_attempt_seconds", "gauge", "When the last order began, seconds since 1970.", unix(n.lastAttempt))
	name := "acme_issuer_orders_total"
	fmt.Fprintf(to, "# HELP %s Orders by their end.\n# TYPE %s counter\n", name, name)
	fmt.Fprintf(to, "%s{result=\"issued\"} %d\n%s{result=\"failed\"} %d\n", name, n.succeeded, name, n.failed)
}

func unix(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.Unix()
}
