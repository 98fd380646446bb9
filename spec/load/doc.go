// Package load reads specifications: HCL files in, a *spec.Spec or diagnostics
// out. It is the only package that knows HCL.
//
// Load reports everything that is wrong in one go, each with its place. It
// never panics, never recurses without bound and never allocates without
// bound, whatever the files hold: files are at most 4 MiB and two million
// tokens, nesting is counted in tokens before HCL's recursive parser sees it,
// and every evaluation has a budget. A value of env.NAME is never part of a
// diagnostic.
//
// What nearly all specifications consist of is read and evaluated without HCL's
// lexer and evaluator, which take ten times as long (see plain and program).
// Their results are HCL's own, or they leave the text to HCL: tests compare.
//
// # Expressions
//
// An attribute that may differ from instance to instance becomes a spec.Expr:
// canonical HCL source in which local.* and service.name have been replaced,
// and host.*, env.*, instance.*, port.* and release.* are still names. What
// refers to none of those is stored as a literal. Compile, String, Strings and
// Map evaluate it from its text alone. Every other attribute is evaluated once,
// here; it may use host.* and env.*, but not instance.*, port.* or release.*.
//
// # Beyond the language page
//
// The functions are abs, ceil, chomp, coalesce, compact, concat, contains,
// distinct, element, flatten, floor, format, formatlist, join, keys, length,
// lookup, lower, max, merge, min, parseint, range, regex, regexall,
// regexreplace, replace, reverse, signum, slice, sort, split, startswith,
// endswith, strlen, strrev, substr, title, tonumber, tostring, trim,
// trimprefix, trimspace, trimsuffix, upper, values, zipmap, jsonencode,
// jsondecode, basename, dirname. Functions whose result has no bound but their
// arguments' values are left out.
//
// # Where the language page is silent
//
//   - directory, env_file and all paths are absolute, as in systemd; "${env.PWD}/x"
//     is the folder that nines was started in. "-" before an env_file lets it be absent.
//   - A ready block of a check kind may hold the timing attributes of a check; its
//     interval is 1s by default. Values shown in language.md's table of check kinds
//     and node checks are their defaults.
//   - A ready block of the kind log waits for one line: it takes a pattern alone. The
//     log patterns of a service are bounded (spec.MaxLogPatterns).
//   - rlimits is a map: { nofile = 65536, core = "unlimited", nproc = "SOFT:HARD" }.
//   - mode and user of a unix:// listener may stand in its address (?mode=0660&user=www)
//     or beside it. log.rate is a rate ("10MiB/1s") or a size, then a second's.
//   - needs, after and members name services and cannot use env.*.
//   - Two members of a written-out map with one name are an error.
//
// null means "not given". env.NAME of a variable that is not set is null, so
// that coalesce(env.NAME, "default") works.
package load
