package load

import (
	"fmt"
	"os/user"
	"strconv"
)

// accounts remembers which users and groups exist: thousands of services may
// name the same.
type accounts struct{ users, groups map[string]error }

// numericID tells whether a name is a user or group id, which needs no entry.
func numericID(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil && s != "4294967295" // -1 means "unchanged" to the kernel
}

func (b *block) knownUser(v *value, name string) {
	if numericID(name) {
		return
	}
	err, ok := b.d.accounts.users[name]
	if !ok {
		_, err = user.Lookup(name)
		b.d.accounts.users[name] = err
	}
	if err != nil {
		b.d.errorAt("unknown_user", v.rng, fmt.Sprintf("there is no user %s on this machine", v.show(name)), "Create it (useradd --system), or name another; a number is taken as the user id.")
	}
}

func (b *block) knownGroup(v *value, name string) {
	if numericID(name) {
		return
	}
	err, ok := b.d.accounts.groups[name]
	if !ok {
		_, err = user.LookupGroup(name)
		b.d.accounts.groups[name] = err
	}
	if err != nil {
		b.d.errorAt("unknown_group", v.rng, fmt.Sprintf("there is no group %s on this machine", v.show(name)), "Create it (groupadd --system), or name another; a number is taken as the group id.")
	}
}

// account reads a user or group: a name, or a number with or without quotes.
func (b *block) account(name string, dst *string, example string, known func(*value, string)) *value {
	v := b.static(name)
	if v == nil {
		return nil
	}
	s, err := toString(v.Value)
	if err != nil {
		v.wrongType("a name", example)
		return nil
	}
	if *dst = s; s == "" {
		return v
	}
	known(v, s)
	return v
}
