package main

import (
	"strconv"
	"strings"
)

// target is SERVICE or SERVICE/N.
type target struct {
	service string
	index   *int // nil: all instances
}

func (t target) String() string {
	if t.index == nil {
		return t.service
	}
	return t.service + "/" + strconv.Itoa(*t.index)
}

func parseTarget(s string) (target, error) {
	name, idx, has := strings.Cut(s, "/")
	if name == "" {
		return target{}, usageError("cannot read %s: name a SERVICE or SERVICE/N", quote(s))
	}
	if !has {
		return target{service: name}, nil
	}
	n, err := strconv.Atoi(idx)
	if err != nil || n < 0 || strconv.Itoa(n) != idx {
		return target{}, usageError("cannot read %s: an instance is a number from 0: %s/0", quote(s), name)
	}
	return target{service: name, index: &n}, nil
}

// parseTargets reads several; one that is given twice counts once.
func parseTargets(args []string) ([]target, error) {
	var out []target
	seen := make(map[string]bool)
	for _, s := range args {
		t, err := parseTarget(s)
		if err != nil {
			return nil, err
		}
		if !seen[t.String()] {
			seen[t.String()] = true
			out = append(out, t)
		}
	}
	return out, nil
}
