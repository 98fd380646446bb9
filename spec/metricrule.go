package spec

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// MetricRule is the rule of a metrics check: a value from an endpoint's
// samples, compared with a bound. It fails the check when it holds.
type MetricRule struct {
	Quantile    float64        // of Numerator's histogram; 0: a ratio or a rate
	Numerator   MetricSelector // rate(…), or the histogram
	Denominator MetricSelector // rate(…) behind "/"; no name: a plain rate
	Op          string         // > >= < <=
	Bound       float64
}

// MetricSelector picks the series of a metric.
type MetricSelector struct {
	Name   string
	Labels []MetricLabel
}

// MetricLabel is one label that a series must have.
type MetricLabel struct{ Name, Value string }

const (
	metricPattern = `([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^{}]*\})?`
	ratePattern   = `rate\(\s*` + metricPattern + `\s*\)`
	boundPattern  = `\s*(>=|<=|>|<)\s*([0-9.eE+-]+)$`
)

// ParseMetricRule reads "rate(M) > B", "rate(M) / rate(N) > B" or
// "quantile(Q, H) > B"; a metric may have labels: M{code="500"}.
func ParseMetricRule(s string) (*MetricRule, error) {
	s = strings.TrimSpace(s)
	r := &MetricRule{}
	var err error
	if m := regexp.MustCompile(`^` + ratePattern + `(?:\s*/\s*` + ratePattern + `)?` + boundPattern).FindStringSubmatch(s); m != nil {
		if r.Numerator, err = metricSelector(m[1], m[2]); err != nil {
			return nil, err
		}
		if r.Denominator, err = metricSelector(m[3], m[4]); err != nil {
			return nil, err
		}
		return r, r.compare(m[5], m[6])
	}
	if m := regexp.MustCompile(`^quantile\(\s*([0-9.]+)\s*,\s*` + metricPattern + `\s*\)` + boundPattern).FindStringSubmatch(s); m != nil {
		r.Quantile, err = strconv.ParseFloat(m[1], 64)
		if err != nil || r.Quantile <= 0 || r.Quantile >= 1 {
			return nil, errors.New("a quantile is between 0 and 1")
		}
		if r.Numerator, err = metricSelector(m[2], m[3]); err != nil {
			return nil, err
		}
		return r, r.compare(m[4], m[5])
	}
	return nil, errors.New("it has none of the forms \"rate(a) / rate(b) > 0.05\", \"rate(a) > 10\" and \"quantile(0.99, h) > 0.25\"")
}

func (r *MetricRule) compare(op, bound string) error {
	n, err := strconv.ParseFloat(bound, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", bound)
	}
	r.Op, r.Bound = op, n
	return nil
}

func metricSelector(name, labels string) (MetricSelector, error) {
	m := MetricSelector{Name: name}
	rest := strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(labels, "{"), "}"))
	label := regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"([^"\\]*)"\s*(,\s*|$)`)
	for rest != "" {
		f := label.FindStringSubmatch(rest)
		if f == nil {
			return m, fmt.Errorf("the labels of %s are not of the form {code=\"500\"}", name)
		}
		m.Labels = append(m.Labels, MetricLabel{f[1], f[2]})
		rest = rest[len(f[0]):]
	}
	return m, nil
}
