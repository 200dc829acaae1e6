// Package promreg registers metrics that live as long as the process.
//
// Caddy makes a new registry for every config load. Collectors that are made
// anew with it restart their counters at each reload; here they are made once
// and registered into each registry.
package promreg

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Register adds each collector to reg. A collector that reg has already is
// accepted, so that several instances of a module may each register the same
// set; another collector under the same name is an error. Collectors must be
// comparable, which pointers are.
func Register(reg prometheus.Registerer, collectors ...prometheus.Collector) error {
	for _, c := range collectors {
		err := reg.Register(c)
		var already prometheus.AlreadyRegisteredError
		if errors.As(err, &already) && already.ExistingCollector == c {
			continue
		}
		if err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}
