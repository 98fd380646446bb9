package proc

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The files of users and groups. They are read here and not by os/user, which
// does not tell the shell, and which links differently with and without cgo:
// nines is built without, and is to find the same users in its tests.
const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// ErrNoUser and ErrNoGroup are in the error of LookupUser when the name is not
// known.
var (
	ErrNoUser  = errors.New("no such user")
	ErrNoGroup = errors.New("no such group")
)

// LookupUser finds who a service runs as. Names may be numbers. An empty user
// is the current one; an empty group is the user's own. The supplementary
// groups are those that the user is a member of, and groups; for the current
// user those that we have, and groups. A number without a record is good
// enough if a group is given with it.
func LookupUser(user, group string, groups []string) (*User, error) {
	db, err := readUsers(passwdFile, groupFile)
	if err != nil {
		return nil, err
	}
	return db.lookup(user, group, groups)
}

// users is /etc/passwd and /etc/group as texts.
type users struct{ passwd, group string }

// readUsers reads the files; one that is not there is empty, as in a
// container without any.
func readUsers(passwd, group string) (*users, error) {
	db := &users{}
	for file, text := range map[string]*string{passwd: &db.passwd, group: &db.group} {
		b, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, &Error{Step: StepUser, Path: "another user", Why: "cannot read " + file, Err: err}
		}
		*text = string(b)
	}
	return db, nil
}

// record finds the line of a colon-separated file in which field at is value.
func record(text string, fields, at int, value string) []string {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) >= fields && f[at] == value && f[0] != "" {
			return f
		}
	}
	return nil
}

// The fields of passwd(5) and group(5).
const (
	passwdName, passwdUID, passwdGID, passwdHome, passwdShell, passwdFields = 0, 2, 3, 5, 6, 7
	groupName, groupGID, groupMembers, groupFields                          = 0, 2, 3, 4
)

func (db *users) lookup(user, group string, groups []string) (*User, error) {
	u, known, err := db.user(user)
	if err != nil {
		return nil, err
	}
	if group != "" {
		if u.GID, err = db.gid(group); err != nil {
			return nil, err
		}
	} else if !known {
		return nil, &Error{Step: StepUser, Path: "user " + user, Why: "a number that is not in " + passwdFile + " needs a group too", Err: ErrNoUser}
	}
	if user != "" {
		u.Groups = append(db.memberships(u.Name), u.GID)
	}
	for _, name := range groups {
		gid, err := db.gid(name)
		if err != nil {
			return nil, err
		}
		u.Groups = append(u.Groups, gid)
	}
	slices.Sort(u.Groups)
	u.Groups = slices.Compact(u.Groups)
	return u, nil
}

// user finds the record; known is false for a bare number.
func (db *users) user(user string) (u *User, known bool, err error) {
	var f []string
	u = &User{Name: user, Home: "/", Shell: "/bin/sh"}
	if user == "" {
		self, err := current()
		if err != nil {
			return nil, false, err
		}
		u.Credential = *self
		u.Name = strconv.Itoa(int(self.UID))
		f = record(db.passwd, passwdFields, passwdUID, u.Name)
	} else if f = record(db.passwd, passwdFields, passwdName, user); f == nil {
		id, ok := number(user)
		if !ok {
			return nil, false, &Error{Step: StepUser, Path: "user " + user, Why: "there is none in " + passwdFile, Err: ErrNoUser}
		}
		u.UID = id
		f = record(db.passwd, passwdFields, passwdUID, strconv.FormatUint(uint64(id), 10))
	}
	if f == nil {
		return u, user == "", nil
	}
	u.Name = f[passwdName]
	if f[passwdHome] != "" {
		u.Home = f[passwdHome]
	}
	if f[passwdShell] != "" {
		u.Shell = f[passwdShell]
	}
	if user == "" {
		return u, true, nil // as we are, whatever the record says
	}
	uid, ok := number(f[passwdUID])
	gid, ok2 := number(f[passwdGID])
	if !ok || !ok2 {
		return nil, false, &Error{Step: StepUser, Path: "user " + user, Why: "its record in " + passwdFile + " is damaged", Err: ErrNoUser}
	}
	u.UID, u.GID = uid, gid
	return u, true, nil
}

func (db *users) gid(group string) (uint32, error) {
	if f := record(db.group, groupFields, groupName, group); f != nil {
		if gid, ok := number(f[groupGID]); ok {
			return gid, nil
		}
		return 0, &Error{Step: StepUser, Path: "group " + group, Why: "its record in " + groupFile + " is damaged", Err: ErrNoGroup}
	}
	if gid, ok := number(group); ok {
		return gid, nil
	}
	return 0, &Error{Step: StepUser, Path: "group " + group, Why: "there is none in " + groupFile, Err: ErrNoGroup}
}

// memberships is the groups that list the user.
func (db *users) memberships(name string) []uint32 {
	var gids []uint32
	for line := range strings.Lines(db.group) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < groupFields || !slices.Contains(strings.Split(f[groupMembers], ","), name) {
			continue
		}
		if gid, ok := number(f[groupGID]); ok {
			gids = append(gids, gid)
		}
	}
	return gids
}

// number is a uid or gid. The highest is refused: it means "no change" to the
// kernel, so that a service would stay root.
func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}

// current is who we are.
func current() (*Credential, error) {
	groups, err := unix.Getgroups()
	if err != nil {
		return nil, &Error{Step: StepUser, Path: "ourselves", Why: "cannot read our groups", Err: err}
	}
	c := &Credential{UID: uint32(unix.Geteuid()), GID: uint32(unix.Getegid())}
	for _, g := range groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	slices.Sort(c.Groups)
	c.Groups = slices.Compact(c.Groups)
	return c, nil
}

// same says that both are one: then nothing has to be changed, which without
// privileges could not be done.
func (c *Credential) same(o *Credential) bool {
	a, b := slices.Clone(c.Groups), slices.Clone(o.Groups)
	slices.Sort(a)
	slices.Sort(b)
	return c.UID == o.UID && c.GID == o.GID && slices.Equal(slices.Compact(a), slices.Compact(b))
}

func (c *Credential) String() string {
	return "uid " + strconv.Itoa(int(c.UID)) + " gid " + strconv.Itoa(int(c.GID))
}
