package probe

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// MinReplicas is how many replicas must have a value before one can differ from
// the others.
const MinReplicas = 3

// How far from the median is too far: so many times the spread of the replicas
// (their median absolute deviation, 1.4826 of which is the standard deviation
// where they are spread as by chance), but at least half of the median, and at
// least what no one would look at.
const (
	outlierSpread = 5 * 1.4826
	outlierShare  = 0.5
	leastMemory   = 16 << 20 // bytes
	leastCPU      = 0.1      // of a CPU
	leastLatency  = 0.01     // seconds
)

// Outliers says of each of the replicas of a service whether it differs from its
// siblings. values are in bytes (of = "memory"), CPUs (of = "cpu") or seconds (of
// = "latency"); those that are not known yet are negative or NaN, are no outliers
// and do not count. With fewer than MinReplicas known, none is. Of memory and
// latency only more is told: less does no harm. Of cpu also less: a replica that
// hangs uses none.
//
// Median and median absolute deviation are not moved by the outliers, as long as
// these are fewer than half. With a spread of zero (most are equal) the other two
// bounds decide.
func Outliers(of string, values []float64) []Result {
	results := make([]Result, len(values))
	known := make([]float64, 0, len(values))
	for _, v := range values {
		if v >= 0 && !math.IsInf(v, 0) {
			known = append(known, v)
		}
	}
	if len(known) < MinReplicas {
		for i := range results {
			results[i].Output = fmt.Sprintf("%d of at least %d replicas have a value", len(known), MinReplicas)
		}
		return results
	}
	median := medianOf(known)
	for i, v := range known {
		known[i] = math.Abs(v - median)
	}
	least := map[string]float64{"memory": leastMemory, "cpu": leastCPU, "latency": leastLatency}[of]
	far := max(outlierSpread*medianOf(known), outlierShare*median, least)
	for i, v := range values {
		if !(v >= 0) || math.IsInf(v, 0) {
			continue
		}
		text := fmt.Sprintf("%s %s, median of %d replicas %s", of, quantity(of, v), len(known), quantity(of, median))
		results[i].Output = text
		if v > median+far || of == "cpu" && v < median-far {
			results[i].Err = &Error{Cause: Bound, Text: text + ": further off than " + quantity(of, far)}
		}
	}
	return results
}

// medianOf sorts v, which is not empty.
func medianOf(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return v[n/2-1] + (v[n/2]-v[n/2-1])/2
}

// quantity is a value as people write it.
func quantity(of string, v float64) string {
	switch of {
	case "memory":
		return strconv.FormatFloat(v/(1<<20), 'f', 1, 64) + "MiB"
	case "latency":
		return round(time.Duration(v * float64(time.Second))).String()
	}
	return percentage(100 * v)
}
